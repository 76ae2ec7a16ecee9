"""The picture people look at: input and overlay in panels, other views, ids; and its video."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final, Literal, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from dtsvibe_cli.datatypes import Frame, PinholeCamera, SmplParams, VideoMotion
from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.geometry.joints import SMPL24
from dtsvibe_cli.smpl import BodyModel, vertices_of
from dtsvibe_cli.stages.rendering import MeshInstance, Renderer
from dtsvibe_cli.stages.rendering.shading import brightness_of
from dtsvibe_cli.stages.rendering.views import Viewpoint, backdrop, place_view, view_camera
from dtsvibe_cli.stages.shrinking import shrink, shrunk_camera
from dtsvibe_cli.streaming import Stages, shared_cores
from dtsvibe_cli.timing import Stopwatch
from dtsvibe_cli.video import VideoWriter, read_frames

PALETTE: Final = (
    (0.55, 0.70, 0.87),  # steel blue
    (0.94, 0.57, 0.47),  # coral
    (0.63, 0.78, 0.58),  # sage
    (0.91, 0.75, 0.40),  # ochre
    (0.74, 0.58, 0.83),  # mauve
    (0.42, 0.75, 0.73),  # teal
    (0.92, 0.60, 0.71),  # rose
    (0.73, 0.58, 0.45),  # tan
    (0.49, 0.55, 0.82),  # indigo
    (0.72, 0.74, 0.40),  # olive
    (0.80, 0.80, 0.80),  # grey
    (0.77, 0.43, 0.43),  # brick
)
"""Colours of people, 0 to 1: muted, and apart from each other when lit from any side."""

_HEAD = SMPL24.index("head")
_ABOVE_HEAD_M = 0.26
_VERTEX_BATCH = 16
"""Frames whose vertices are in memory at once."""

_BUSY_THREADS = 2
"""Threads that compute without pause while a video is drawn: drawing and encoding."""

Layout = Literal["side-by-side", "overlay", "stacked"]


@dataclass(frozen=True, kw_only=True)
class OverlayOptions:
    """How the overlay looks."""

    layout: Layout = "side-by-side"
    """Input beside the overlay, the overlay alone, or the input above the overlay."""
    view: str | None = None
    """A further panel from another side: ``side``, ``top``, ``around:DEGREES``, or None."""
    opacity: float = 1.0
    """Of the meshes over the input, 0 to 1."""
    wireframe: bool = False
    """Draw the meshes' edges instead of their surfaces."""
    show_ids: bool = False
    """Write each person's track id above the head."""
    max_width_px: int = 1920
    """Width of the whole picture at most; encoding wide video costs more than drawing it."""

    def __post_init__(self) -> None:
        if not 0 <= self.opacity <= 1:
            raise ConfigError(f"The opacity must lie between 0 and 1, not {self.opacity:g}.")
        if self.max_width_px < 64:
            raise ConfigError(f"The width must be at least 64 pixels, not {self.max_width_px}.")


@dataclass(frozen=True, kw_only=True)
class OverlayPerson:
    """One person in one frame."""

    track_id: int
    vertices_cam: Float[np.ndarray, "vertex 3"]
    """Metres, camera coordinates."""
    joints_cam: Float[np.ndarray, "24 3"]
    """Metres, camera coordinates; tells where the head is."""
    brightness: Float[np.ndarray, " vertex"] | None = None
    """Of the mesh in the scene's light; None: found when it is drawn."""


def person_color(track_id: int) -> tuple[float, float, float]:
    """Colour of a person (RGB, 0 to 1): the same in every frame, panel and run."""
    return PALETTE[(track_id - 1) % len(PALETTE)]


