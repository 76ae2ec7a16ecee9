"""Drawing body meshes into an image: one protocol, two back ends that give the same picture.

What is drawn is prepared once for all back ends (:mod:`.shading`: light per vertex, culling, the
region of the people) and pasted once for all (:mod:`.compositing`). A back end only turns triangles
into pixels: pyrender over EGL (:mod:`.egl_renderer`), or a rasteriser without any GL library
(:mod:`.software_renderer`).
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, cast, get_args, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt8

from dtsvibe_cli.datatypes import PinholeCamera
from dtsvibe_cli.errors import ConfigError, RenderError

logger = logging.getLogger(__name__)

RendererName = Literal["auto", "egl", "numba", "numpy"]


@dataclass(frozen=True, kw_only=True)
class MeshInstance:
    """One mesh to draw."""

    vertices_cam: Float[np.ndarray, "vertex 3"]
    """Metres, camera coordinates (OpenCV axes)."""
    faces: Int[np.ndarray, "face 3"]
    """Counter-clockwise seen from outside; faces seen from behind are not drawn."""
    color_rgb: tuple[float, float, float]
    """Colour of the surface in full light, 0 to 1."""
    brightness: Float[np.ndarray, " vertex"] | None = None
    """Of each vertex in the scene's light, where somebody has found it already."""


@runtime_checkable
class Renderer(Protocol):
    """Draws meshes into images."""

    name: str
    """What reports call it, with the GL driver's name where there is one."""

    def draw(
        self,
        image: UInt8[np.ndarray, "height width 3"],
        meshes: Sequence[MeshInstance],
        camera: PinholeCamera,
        *,
        opacity: float = 1.0,
        wireframe: bool = False,
    ) -> UInt8[np.ndarray, "height width 3"]:
        """A copy of the image with the meshes over it, nearer ones in front of farther ones.

        ``opacity`` (0 to 1) lets the image through all meshes alike; the far side of a body or a
        person behind another never shines through. ``wireframe`` draws the visible edges of the
        triangles only.
        """
        ...

    def close(self) -> None:
        """Give back what the renderer holds; it cannot draw afterwards."""
        ...


def _open_egl() -> Renderer:
    from dtsvibe_cli.stages.rendering.egl_renderer import EglRenderer

    return EglRenderer()


def _open_numba() -> Renderer:
    from dtsvibe_cli.stages.rendering.software_renderer import SoftwareRenderer

    return SoftwareRenderer(compiled=True)


def _open_numpy() -> Renderer:
    from dtsvibe_cli.stages.rendering.software_renderer import SoftwareRenderer

    return SoftwareRenderer(compiled=False)


_OPENERS: dict[str, Callable[[], Renderer]] = {
    "egl": _open_egl,
    "numba": _open_numba,
    "numpy": _open_numpy,
}

_GPU_NODES = ("dev/dri/renderD*", "dev/nvidia[0-9]*")
"""Where Linux shows GPUs; without one, GL can only be software."""

_SOFTWARE_GL = ("llvmpipe", "softpipe", "swrast", "SWR")
"""Drivers that draw on the CPU, as GL names them."""

_REMEDIES = {
    "egl": "install the GL libraries (on Debian and Ubuntu: `apt-get install -y "
    "--no-install-recommends libegl1 libgl1`) or use the renderer `numpy`, which needs none",
    "numba": "install it with `pip install numba` or use the renderer `numpy`, which does without",
    "numpy": "please report this",
}


def _check_that_it_draws(renderer: Renderer) -> None:
    """A real test draw: many machines import GL without being able to draw with it."""
    triangle = MeshInstance(
        vertices_cam=np.array([[-1.0, 1.0, 2.0], [1.0, 1.0, 2.0], [0.0, -1.0, 2.0]], np.float32),
        faces=np.array([[0, 1, 2]]),
        color_rgb=(1.0, 1.0, 1.0),
    )
    camera = PinholeCamera(focal_length_px=60.0, center_px=(32.0, 32.0), source="default")
    drawn = renderer.draw(np.zeros((64, 64, 3), np.uint8), [triangle], camera)
    if drawn[36, 32].min() < 64 or drawn[2, 2].any():
        raise RenderError(f"{renderer.name} draws, but not what it is asked to.")


