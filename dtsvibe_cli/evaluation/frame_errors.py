"""The errors of one person in one sequence, frame by frame: what every table is an average of."""

from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped

from dtsvibe_cli.evaluation.joint_sets import JointSet
from dtsvibe_cli.evaluation.metrics import mpjpe, procrustes_align
from dtsvibe_cli.geometry.boxes import sizes

MIN_JOINTS: Final = 4
"""Fewer known joints than this are no pose that could be aligned."""


@dataclass(frozen=True, kw_only=True)
class Measures:
    """One value a frame of each measure; NaN where it could not be measured."""

    mpjpe_mm: Float[np.ndarray, " frame"]
    """After moving the root onto the true one."""
    pa_mpjpe_mm: Float[np.ndarray, " frame"]
    """After the frame's best similarity transform (Procrustes)."""
    pve_mm: Float[np.ndarray, " frame"]
    """Mean distance of the vertices, pelvis aligned."""
    accel_mm: Float[np.ndarray, " frame"]
    """Error of the second difference about this frame, roots aligned, per frame squared."""
    jitter_mm: Float[np.ndarray, " frame"]
    """Length of the result's own second difference, roots aligned, per frame squared."""
    true_jitter_mm: Float[np.ndarray, " frame"]
    """The same of the truth."""
    of_box: Float[np.ndarray, " frame"]
    """Mean distance in the picture as a fraction of the true box's longer side."""
    root_mm: Float[np.ndarray, " frame"]
    """Distance of the root in camera coordinates."""
    swapped: Float[np.ndarray, " frame"]
    """1 where the pose fits better with left and right exchanged, roots aligned, else 0."""


NAMES: Final = tuple(field.name for field in fields(Measures))


@dataclass(frozen=True, kw_only=True)
class FrameErrors:
    """One person of one sequence."""

    sequence: str
    person: str
    actions: Shaped[np.ndarray, " frame"]
    """What is done in each frame; empty texts where the set does not say."""
    scored: Bool[np.ndarray, " frame"]
    """Frames of the truth in which a pose could be compared; the others count nowhere."""
    found: Bool[np.ndarray, " frame"]
    """Frames in which the result has this person."""
    yaw_deg: Float[np.ndarray, " frame"]
    """From where the camera sees the true body; see :mod:`dtsvibe_cli.evaluation.views`."""
    num_tracks: int
    """How many people of the result stand for this one."""
    measures: Measures


def no_measures(num_frames: int) -> Measures:
    """Nothing measured yet."""
    return Measures(**{name: np.full(num_frames, np.nan) for name in NAMES})


def measure_joints(
    predicted_m: Float[np.ndarray, "frame joint 3"],
    truth_m: Float[np.ndarray, "frame joint 3"],
    frame_index: Int[np.ndarray, " frame"],
    joints: JointSet,
    *,
    absolute: bool = True,
) -> Measures:
    """All measures that joints in space allow; NaN joints are unknown on either side.

    The mean of a frame is over its known joints. A second difference takes three frames that are
    the sequence's usual step apart, never over a gap.
    """
    roots = list(joints.roots)
    known = np.isfinite(predicted_m).all(-1) & np.isfinite(truth_m).all(-1)
    usable = known[:, roots].all(1) & (known.sum(1) >= MIN_JOINTS)
    known &= usable[:, None]
    predicted, truth = (np.where(known[..., None], p, 0.0) for p in (predicted_m, truth_m))
    root_apart = np.linalg.norm((predicted - truth)[:, roots].mean(1), axis=-1)
    by_root, true_by_root = (p - p[:, roots].mean(1, keepdims=True) for p in (predicted, truth))
    apart = np.linalg.norm(by_root - true_by_root, axis=-1)
    swapped = np.full(len(known), np.nan)
    if joints.mirror is not None:
        other = by_root[:, list(joints.mirror)]
        complete = known.all(1)
        better = np.linalg.norm(other - true_by_root, axis=-1).mean(1) < apart.mean(1)
        swapped[complete] = better[complete]
    error, jitter, true_jitter = _second_differences(by_root, true_by_root, known, frame_index)
    return replace(
        no_measures(len(known)),
        mpjpe_mm=1000 * _mean(apart, known),
        pa_mpjpe_mm=1000 * _aligned_error(predicted, truth, known),
        accel_mm=1000 * error,
        jitter_mm=1000 * jitter,
        true_jitter_mm=1000 * true_jitter,
        root_mm=np.where(usable & absolute, 1000 * root_apart, np.nan),
        swapped=swapped,
    )


