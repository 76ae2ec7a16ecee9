"""Tables of how pose networks err, made of the statistics of samples.

Errors in the picture are fractions of the body's extent there, errors in space are metres.
"""

from collections.abc import Callable, Sequence
from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float

from dtsvibe_cli.geometry.joints import (
    BLAZEPOSE33,
    COCO17,
    COCO17_MIRROR,
    COCO17_TO_BLAZEPOSE33,
)
from dtsvibe_cli.training.gap_offsets import offset_rows
from dtsvibe_cli.training.gap_statistics import (
    GROUPS,
    SETS,
    deviation,
    extent,
    extent_of,
    group,
    keypoint_swaps,
    landmark_swaps,
    parts_in_time,
    percentile,
    residuals,
    swaps,
    unexchanged,
)
from dtsvibe_cli.training.observation_gap import GapSample

Row = tuple[str, float]


def _spells(swapped: Bool[np.ndarray, " row"]) -> list[int]:
    """Lengths of the stretches of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], swapped.astype(int), [0]])))
    return list(edges[1::2] - edges[::2])


def swap_rows(samples: Sequence[GapSample]) -> list[Row]:
    """How often and for how long sides are exchanged, and whether both networks do it at once."""
    rows: list[Row] = []
    pose, detector = (
        [find(sample) for sample in samples] for find in (landmark_swaps, keypoint_swaps)
    )
    for part in SETS:
        told = np.concatenate([found[part].told for found in pose])
        own = np.concatenate([found[part].swapped for found in pose])
        asked = np.concatenate([found[part].told for found in detector])
        other = np.concatenate([found[part].swapped for found in detector])
        lengths = [n for found in pose for n in _spells(found[part].swapped & found[part].told)]
        any_in = np.mean([bool((f[part].swapped & f[part].told).any()) for f in pose])
        rows += [
            (f"{part}: BlazePose exchanged, % of frames that tell", 100 * own[told].mean()),
            (f"{part}: sequences with at least one, %", 100 * float(any_in)),
            (f"{part}: median length, frames", float(np.median(lengths)) if lengths else 0.0),
            (
                f"{part}: 90th percentile of length, frames",
                float(np.percentile(lengths, 90)) if lengths else 0.0,
            ),
            (f"{part}: MoveNet exchanged, % of looks", 100 * other[asked].mean()),
            (
                f"{part}: MoveNet exchanged where BlazePose is, %",
                100 * other[asked & own].mean() if (asked & own).any() else float("nan"),
            ),
            (
                f"{part}: BlazePose exchanged where MoveNet is, %",
                100 * own[asked & other].mean() if (asked & other).any() else float("nan"),
            ),
        ]
    kinds = {"legs only": (1, 0), "arms only": (0, 1), "legs and arms": (1, 1)}
    frames = [
        (f["legs"].swapped[f["legs"].told & f["arms"].told],
         f["arms"].swapped[f["legs"].told & f["arms"].told]) for f in pose
    ]  # fmt: skip
    legs, arms = (np.concatenate(part) for part in zip(*frames, strict=True))
    for kind, (leg, arm) in kinds.items():
        share = 100 * float(((legs == bool(leg)) & (arms == bool(arm))).mean())
        rows.append((f"{kind} exchanged, % of frames that tell both", share))
    return rows


def error_rows(samples: Sequence[GapSample]) -> list[Row]:
    """Errors of landmarks whose sides are right: by joint, seen and hidden, and in time."""
    every = [residuals(sample) for sample in samples]
    rows: list[Row] = []
    for name, words in GROUPS.items():
        joints = group(BLAZEPOSE33, words)
        size = np.concatenate([np.linalg.norm(r[:, joints], axis=-1) for r in every])
        hidden = np.concatenate([sample.hidden[:, joints] for sample in samples])
        for label, chosen in (("seen", ~hidden), ("hidden", hidden)):
            own = size[chosen & ~np.isnan(size)]
            rows.append((f"{name}: median, {label}", percentile(own, 50)))
            rows.append((f"{name}: 90th percentile, {label}", percentile(own, 90)))
            far = 100 * _mean(own > 0.1)
            rows.append((f"{name}: further off than 0.1, {label}, %", far))
        series = [
            np.where(sample.hidden[:, k, None], np.nan, r[:, k])
            for sample, r in zip(samples, every, strict=True)
            for k in joints
        ]
        frames = [sample.frame for sample in samples for _ in joints]
        found = parts_in_time(series, frames)
        rows += [
            (f"{name}: constant, deviation an axis, seen", found.constant),
            (f"{name}: lasting", found.lasting),
            (f"{name}: jitter", found.jitter),
            (f"{name}: correlation from frame to frame", found.lag_one),
        ]
    amounts = [np.nanmedian(np.linalg.norm(r, axis=-1)) for r in every]
    rows.append(
        (
            "deviation of the logarithm of a sequence's error",
            float(np.std(np.log(np.maximum(amounts, 1e-6)))),
        )
    )
    return rows


def keypoint_rows(samples: Sequence[GapSample]) -> list[Row]:
    """The detector's errors where its sides are right."""
    rows: list[Row] = []
    coco = list(COCO17_TO_BLAZEPOSE33)
    errors, scores, hidden = [], [], []
    for sample in samples:
        asked = (sample.keypoints[..., 2] > 0).any(1)
        found = keypoint_swaps(sample)
        fine = asked & ~np.any([s.swapped for s in found.values()], axis=0)
        error = np.linalg.norm(sample.keypoints[..., :2] - sample.true[:, coco], axis=-1)
        errors.append((error / extent(sample)[:, None])[fine])
        scores.append(sample.keypoints[fine][..., 2])
        hidden.append(sample.hidden[:, coco][fine])
    error, score, out = (np.concatenate(values) for values in (errors, scores, hidden))
    for name, words in GROUPS.items():
        joints = group(COCO17, words)
        if joints:
            for label, chosen in (("seen", ~out[:, joints]), ("hidden", out[:, joints])):
                own = error[:, joints][chosen]
                rows.append((f"MoveNet {name}: median, {label}", percentile(own, 50)))
                rows.append((f"MoveNet {name}: 90th percentile, {label}", percentile(own, 90)))
    rows += _quantiles("MoveNet score, seen", score[~out])
    rows += _quantiles("MoveNet score, hidden", score[out])
    asked = np.concatenate([(s.keypoints[..., 2] > 0).any(1) for s in samples])
    return [*rows, ("looks that found the person, a frame", float(asked.mean()))]


