"""pyrender over EGL: the GPU where its driver offers GL, Mesa's software GL elsewhere.

The only module that knows pyrender and GL. It is imported only when EGL is asked for, because that
import fails where the GL libraries are missing. Light and culling come ready from :mod:`.shading`,
so pyrender's flat shader is enough: its lit one costs several times as much on a CPU.
"""

import contextlib
import logging
import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from dtsvibe_cli.datatypes import PinholeCamera
from dtsvibe_cli.errors import RenderError
from dtsvibe_cli.stages.rendering import MeshInstance
from dtsvibe_cli.stages.rendering.compositing import SUPERSAMPLE, composite
from dtsvibe_cli.stages.rendering.shading import LitScene, light_scene

# Mesa's software GL and torch's triton each bring an LLVM. The process dies when triton's is loaded
# after Mesa's (which any torch optimiser does); the other way round is fine.
with contextlib.suppress(ImportError):
    import triton  # noqa: F401

# Both are read while pyrender is imported: without them it looks for an X display.
os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pyglet

    pyglet.options["headless"] = True
    import pyrender
    from OpenGL import EGL, GL
    from pyrender.platforms import egl

logger = logging.getLogger(__name__)

_GROW_BY = 256


class _Context(egl.EGLPlatform):  # type: ignore[misc]
    """A GL context that leaves the display open when it goes.

    Displays are shared by all contexts of the process: pyrender's own closes it under the others.
    """

    _egl_context: Any

    def release(self) -> None:
        """Lets another thread draw next: a context belongs to the thread it is current in."""
        nothing = (EGL.EGL_NO_SURFACE, EGL.EGL_NO_SURFACE, EGL.EGL_NO_CONTEXT)
        EGL.eglMakeCurrent(self._egl_display, *nothing)

    def delete_context(self) -> None:
        """Frees the context; also called when this object is forgotten."""
        if self._egl_context is not None:
            EGL.eglDestroyContext(self._egl_display, self._egl_context)
            self._egl_context = None


class _RegionRenderer(pyrender.Renderer):  # type: ignore[misc]
    """pyrender's renderer with a plain framebuffer that only grows, read back in its used part.

    pyrender itself resolves four samples a pixel and reads colour and depth of the whole picture,
    which costs more than drawing does. Written for pyrender 0.1.45, which is pinned.
    """

    _buffers: tuple[Any, ...] = ()
    _main_fb_dims: tuple[int, int] = (0, 0)

    def _configure_main_framebuffer(self) -> None:
        needed = (self.viewport_width, self.viewport_height)
        held = self._main_fb_dims if self._main_fb is not None else (0, 0)
        if needed[0] > held[0] or needed[1] > held[1]:
            self._delete_main_framebuffer()
            self._create_framebuffer(
                *(-(-max(n, h) // _GROW_BY) * _GROW_BY for n, h in zip(needed, held, strict=True))
            )
        GL.glEnable(GL.GL_SCISSOR_TEST)  # also bounds what is cleared
        GL.glScissor(0, 0, *needed)

    def _create_framebuffer(self, width: int, height: int) -> None:
        self._buffers = tuple(GL.glGenRenderbuffers(2))
        self._main_fb = self._main_fb_ms = GL.glGenFramebuffers(1)
        self._main_fb_dims = (width, height)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._main_fb)
        for buffer, storage, attachment in zip(
            self._buffers,
            (GL.GL_RGBA8, GL.GL_DEPTH_COMPONENT24),
            (GL.GL_COLOR_ATTACHMENT0, GL.GL_DEPTH_ATTACHMENT),
            strict=True,
        ):
            GL.glBindRenderbuffer(GL.GL_RENDERBUFFER, buffer)
            GL.glRenderbufferStorage(GL.GL_RENDERBUFFER, storage, width, height)
            GL.glFramebufferRenderbuffer(GL.GL_FRAMEBUFFER, attachment, GL.GL_RENDERBUFFER, buffer)

    def _delete_main_framebuffer(self) -> None:
        if self._main_fb is not None:
            GL.glDeleteFramebuffers(1, [self._main_fb])
            GL.glDeleteRenderbuffers(2, self._buffers)
        self._main_fb = self._main_fb_ms = None
        self._main_fb_dims = (0, 0)

    def _read_main_framebuffer(self, scene: Any, flags: int) -> UInt8[np.ndarray, "height width 4"]:
        width, height = self.viewport_width, self.viewport_height
        GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, self._main_fb)
        data = GL.glReadPixels(0, 0, width, height, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE)
        return np.frombuffer(data, np.uint8).reshape(height, width, 4)[::-1]


