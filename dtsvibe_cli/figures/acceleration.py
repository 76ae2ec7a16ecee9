"""Acceleration error along time for several results (paper, figure 5), with frames above it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from dtsvibe_cli.datatypes import PersonMotion, VideoMotion
from dtsvibe_cli.errors import DataError
from dtsvibe_cli.evaluation.compare import compare
from dtsvibe_cli.evaluation.metrics import acceleration_error
from dtsvibe_cli.figures.canvas import COLOURS, DASHES, WIDTH_IN, check_target, figure_to_save
from dtsvibe_cli.figures.sampling import chosen_frames, names_of, read_pictures, spread
from dtsvibe_cli.results import load_results
from dtsvibe_cli.synthetic.truth import Truth, load_truth

NUM_FRAMES: Final = 7
"""Sample frames above the curves, if not said otherwise."""

_MARGIN: Final = 0.12
"""Room around the joints in a sample frame, in their extent."""

_MIN_ASPECT: Final = 0.62
"""Width of a sample frame over its height, at least."""


@dataclass(frozen=True, kw_only=True)
class AccelerationCurve:
    """The error of one result along time."""

    label: str
    frame_index: Int[np.ndarray, " frame"]
    """Frames that have one before and one after them."""
    error_mm: Float[np.ndarray, " frame"]
    """Mean over the joints, mm/frame^2, pelvis aligned; NaN where there is no motion."""

    @property
    def mean_mm(self) -> float:
        """Mean over time, mm/frame^2."""
        return float(np.nanmean(self.error_mm))


def acceleration_curve(label: str, person: PersonMotion, truth: Truth) -> AccelerationCurve:
    """The acceleration error in every frame whose neighbours are known too.

    Raises:
        DataError: The person is not there for three frames on end.
    """
    num_frames = len(truth.joints_cam)
    known = person.track.frame_index < num_frames
    joints = np.full(truth.joints_cam.shape, np.nan)
    joints[person.track.frame_index[known]] = person.joints_cam[known]
    by_root, true_by_root = (
        torch.from_numpy(each - each[:, :1]) for each in (joints, truth.joints_cam)
    )
    error = 1000 * acceleration_error(_triples(by_root), _triples(true_by_root)).numpy()
    if np.isnan(error).all():
        raise DataError(f"{label} and the truth have no three consecutive frames in common.")
    return AccelerationCurve(label=label, frame_index=np.arange(1, num_frames - 1), error_mm=error)


def _triples(joints: Float[torch.Tensor, "frame 24 3"]) -> Float[torch.Tensor, "inner 3 24 3"]:
    """Each frame but the ends, with the one before and the one after it."""
    return torch.stack([joints[:-2], joints[1:-1], joints[2:]], dim=1)


def draw_acceleration(
    results: Sequence[Path],
    truth: Path,
    out: Path,
    *,
    labels: Sequence[str] = (),
    frames: Sequence[int] = (),
    source: Path | None = None,
    overwrite: bool = False,
) -> list[AccelerationCurve]:
    """Draw figure 5 and return its curves.

    Of several people in a result, the one nearest to the truth in the picture is measured.

    Args:
        results: ``NAME_smpl.npz`` files or folders of runs, all of one video.
        truth: What is exactly known of that video: a ``NAME_truth.npz``.
        out: The .png, .pdf or .svg to write.
        labels: What the results are called, one each; by default their files' or folders' names.
        frames: Frames shown above the curves, from 0; by default some spread evenly.
        source: The video, when it is no longer where the first result says.
        overwrite: Replace the file.

    Raises:
        DtsVibeError: Whatever a user can mend: an option, a file, no matplotlib.
    """
    check_target(out, overwrite=overwrite)
    names, known = names_of(results, labels), load_truth(truth)
    motions = [load_results(path) for path in results]
    curves = [
        acceleration_curve(name, _nearest(motion, known, path), known)
        for name, motion, path in zip(names, motions, results, strict=True)
    ]
    last = len(known.joints_cam) - 1
    shown = chosen_frames(frames, 0, last) if frames else spread(0, last, NUM_FRAMES)
    pictures = read_pictures(motions[0], shown, source)
    extent = np.ptp(known.joints_px[shown], axis=1).max(0) * (1 + 2 * _MARGIN)
    size = np.array([max(extent[0], _MIN_ASPECT * extent[1]), extent[1]])
    thumbnails = {
        frame: _around(picture, known.joints_px[frame], size) for frame, picture in pictures.items()
    }
    _plot(curves, thumbnails, known.fps, out)
    return curves


def _nearest(motion: VideoMotion, truth: Truth, path: Path) -> PersonMotion:
    """The person of a result who is the one of the truth."""
    frames = np.arange(len(truth.joints_cam))
    distance = {
        k: compare(person, frames, truth.joints_cam, truth.joints_px).pixels_of_box
        for k, person in enumerate(motion.people)
        if person.track.frame_index[0] < len(frames)
    }
    nearest = min(distance, key=distance.__getitem__, default=None)
    if nearest is None or distance[nearest] > 1:
        raise DataError(f"{path} has nobody where the truth is: is it of another video?")
    return motion.people[nearest]


def _around(
    picture: UInt8[np.ndarray, "height width 3"],
    joints_px: Float[np.ndarray, "24 2"],
    size: Float[np.ndarray, "2"],
) -> UInt8[np.ndarray, "rows columns 3"]:
    """The part of a frame around the person, of a given width and height."""
    whole = np.array(picture.shape[1::-1])
    width, height = np.minimum(size, whole).astype(int)
    middle = (joints_px.max(0) + joints_px.min(0)) / 2
    x, y = np.clip(middle - np.array([width, height]) / 2, 0, whole - [width, height]).astype(int)
    return picture[y : y + height, x : x + width]


def _plot(
    curves: Sequence[AccelerationCurve],
    thumbnails: dict[int, UInt8[np.ndarray, "rows columns 3"]],
    fps: float,
    out: Path,
) -> None:
    rows, columns = next(iter(thumbnails.values())).shape[:2]
    strip_in = min(1.9, (WIDTH_IN - 0.5) / len(thumbnails) * rows / columns)
    strip_in += 0.2  # the times above the frames
    with figure_to_save(out, height_in=strip_in + 2.3) as figure:
        figure.get_layout_engine().set(w_pad=0.015, wspace=0.01)
        grid = figure.add_gridspec(2, len(thumbnails), height_ratios=[strip_in, 2.1])
        chart = figure.add_subplot(grid[1, :])
        _plot_curves(chart, curves, fps)
        for column, (frame, picture) in enumerate(thumbnails.items()):
            axes = figure.add_subplot(grid[0, column])
            axes.imshow(picture)
            axes.set(xticks=[], yticks=[])
            axes.set_title(f"{frame / fps:.2f} s", fontsize=7, pad=2)
            axes.spines[:].set_visible(True)
            _tie(figure, axes, chart, frame / fps)


def _plot_curves(axes: Any, curves: Sequence[AccelerationCurve], fps: float) -> None:
    for k, curve in enumerate(curves):
        axes.plot(
            curve.frame_index / fps,
            curve.error_mm,
            color=COLOURS[k % len(COLOURS)],
            linestyle=DASHES[k % len(DASHES)],
            linewidth=1.1,
            label=f"{curve.label} (mean {curve.mean_mm:.1f})",
        )
    axes.set(
        xlabel="time (s)",
        ylabel="acceleration error (mm/frame²)",
        ylim=(0, 1.2 * max(float(np.nanmax(curve.error_mm)) for curve in curves)),
        xlim=(0, (curves[0].frame_index[-1] + 1) / fps),
    )
    axes.yaxis.grid(visible=True, color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.legend(loc="upper right", ncols=min(3, len(curves)))


def _tie(figure: Any, picture: Any, chart: Any, time_s: float) -> None:
    """A thin line from the middle of a sample frame to its time, and down through the curves."""
    from matplotlib.patches import ConnectionPatch

    line: dict[str, Any] = {"color": "0.55", "linewidth": 0.5}
    chart.axvline(time_s, linestyle=(0, (2, 2)), zorder=0, **line)
    figure.add_artist(
        ConnectionPatch(
            (0.5, 0),
            (time_s, 1),
            "axes fraction",
            chart.get_xaxis_transform(),
            axesA=picture,
            axesB=chart,
            **line,
        )
    )