def _quantiles(name: str, values: Float[np.ndarray, " value"]) -> list[Row]:
    return [(f"{name}: {p}th percentile", percentile(values, p)) for p in (5, 25, 50, 75, 95)]


def visibility_rows(samples: Sequence[GapSample]) -> list[Row]:
    """Scores of what is seen and of what is not."""
    score = np.concatenate([sample.visibility for sample in samples])
    hidden = np.concatenate([sample.hidden for sample in samples])
    rows = [("hidden landmarks, %", 100 * float(hidden.mean()))]
    rows += _quantiles("BlazePose visibility, seen", score[~hidden])
    rows += _quantiles("BlazePose visibility, hidden", score[hidden])
    believed = score > 0.5
    rows += [
        ("believed (> 0.5) though hidden, %", 100 * float(believed[hidden].mean())),
        ("disbelieved though seen, %", 100 * float((~believed)[~hidden].mean())),
    ]
    for part, words in (
        ("arms", ("elbow", "wrist")),
        ("legs", ("knee", "ankle")),
    ):
        joints = group(BLAZEPOSE33, words)
        own = believed[:, joints][hidden[:, joints]]
        rows.append((f"hidden {part} believed, %", 100 * float(own.mean()) if len(own) else np.nan))
    return rows


def world_rows(samples: Sequence[GapSample]) -> list[Row]:
    """World landmarks: scale, depth, tilt, and what is left, in time."""
    body = [k for k, name in enumerate(BLAZEPOSE33) if k > 10 and not _is_hand(name)]
    scales, depth, flat, tilts, drifts, left, frames = [], [], [], [], [], [], []
    for sample in samples:
        fine = unexchanged(sample)[:, body].all(1)
        if fine.sum() < 8:
            continue
        given, true = sample.given_world_m[fine][:, body], sample.true_world_m[fine][:, body]
        turn = np.stack([_turn_between(t, g) for t, g in zip(true, given, strict=True)])
        angles = np.stack([_rotvec(matrix) for matrix in turn])
        mean = angles.mean(0)
        tilts.append(mean)
        drifts.append(angles - mean)
        straight = np.einsum("rij,rkj->rki", turn.transpose(0, 2, 1), given)
        scale = float((straight * true).sum() / (true**2).sum())
        scales.append(scale)
        depth.append(float((straight[..., 2] * true[..., 2]).sum() / (true[..., 2] ** 2).sum()))
        flat.append(float(given[..., 2].std() / true[..., 2].std()))
        left.append(straight / scale - true)
        frames.append(sample.frame[fine])
    rest = [values[:, k] for values in left for k in range(len(body))]
    places = [frame for frame in frames for _ in range(len(body))]
    rows: list[Row] = [
        ("scale, median", float(np.median(scales))),
        ("scale, deviation", deviation(np.array(scales) - np.median(scales))),
        ("depth's slope on the true depth after tilt, median", float(np.median(depth))),
        ("depth's slope, deviation", deviation(np.array(depth) - np.median(depth))),
        ("depth's spread over the true one's, median", float(np.median(flat))),
    ]
    for axis, name in enumerate(("x (pitch)", "y (yaw)", "z (roll)")):
        constant = deviation(np.array([t[axis] for t in tilts]))
        moving = deviation(np.concatenate(drifts)[:, axis])
        rows.append((f"tilt about {name}, constant, rad", constant))
        rows.append((f"tilt about {name}, mean, rad", float(np.mean([t[axis] for t in tilts]))))
        rows.append((f"tilt about {name}, in time, rad", moving))
    for axis, name in enumerate("xyz"):
        found = parts_in_time([values[:, axis : axis + 1] for values in rest], places)
        rows += [
            (f"{name} after tilt and scale: constant, m", found.constant),
            (f"{name}: lasting, m", found.lasting),
            (f"{name}: jitter, m", found.jitter),
            (f"{name}: correlation from frame to frame", found.lag_one),
        ]
    return rows