def _check_that_gl_is_hardware(renderer: Renderer) -> None:
    if any(driver in renderer.name for driver in _SOFTWARE_GL):
        raise RenderError(f"{renderer.name} has no GPU to draw on")


def _open_checked(name: str, *, on_gpu_only: bool) -> Renderer:
    renderer = _OPENERS[name]()
    try:
        if on_gpu_only:
            _check_that_gl_is_hardware(renderer)
        _check_that_it_draws(renderer)
    except Exception:
        renderer.close()
        raise
    return renderer


def make_renderer(name: RendererName = "auto") -> Renderer:
    """A renderer that has passed a test draw.

    Args:
        name: A back end, or ``auto`` for the first that draws of EGL on a GPU, numba and numpy.
            Software GL is left out of these: it draws a few milliseconds faster than numpy, but
            takes 150 MiB and more than a second to open.

    Raises:
        RenderError: The back end asked for cannot draw on this machine.
    """
    candidates = _automatic() if name == "auto" else (name,)
    for candidate in candidates:
        # GL stacks fail with anything: ImportError, AttributeError, AssertionError, GLError ...
        try:
            renderer = _open_checked(candidate, on_gpu_only=name == "auto")
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            if candidate == candidates[-1]:
                raise RenderError(
                    f"The renderer `{candidate}` cannot draw here ({reason}); "
                    f"{_REMEDIES[candidate]}."
                ) from error
            logger.debug("Not drawing with %s (%s)", candidate, reason)
        else:
            return renderer
    raise AssertionError("unreachable: the last candidate returns or raises")


def _automatic() -> tuple[str, ...]:
    """Back ends in the order in which they are tried."""
    has_gpu = any(any(Path("/").glob(pattern)) for pattern in _GPU_NODES)
    return ("egl", "numba", "numpy") if has_gpu else ("numba", "numpy")


def check_renderer(renderer: str | Renderer) -> RendererName | Renderer:
    """The same, known to be a renderer or the name of one.

    Raises:
        ConfigError: There is none of that name.
    """
    if isinstance(renderer, str) and renderer not in get_args(RendererName):
        raise ConfigError(f"There is no renderer '{renderer}': auto, egl, numba or numpy.")
    return cast(RendererName | Renderer, renderer)


@contextmanager
def opened_renderer(renderer: str | Renderer) -> Iterator[Renderer]:
    """A renderer by name, closed in the end; somebody else's is left open.

    Raises:
        ConfigError: There is none of that name.
        RenderError: It cannot draw on this machine.
    """
    known = check_renderer(renderer)
    if not isinstance(known, str):
        yield known
        return
    drawer = make_renderer(known)
    try:
        logger.info("Drawing with %s", drawer.name)
        yield drawer
    finally:
        drawer.close()


@contextmanager
def opening_renderer(renderer: str | Renderer) -> Iterator[Callable[[], Renderer]]:
    """As :func:`opened_renderer`, but opened by a thread; calling what is given waits for that.

    Opening takes a second where GL's libraries have to be loaded and shaders compiled.

    Raises:
        ConfigError: There is none of that name.
    """
    known = check_renderer(renderer)
    if not isinstance(known, str):
        yield lambda: known
        return
    with ThreadPoolExecutor(1, "dtsvibe renderer") as pool:
        opening = pool.submit(make_renderer, known)

        def opened() -> Renderer:
            logger.info("Drawing with %s", opening.result().name)
            return opening.result()

        try:
            yield opened
        finally:
            if opening.exception() is None:
                opening.result().close()


__all__ = [
    "MeshInstance",
    "Renderer",
    "RendererName",
    "check_renderer",
    "make_renderer",
    "opened_renderer",
    "opening_renderer",
]