def _primitive(scene: LitScene, *, lines: bool = False, transparent: bool = False) -> Any:
    """The triangles in OpenGL's axes (y up, z towards the viewer), coloured per vertex."""
    colors = np.ones((len(scene.colors_rgb), 4), np.float32)
    colors[:, :3] = scene.colors_rgb
    if transparent:
        colors[:] = 0
    # opaque: alpha is written, not blended with what lies below
    material = pyrender.MetallicRoughnessMaterial(
        baseColorFactor=(1.0, 1.0, 1.0, 1.0), alphaMode="OPAQUE", doubleSided=True, wireframe=lines
    )
    return pyrender.Primitive(
        positions=scene.vertices_cam * np.array([1, -1, -1], np.float32),
        indices=scene.faces,
        color_0=colors,
        material=material,
    )


def _camera_of_region(camera: PinholeCamera, scene: LitScene) -> Any:
    """The camera that sees just the scene's region, one pixel a sample."""
    (cx, cy), region = camera.center_px, scene.region
    depths = scene.vertices_cam[scene.faces, 2]
    return pyrender.IntrinsicsCamera(
        fx=camera.focal_length_px * SUPERSAMPLE,
        fy=camera.focal_length_px * SUPERSAMPLE,
        cx=(cx - region.left) * SUPERSAMPLE,
        cy=(cy - region.top) * SUPERSAMPLE,
        znear=float(depths.min()) * 0.9,
        zfar=float(depths.max()) * 1.1,
    )


class EglRenderer:
    """Draws with pyrender in a GL context that needs no display."""

    def __init__(self) -> None:
        """Takes the first EGL device that gives a context (``EGL_DEVICE_ID`` chooses another)."""
        self._closed = False
        self._context = self._open_context()
        self._renderer = _RegionRenderer(1, 1)
        driver = GL.glGetString(GL.GL_RENDERER).decode(errors="replace")
        self.name = f"pyrender/EGL ({driver})"

    @staticmethod
    def _open_context() -> _Context:
        chosen = os.environ.get("EGL_DEVICE_ID")
        devices = egl.query_devices() if chosen is None else [egl.get_device_by_index(int(chosen))]
        failures = []
        for device in devices:
            context = _Context(1, 1, device=device)
            try:
                context.init_context()
            except Exception as error:  # asserts and EGLError, by driver
                failures.append(f"{device}: {type(error).__name__} {error}")
            else:
                return context
        raise RenderError(f"No EGL device gives a context ({'; '.join(failures) or 'none found'}).")

    def draw(
        self,
        image: UInt8[np.ndarray, "height width 3"],
        meshes: Sequence[MeshInstance],
        camera: PinholeCamera,
        *,
        opacity: float = 1.0,
        wireframe: bool = False,
    ) -> UInt8[np.ndarray, "height width 3"]:
        """See :class:`dtsvibe_cli.stages.rendering.Renderer`."""
        height, width = image.shape[:2]
        scene = light_scene(meshes, camera, width, height) if opacity > 0 else None
        if scene is None:
            return image.copy()
        return composite(image, self._rasterise(scene, camera, wireframe), scene.region, opacity)

    def _rasterise(
        self, scene: LitScene, camera: PinholeCamera, wireframe: bool
    ) -> UInt8[np.ndarray, "samples_y samples_x 4"]:
        gl_scene = pyrender.Scene(bg_color=(0.0, 0.0, 0.0, 0.0))
        gl_scene.add(_camera_of_region(camera, scene), pose=np.eye(4))
        if wireframe:
            # filled, but empty and a little farther away: hides the lines of what lies behind
            gl_scene.add(pyrender.Mesh([_primitive(scene, transparent=True)]))
        gl_scene.add(pyrender.Mesh([_primitive(scene, lines=wireframe)]))
        self._renderer.viewport_width = scene.region.width * SUPERSAMPLE
        self._renderer.viewport_height = scene.region.height * SUPERSAMPLE
        self._context.make_current()
        # only then: on steep surfaces the offset is as large as the depth across a sample
        (GL.glEnable if wireframe else GL.glDisable)(GL.GL_POLYGON_OFFSET_FILL)
        GL.glPolygonOffset(1.0, 1.0)
        flags = pyrender.RenderFlags
        layer: UInt8[np.ndarray, "samples_y samples_x 4"] = self._renderer.render(
            gl_scene, flags.RGBA | flags.FLAT | flags.OFFSCREEN
        )
        self._context.release()
        return layer

    def close(self) -> None:
        """Frees buffers and context."""
        if self._closed:
            return
        self._closed = True
        self._context.make_current()
        self._renderer.delete()
        self._context.release()
        self._context.delete_context()
