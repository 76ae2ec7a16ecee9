"""Frames beside the bodies found in them (paper, figure 6): input, camera view, alternate view.

One row a frame; results of one video share the rows, with columns of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dtsvibe_cli.datatypes import PinholeCamera, VideoMotion
from dtsvibe_cli.errors import ConfigError, DataError
from dtsvibe_cli.figures.canvas import MAX_HEIGHT_IN, WIDTH_IN, check_target, figure_to_save
from dtsvibe_cli.figures.sampling import chosen_frames, names_of, read_pictures, spread
from dtsvibe_cli.results import load_results
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.smpl_files import check_made_with, load_body_model
from dtsvibe_cli.stages.overlay import OverlayOptions, draw_frame, people_in_frame
from dtsvibe_cli.stages.rendering import Renderer, opened_renderer
from dtsvibe_cli.stages.rendering.views import view_rotation

NUM_FRAMES: Final = 4
"""Rows of a video, if not said otherwise."""

_PANEL_HEIGHT_PX: Final = 600
_MARGIN: Final = 0.08
"""Room around the people, in the larger side of the box around them."""
_ASPECTS: Final = (0.5, 1.8)
"""Width of a panel over its height, at least and at most."""

Picture = UInt8[np.ndarray, "rows columns 3"]
Box = Float[np.ndarray, "4"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One frame of one video."""

    label: str
    panels: list[Picture]
    """The input, then the camera view and the alternate view of each result."""


@dataclass(frozen=True, kw_only=True)
class _Video:
    """All results of one video."""

    motions: list[VideoMotion]
    frames: list[int]


def draw_rows(
    results: Sequence[Path],
    out: Path,
    *,
    frames: Sequence[int] = (),
    labels: Sequence[str] = (),
    view: str = "side",
    crop: bool = True,
    source: Path | None = None,
    body_model: Path | None = None,
    renderer: str | Renderer = "auto",
    overwrite: bool = False,
) -> list[Row]:
    """Draw figure 6 and return its rows.

    Args:
        results: ``NAME_smpl.npz`` files or folders of runs. Results of one video get columns
            beside each other, other videos get rows of their own.
        out: The .png, .pdf or .svg to write.
        frames: Frames to show, from 0; by default some spread evenly.
        labels: What the results are called, one each; by default their files' or folders' names.
        view: The alternate view: ``side``, ``top`` or ``around:DEGREES``.
        crop: Show the surroundings of the people only, not whole frames.
        source: The video, when it is no longer where the results say.
        body_model: The body model that the results were made with; None for the built-in one.
        renderer: ``auto``, ``egl``, ``numba`` or ``numpy``, or a renderer of your own.
        overwrite: Replace the file.

    Raises:
        DtsVibeError: Whatever a user can mend: an option, a file, no matplotlib.
    """
    check_target(out, overwrite=overwrite)
    view_rotation(view)
    names = names_of(results, labels)
    motions = [load_results(path) for path in results]
    body = load_body_model(body_model)
    for path, motion in zip(results, motions, strict=True):
        check_made_with(body, motion.meta, str(path))
    videos = _by_video(motions, frames)
    boxes = [[_box(video, frame, crop=crop) for frame in video.frames] for video in videos]
    aspect = _common_aspect([box for of_video in boxes for box in of_video])
    with opened_renderer(renderer) as drawer:
        rows = [
            row
            for video, of_video in zip(videos, boxes, strict=True)
            for row in _rows_of(video, of_video, aspect, body, drawer, view, source)
        ]
    shared = len(videos) == 1
    _plot(rows, names if shared and len(names) > 1 else [], view, out)
    return rows


def _by_video(motions: Sequence[VideoMotion], frames: Sequence[int]) -> list[_Video]:
    """Results grouped by their video; every video has equally many, to fill the columns."""
    groups: dict[Path, list[VideoMotion]] = {}
    for motion in motions:
        groups.setdefault(motion.video.path.resolve(), []).append(motion)
    if len({len(group) for group in groups.values()}) > 1:
        counts = ", ".join(f"{len(group)} of {path.name}" for path, group in groups.items())
        raise ConfigError(f"Each video needs as many results as the others, found {counts}.")
    videos = []
    for group in groups.values():
        first = max(motion.first_frame for motion in group)
        last = min(motion.first_frame + len(motion.time_s) for motion in group) - 1
        if first > last:
            raise DataError(f"The results of {group[0].video.path.name} have no frame in common.")
        shown = chosen_frames(frames, first, last) if frames else spread(first, last, NUM_FRAMES)
        videos.append(_Video(motions=group, frames=shown))
    return videos