def usual_step(frame_index: Int[np.ndarray, " frame"]) -> int:
    """The most frequent distance from one frame of the truth to the next.

    >>> usual_step(np.array([0, 2, 4, 6, 7, 20]))
    2
    """
    if len(frame_index) < 2:
        return 1
    steps, counts = np.unique(np.diff(frame_index), return_counts=True)
    step: int = steps[counts.argmax()].item()
    return step


def pixel_error_of_box(
    predicted_px: Float[np.ndarray, "frame joint 2"],
    truth_px: Float[np.ndarray, "frame joint 2"],
    boxes_xyxy: Float[np.ndarray, "frame 4"],
) -> Float[np.ndarray, " frame"]:
    """Mean distance in the picture as a fraction of the true box's longer side."""
    apart = np.linalg.norm(predicted_px - truth_px, axis=-1)
    side = sizes(boxes_xyxy)
    fraction: Float[np.ndarray, " frame"] = _mean(apart, np.isfinite(apart)) / side
    return fraction


def _mean(
    values: Float[np.ndarray, "frame joint"], known: Bool[np.ndarray, "frame joint"]
) -> Float[np.ndarray, " frame"]:
    """Mean over the known joints of each frame; NaN where none is."""
    count = known.sum(1)
    total = np.where(known, values, 0.0).sum(1)
    mean: Float[np.ndarray, " frame"] = np.divide(
        total, count, out=np.full(len(count), np.nan), where=count > 0
    )
    return mean


def _aligned_error(
    predicted: Float[np.ndarray, "frame joint 3"],
    truth: Float[np.ndarray, "frame joint 3"],
    known: Bool[np.ndarray, "frame joint"],
) -> Float[np.ndarray, " frame"]:
    """PA-MPJPE in the unit given; frames with all joints at once, the others with weights."""
    error = np.full(len(known), np.nan)
    rows = known.any(1)
    if not rows.any():
        return error
    mine, theirs = (torch.from_numpy(p[rows]).double() for p in (predicted, truth))
    weights = torch.from_numpy(known[rows]).double()
    if known[rows].all():
        error[rows] = mpjpe(procrustes_align(mine, theirs), theirs).numpy()
        return error
    aligned = procrustes_align(mine, theirs, weights).numpy()
    error[rows] = _mean(np.linalg.norm(aligned - theirs.numpy(), axis=-1), known[rows])
    return error


def _second_differences(
    by_root: Float[np.ndarray, "frame joint 3"],
    true_by_root: Float[np.ndarray, "frame joint 3"],
    known: Bool[np.ndarray, "frame joint"],
    frame_index: Int[np.ndarray, " frame"],
) -> tuple[Float[np.ndarray, " frame"], Float[np.ndarray, " frame"], Float[np.ndarray, " frame"]]:
    """Acceleration error, acceleration, true acceleration, each at the middle of three frames."""
    nothing = np.full(len(known), np.nan)
    if len(known) < 3:
        return nothing, nothing.copy(), nothing.copy()
    step = usual_step(frame_index)
    regular = (np.diff(frame_index)[1:] == step) & (np.diff(frame_index)[:-1] == step)
    all_known = known[2:] & known[1:-1] & known[:-2] & regular[:, None]

    def at_middle(points: Float[np.ndarray, "frame joint 3"]) -> Float[np.ndarray, " frame"]:
        values = nothing.copy()
        values[1:-1] = _mean(np.linalg.norm(np.diff(points, n=2, axis=0), axis=-1), all_known)
        return values

    return at_middle(by_root - true_by_root), at_middle(by_root), at_middle(true_by_root)