def _is_hand(name: str) -> bool:
    return any(word in name for word in ("pinky", "thumb")) or name in ("left_index", "right_index")


def _turn_between(
    true: Float[np.ndarray, "point 3"], given: Float[np.ndarray, "point 3"]
) -> Float[np.ndarray, "3 3"]:
    """Rotation that carries the true points to the given ones best."""
    u, _, vt = np.linalg.svd(given.T @ true)
    sign = np.sign(np.linalg.det(u @ vt))
    return np.asarray(u @ np.diag([1, 1, sign]) @ vt)


def _rotvec(matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3"]:
    return np.asarray(cv2.Rodrigues(matrix)[0][:, 0])


def blind_rows(samples: Sequence[GapSample]) -> list[Row]:
    """What can be told without the truth; the body's extent is that of the given landmarks."""
    rows: list[Row] = []
    sizes = [_smooth_extent(sample) for sample in samples]
    for name, words in GROUPS.items():
        joints = group(BLAZEPOSE33, words)
        second = []
        for sample, size in zip(samples, sizes, strict=True):
            steady = (np.diff(sample.frame) == 1)[1:] & (np.diff(sample.frame) == 1)[:-1]
            at = sample.given[:, joints] / size[:, None, None]
            second.append(np.diff(at, n=2, axis=0)[steady].ravel())
        rows.append((f"{name}: second difference, deviation", deviation(np.concatenate(second))))
    score = np.concatenate([sample.visibility for sample in samples])
    rows += _quantiles("BlazePose visibility, all", score.ravel())
    rows.append(("landmarks below 0.5, %", 100 * float((score < 0.5).mean())))
    apart, exchanged, weights = [], [], []
    for sample, size in zip(samples, sizes, strict=True):
        asked = (sample.keypoints[..., 2] > 0.2).sum(1) > 8
        own = sample.given[:, list(COCO17_TO_BLAZEPOSE33)]
        both = (sample.keypoints[..., 2] > 0.2) & asked[:, None]
        away = np.linalg.norm(own - sample.keypoints[..., :2], axis=-1) / size[:, None]
        apart.append(away[both])
        for words in (SETS["legs"], SETS["arms"]):
            found = swaps(own, sample.keypoints[..., :2], size, COCO17, COCO17_MIRROR, words)
            exchanged.append((found.swapped & found.told & asked)[found.told & asked].mean(
                keepdims=True) if (found.told & asked).any() else np.zeros(0))  # fmt: skip
        weights.append(sample.keypoints[asked][..., 2].ravel())
    rows += _quantiles("BlazePose from MoveNet (score > 0.2)", np.concatenate(apart))
    rows += _quantiles("MoveNet score, all", np.concatenate(weights))
    rows.append(
        ("legs or arms exchanged between the networks, % of looks",
         100 * _mean(np.concatenate(exchanged)))
    )  # fmt: skip
    shares = [
        extent_of(sample.given) / sample.crop_side
        for sample in samples
        if sample.crop_side is not None
    ]
    if shares:
        rows += _quantiles("extent over the crop's side", np.concatenate(shares))
    return rows


def _smooth_extent(sample: GapSample) -> Float[np.ndarray, " row"]:
    size = extent_of(sample.given)
    return np.full(len(size), np.median(size))


def view_rows(samples: Sequence[GapSample]) -> list[Row]:
    """Error and exchanged legs by where the camera stands around the person, and how high."""
    yaw, pitch, size, legs, told, whole = [], [], [], [], [], []
    for sample in samples:
        ahead, up = sample.root[:, :, 2], sample.root[:, :, 1]
        yaw.append(np.rad2deg(np.arctan2(ahead[:, 0], -ahead[:, 2])))
        # an upright camera's y points down; lying and upside-down people are apart
        tilt = np.rad2deg(np.arcsin(np.clip(-up[:, 2], -1, 1)))
        pitch.append(np.where(up[:, 1] > -0.3, np.nan, tilt))
        found = landmark_swaps(sample)
        legs.append(found["legs"].swapped)
        whole.append(found["trunk"].swapped)
        told.append(found["legs"].told)
        with np.errstate(all="ignore"):
            size.append(np.nanmedian(np.linalg.norm(residuals(sample)[:, 11:], axis=-1), axis=1))
    angle, tilt, error, swapped, tells, turned = (
        np.concatenate(v) for v in (yaw, pitch, size, legs, told, whole)
    )
    rows: list[Row] = []

    def add(label: str, chosen: Bool[np.ndarray, " row"]) -> None:
        rows.append((f"{label}: frames", float(chosen.sum())))
        rows.append((f"{label}: median error of a frame", float(np.nanmedian(error[chosen]))
                     if chosen.any() else float("nan")))  # fmt: skip
        both = chosen & tells
        rows.append((f"{label}: legs exchanged, %", 100 * _mean(swapped[both])))
        rows.append((f"{label}: trunk exchanged, %", 100 * _mean(turned[chosen])))

    names = (
        *("front", "front, turned to its left", "left side ahead", "back, turned to its left"),
        *("back", "back, turned to its right", "right side ahead", "front, turned to its right"),
    )
    octant = np.round(angle / 45).astype(int) % 8
    for k, name in enumerate(names):
        add(f"yaw {45 * k} ({name})", (octant == k) & ~np.isnan(tilt))
    for low, high in ((-90, -15), (-15, 15), (15, 40), (40, 90)):
        add(f"pitch {low} to {high}", (tilt >= low) & (tilt < high))
    add("lying or upside down", np.isnan(tilt))
    return rows


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


SECTIONS: Final[dict[str, Callable[[Sequence[GapSample]], list[Row]]]] = {
    "Left and right exchanged": swap_rows,
    "Landmarks, sides right (fractions of the body's extent)": error_rows,
    "What a landmark means: offset from our joint (fractions; upright people)": offset_rows,
    "Visibility": visibility_rows,
    "Detector's keypoints, sides right": keypoint_rows,
    "World landmarks, sides right": world_rows,
    "By view": view_rows,
    "Without the truth": blind_rows,
}