def _box(video: _Video, frame: int, *, crop: bool) -> Box:
    """What is shown of a frame: the surroundings of its people, or all of it."""
    info = video.motions[0].video
    points = [
        np.concatenate([person.track.boxes_xyxy[row].reshape(2, 2), person.joints_px[row]])
        for motion in video.motions
        for person in motion.people
        for row in np.flatnonzero(person.track.frame_index == frame)
    ]
    if not crop or not points:
        return np.array([0.0, 0.0, info.width_px, info.height_px])
    low, high = np.concatenate(points).min(0), np.concatenate(points).max(0)
    margin = _MARGIN * (high - low).max()
    return np.concatenate([low - margin, high + margin])


def _common_aspect(boxes: Sequence[Box]) -> float:
    """Width over height that suits most boxes."""
    aspects = [(box[2] - box[0]) / (box[3] - box[1]) for box in boxes]
    return float(np.clip(np.median(aspects), *_ASPECTS))


def _rows_of(
    video: _Video,
    boxes: Sequence[Box],
    aspect: float,
    body: BodyModel,
    renderer: Renderer,
    view: str,
    source: Path | None,
) -> list[Row]:
    pictures = read_pictures(video.motions[0], video.frames, source)
    size = (round(_PANEL_HEIGHT_PX * aspect / 2) * 2, _PANEL_HEIGHT_PX)
    options = OverlayOptions(view=view, max_width_px=3 * size[0])
    rows = []
    for frame, box in zip(video.frames, boxes, strict=True):
        panels: list[Picture] = []
        for motion in video.motions:
            picture, camera = _cut(pictures[frame], motion.camera, box, size)
            drawn = draw_frame(
                picture,
                people_in_frame(motion, body, frame),
                body.faces.cpu().numpy(),
                camera,
                options=options,
                renderer=renderer,
            )
            panels += np.split(drawn, 3, axis=1)[1 if panels else 0 :]
        rows.append(Row(label=f"frame {frame}", panels=panels))
    return rows


def _cut(
    picture: UInt8[np.ndarray, "height width 3"],
    camera: PinholeCamera,
    box: Box,
    size: tuple[int, int],
) -> tuple[Picture, PinholeCamera]:
    """The box widened to the panel's shape, as a panel, and the camera that sees it."""
    middle = (box[:2] + box[2:]) / 2
    scale = min(size / (box[2:] - box[:2]))
    extent, whole = np.array(size) / scale, np.array(picture.shape[1::-1])
    # moved into the frame, or onto its middle where it is wider
    room = np.minimum(extent, whole) / 2
    middle = np.where(extent > whole, whole / 2, np.clip(middle, room, whole - room))
    corner = middle - extent / 2
    if scale < 1:  # blur what would alias
        picture = cv2.GaussianBlur(picture, (0, 0), 0.45 / scale)
    # pixel centres lie at halves
    shift = (0.5 - corner) * scale - 0.5
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    panel = cv2.warpAffine(
        picture,
        matrix,
        size,
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(255, 255, 255),
    )
    center = (np.array(camera.center_px) - corner) * scale
    return np.asarray(panel, dtype=np.uint8), replace(
        camera,
        focal_length_px=camera.focal_length_px * scale,
        center_px=(float(center[0]), float(center[1])),
    )


def _plot(rows: Sequence[Row], names: Sequence[str], view: str, out: Path) -> None:
    columns = len(rows[0].panels)
    height, width = rows[0].panels[0].shape[:2]
    titles_in, labels_in = (0.42 if names else 0.25), 0.25
    panel_in = min(
        (WIDTH_IN - labels_in) / columns, (MAX_HEIGHT_IN - titles_in) / len(rows) * width / height
    )
    height_in = len(rows) * panel_in * height / width + titles_in
    with figure_to_save(out, height_in, columns * panel_in + labels_in) as figure:
        figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for row, line in zip(rows, grid, strict=True):
            for picture, axes in zip(row.panels, line, strict=True):
                axes.imshow(picture)
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
            line[0].set_ylabel(row.label, fontsize=7, labelpad=2)
        _write_titles(list(grid[0]), names, view)


def _write_titles(top: Sequence[Any], names: Sequence[str], view: str) -> None:
    """What each column shows, and above the two of each result its name."""
    other = {"side": "side view", "top": "view from above"}.get(view)
    other = other or f"{view.removeprefix('around:')}° around"
    for column, axes in enumerate(top):
        title = "input" if column == 0 else (other, "camera view")[column % 2]
        axes.set_title(f"\n{title}" if names else title, pad=3)
    for name, axes in zip(names, top[1::2], strict=bool(names)):
        axes.annotate(
            name,
            (1, 1),
            (0, 13),
            xycoords="axes fraction",
            textcoords="offset points",
            horizontalalignment="center",
            fontweight="bold",
            in_layout=False,
        )