def panel_size(width: int, height: int, options: OverlayOptions) -> tuple[int, int]:
    """Width and height of one panel, even, for input frames of the given size."""
    num_panels = (options.layout != "overlay") + 1 + (options.view is not None)
    num_across = 1 if options.layout == "stacked" else num_panels
    scale = min(1.0, options.max_width_px / (num_across * width))
    return max(2, int(width * scale) // 2 * 2), max(2, round(height * scale / 2) * 2)


def draw_frame(
    image: UInt8[np.ndarray, "height width 3"],
    people: Sequence[OverlayPerson],
    faces: Int[np.ndarray, "face 3"],
    camera: PinholeCamera,
    *,
    options: OverlayOptions,
    renderer: Renderer,
    viewpoint: Viewpoint | None = None,
) -> UInt8[np.ndarray, "rows columns 3"]:
    """All panels of one frame.

    Args:
        image: The input frame.
        people: Those seen in it; may be empty.
        faces: Of the body model.
        camera: Of the input frame.
        options: What is drawn.
        renderer: Draws the meshes.
        viewpoint: Place of the alternate camera; by default one that fits these people.

    Raises:
        ConfigError: There is no such view.
    """
    size = panel_size(image.shape[1], image.shape[0], options)
    return _draw_panels(
        shrink(image, size),
        people,
        faces,
        shrunk_camera(camera, (image.shape[1], image.shape[0]), size),
        options=options,
        renderer=renderer,
        viewpoint=viewpoint,
    )


def _draw_panels(
    picture: UInt8[np.ndarray, "height width 3"],
    people: Sequence[OverlayPerson],
    faces: Int[np.ndarray, "face 3"],
    camera: PinholeCamera,
    *,
    options: OverlayOptions,
    renderer: Renderer,
    viewpoint: Viewpoint | None,
) -> UInt8[np.ndarray, "rows columns 3"]:
    """All panels, from a picture of the size of one and its camera."""
    size = picture.shape[1], picture.shape[0]
    drawn = _draw_people(
        picture, people, faces, camera, options=options, opacity=options.opacity, renderer=renderer
    )
    panels = [drawn] if options.layout == "overlay" else [picture, drawn]
    if options.view is not None:
        joints = np.concatenate([np.empty((0, 3)), *(person.joints_cam for person in people)])
        viewpoint = viewpoint or place_view(options.view, joints, *size)
        turned = [
            OverlayPerson(
                track_id=person.track_id,
                vertices_cam=viewpoint.transform(person.vertices_cam),
                joints_cam=viewpoint.transform(person.joints_cam),
            )
            for person in people
        ]
        panels.append(
            _draw_people(
                backdrop(viewpoint, *size),
                turned,
                faces,
                view_camera(*size),
                options=options,
                opacity=1.0,
                renderer=renderer,
            )
        )
    return np.concatenate(panels, axis=0 if options.layout == "stacked" else 1)


class _Picture(NamedTuple):
    """A picture on its way to be drawn on, or to the encoder."""

    rgb: UInt8[np.ndarray, "rows columns 3"]
    pts: int
    time_base: Fraction


def draw_video(
    motion: VideoMotion,
    body: BodyModel,
    out_path: Path,
    *,
    options: OverlayOptions,
    renderer: Renderer,
    source: Path | None = None,
    device: str = "cpu",
    on_frame: Callable[[int], None] | None = None,
    watch: Stopwatch | None = None,
) -> None:
    """Write the overlay video of a result, with the times and the sound of its source.

    Args:
        motion: The result; meshes are made from its parameters, a few frames at a time.
        body: The body model that the parameters speak of.
        out_path: The ``.mp4`` to write.
        options: What is drawn.
        renderer: Draws the meshes.
        source: The input video, when it is no longer where the result says.
        device: Where networks run; on CUDA its decoder and encoder are used where they work.
        on_frame: Called with the number of frames written so far.
        watch: Counts the time of ``decode``, ``body``, ``draw`` and ``encode``.

    Raises:
        VideoError: The source cannot be read, or the video cannot be written.
        ConfigError: There is no such view, or the source has another size or fewer frames than
            the result says.
    """
    source = source or motion.video.path
    size = panel_size(motion.video.width_px, motion.video.height_px, options)
    joints = np.concatenate(
        [np.empty((0, 3)), *(person.joints_cam.reshape(-1, 3) for person in motion.people)]
    )
    viewpoint = None if options.view is None else place_view(options.view, joints, *size)
    faces = body.faces.cpu().numpy()
    start_s = float(motion.time_s[0]) if motion.first_frame else 0.0
    writer = VideoWriter(
        out_path,
        frame_rate=motion.video.frame_rate,
        audio_from=source if motion.video.has_audio else None,
        start_s=start_s,
        device=device,
    )
    camera = shrunk_camera(motion.camera, (motion.video.width_px, motion.video.height_px), size)
    watch = watch or Stopwatch()

    def shrunk() -> Iterator[_Picture]:
        for frame in _processed_frames(motion, source, start_s, device):
            yield _Picture(shrink(frame.rgb, size), frame.pts, frame.time_base)

    def draw(
        pictures: Iterator[_Picture], meshes: Iterator[list[OverlayPerson]]
    ) -> Iterator[_Picture]:
        for people in meshes:
            picture = next(pictures, None)
            if picture is None:
                raise ConfigError(
                    f"{source} ends before the result does, which has {len(motion.time_s)} frames: "
                    "give the video that it was made from."
                )
            with watch("draw"):
                panels = _draw_panels(
                    picture.rgb,
                    people,
                    faces,
                    camera,
                    options=options,
                    renderer=renderer,
                    viewpoint=viewpoint,
                )
            yield picture._replace(rgb=panels)

    with writer, Stages() as stages, shared_cores(_BUSY_THREADS):
        # drawing takes longest: what it needs is made ready by others
        pictures = stages.ahead(watch.timed_iterator("decode", shrunk()))
        meshes = stages.ahead(watch.timed_iterator("body", _people_by_frame(motion, body)))
        for done, drawn in enumerate(stages.ahead(draw(pictures, meshes)), 1):
            with watch("encode"):
                writer.write(drawn.rgb, pts=drawn.pts, time_base=drawn.time_base)
            if on_frame is not None:
                on_frame(done)


def _draw_people(
    picture: UInt8[np.ndarray, "height width 3"],
    people: Sequence[OverlayPerson],
    faces: Int[np.ndarray, "face 3"],
    camera: PinholeCamera,
    *,
    options: OverlayOptions,
    opacity: float,
    renderer: Renderer,
) -> UInt8[np.ndarray, "height width 3"]:
    """A copy of the picture with the people's meshes, and their ids if wanted."""
    meshes = [
        MeshInstance(
            vertices_cam=person.vertices_cam,
            faces=faces,
            color_rgb=person_color(person.track_id),
            brightness=person.brightness,
        )
        for person in people
    ]
    drawn = renderer.draw(picture, meshes, camera, opacity=opacity, wireframe=options.wireframe)
    if options.show_ids:
        for person in people:
            _write_id(drawn, person, camera)
    return drawn


def _write_id(
    picture: UInt8[np.ndarray, "height width 3"], person: OverlayPerson, camera: PinholeCamera
) -> None:
    """Write the track id into the picture, on a plate of the person's colour above the head."""
    x, y, z = person.joints_cam[_HEAD] - np.array([0, _ABOVE_HEAD_M, 0])
    if z <= 0:
        return
    height, width = picture.shape[:2]
    center_x = camera.focal_length_px * x / z + camera.center_px[0]
    bottom = camera.focal_length_px * y / z + camera.center_px[1]
    if not (0 <= center_x < width and -height < bottom < height):
        return
    text, font, scale = str(person.track_id), cv2.FONT_HERSHEY_DUPLEX, max(0.4, height / 900)
    (text_width, text_height), _ = cv2.getTextSize(text, font, scale, 1)
    pad = max(3, text_height // 3)
    left = int(np.clip(center_x - text_width / 2, pad, width - text_width - pad))
    base = int(np.clip(bottom - pad, text_height + pad, height - pad))
    plate = [round(255 * (0.35 + 0.65 * channel)) for channel in person_color(person.track_id)]
    corners = (left - pad, base - text_height - pad), (left + text_width + pad, base + pad)
    cv2.rectangle(picture, *corners, plate, cv2.FILLED, cv2.LINE_AA)
    cv2.putText(picture, text, (left, base), font, scale, (30, 30, 30), 1, cv2.LINE_AA)


def _processed_frames(
    motion: VideoMotion, source: Path, start_s: float, device: str
) -> Iterator[Frame]:
    """The frames that the result speaks of, from the first."""
    frames = read_frames(
        source,
        # a quarter of a frame early: which frame is the first is told by its index
        start_s=max(0.0, start_s - 0.25 / float(motion.video.frame_rate)),
        frame_rate=motion.video.frame_rate if source.is_dir() else None,
        device=device,
    )
    for frame in itertools.dropwhile(lambda frame: frame.index < motion.first_frame, frames):
        height, width = frame.rgb.shape[:2]
        if (width, height) != (motion.video.width_px, motion.video.height_px):
            raise ConfigError(
                f"{source} is {width}x{height} pixels, but the result was made from a video of "
                f"{motion.video.width_px}x{motion.video.height_px}; give that video."
            )
        yield frame


def _people_by_frame(motion: VideoMotion, body: BodyModel) -> Iterator[list[OverlayPerson]]:
    """Those tracked in each processed frame, with their meshes."""
    end = motion.first_frame + len(motion.time_s)
    for start in range(motion.first_frame, end, _VERTEX_BATCH):
        yield from _people_between(motion, body, start, min(start + _VERTEX_BATCH, end))


def people_in_frame(motion: VideoMotion, body: BodyModel, frame: int) -> list[OverlayPerson]:
    """Those tracked in one frame of a result's video, with their meshes."""
    (people,) = _people_between(motion, body, frame, frame + 1)
    return people


def _people_between(
    motion: VideoMotion, body: BodyModel, start: int, stop: int
) -> list[list[OverlayPerson]]:
    """Those of each frame from one to before another."""
    by_frame: list[list[OverlayPerson]] = [[] for _ in range(start, stop)]
    faces = body.faces.cpu().numpy()
    for person in motion.people:
        first, last = np.searchsorted(person.track.frame_index, [start, stop])
        rows = slice(int(first), int(last))
        vertices = vertices_of(body, _rows_of(person.smpl, rows))
        for frame, mesh, joints in zip(
            person.track.frame_index[rows], vertices, person.joints_cam[rows], strict=True
        ):
            by_frame[int(frame) - start].append(
                OverlayPerson(
                    track_id=person.track.track_id,
                    vertices_cam=mesh,
                    joints_cam=joints,
                    brightness=brightness_of(mesh, faces),
                )
            )
    return by_frame


def _rows_of(smpl: SmplParams, rows: slice) -> SmplParams:
    return SmplParams(
        global_orient=smpl.global_orient[rows],
        body_pose=smpl.body_pose[rows],
        betas=smpl.betas[rows],
        transl=smpl.transl[rows],
    )
