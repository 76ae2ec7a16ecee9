"""How pose networks err: numbers from samples of what they said and what is true.

Errors in the picture are fractions of the body's extent there (the longer side of the box round
the true landmarks), errors in space are metres.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
from jaxtyping import Bool, Float

from dtsvibe_cli.geometry.joints import (
    BLAZEPOSE33,
    BLAZEPOSE33_MIRROR,
    COCO17,
    COCO17_MIRROR,
    COCO17_TO_BLAZEPOSE33,
)
from dtsvibe_cli.training.observation_gap import GapSample

GROUPS: Final = {
    "face": ("nose", "eye", "ear", "mouth"),
    "shoulder": ("shoulder",),
    "elbow": ("elbow",),
    "wrist": ("wrist",),
    "hand": ("pinky", "_index", "thumb"),
    "hip": ("hip",),
    "knee": ("knee",),
    "ankle": ("ankle",),
    "foot": ("heel", "foot"),
}
SETS: Final = {"legs": ("knee", "ankle"), "arms": ("elbow", "wrist"), "trunk": ("shoulder", "hip")}
"""Joints that tell whether the sides of a part of the body are exchanged."""

MIN_APART: Final = 0.10
"""A pair of joints tells left from right when they are this far apart in the picture."""


def group(names: Sequence[str], words: Sequence[str]) -> list[int]:
    """Indices of the joints that a group means; the foot's index is no hand's."""
    return [
        k
        for k, name in enumerate(names)
        if any(word in name for word in words) and not ("_index" in words and "foot" in name)
    ]


def extent_of(points: Float[np.ndarray, "row point 2"]) -> Float[np.ndarray, " row"]:
    """Longer side of the box round points."""
    return np.asarray((points.max(1) - points.min(1)).max(1))


def extent(sample: GapSample) -> Float[np.ndarray, " row"]:
    """Longer side of the box round the true landmarks."""
    return extent_of(sample.true)


@dataclass(frozen=True, kw_only=True)
class Swaps:
    """Where sides are exchanged; NaN-free, but only where it can be told."""

    told: Bool[np.ndarray, " row"]
    swapped: Bool[np.ndarray, " row"]


def swaps(
    given: Float[np.ndarray, "row joint 2"],
    true: Float[np.ndarray, "row joint 2"],
    size: Float[np.ndarray, " row"],
    names: Sequence[str],
    mirror: Sequence[int],
    words: Sequence[str],
) -> Swaps:
    """Frames in which a part's joints lie nearer to those of the other side."""
    left = [k for k in group(names, words) if "left" in names[k]]
    right = [mirror[k] for k in left]
    apart = np.linalg.norm(true[:, left] - true[:, right], axis=-1) / size[:, None]
    both, crossed = np.zeros(len(given)), np.zeros(len(given))
    weight = np.clip(apart - MIN_APART / 2, 0, MIN_APART)
    for one, other in ((left, right), (right, left)):
        same = np.linalg.norm(given[:, one] - true[:, one], axis=-1) / size[:, None]
        exchanged = np.linalg.norm(given[:, one] - true[:, other], axis=-1) / size[:, None]
        both += (weight * np.minimum(same, 0.3)).sum(1)
        crossed += (weight * np.minimum(exchanged, 0.3)).sum(1)
    return Swaps(told=apart.max(1) > MIN_APART, swapped=crossed < 0.7 * both)


def landmark_swaps(sample: GapSample) -> dict[str, Swaps]:
    """Of the pose network, by part of the body."""
    size = extent(sample)
    return {
        part: swaps(sample.given, sample.true, size, BLAZEPOSE33, BLAZEPOSE33_MIRROR, words)
        for part, words in SETS.items()
    }


def keypoint_swaps(sample: GapSample) -> dict[str, Swaps]:
    """Of the detector, by part of the body; it can be told only where it was asked."""
    size, asked = extent(sample), (sample.keypoints[..., 2] > 0).any(1)
    true = sample.true[:, list(COCO17_TO_BLAZEPOSE33)]
    found = {}
    for part, words in SETS.items():
        own = swaps(sample.keypoints[..., :2], true, size, COCO17, COCO17_MIRROR, words)
        found[part] = Swaps(told=own.told & asked, swapped=own.swapped & asked)
    return found


def unexchanged(sample: GapSample) -> Bool[np.ndarray, "row 33"]:
    """Landmarks whose part of the body is not exchanged, as far as can be told."""
    found = landmark_swaps(sample)
    fine = np.ones(sample.given.shape[:2], bool)
    for words, part in (
        (("knee", "ankle", "heel", "foot"), "legs"),
        (("elbow", "wrist", "pinky", "_index", "thumb"), "arms"),
        (("shoulder", "hip", "eye", "ear", "mouth", "nose"), "trunk"),
    ):
        fine[:, group(BLAZEPOSE33, words)] &= ~found[part].swapped[:, None]
    return fine


def residuals(sample: GapSample) -> Float[np.ndarray, "row 33 2"]:
    """Errors in the picture as fractions of the body's extent, NaN where sides are exchanged."""
    error = (sample.given - sample.true) / extent(sample)[:, None, None]
    return np.where(unexchanged(sample)[..., None], error, np.nan)


LOST: Final = 0.12
"""A frame is lost when half of the landmarks that can be seen are further off than this."""


def is_lost(sample: GapSample) -> Bool[np.ndarray, " row"]:
    """Frames in which the network did not find the person at all, sides aside."""
    error = np.linalg.norm(sample.given - sample.true, axis=-1)
    mirrored = np.linalg.norm(sample.given[:, list(BLAZEPOSE33_MIRROR)] - sample.true, axis=-1)
    size = extent(sample)[:, None]
    best = np.where(sample.hidden, np.nan, np.minimum(error, mirrored) / size)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        middle = np.nanmedian(best, axis=1)
    return np.asarray(~(middle < LOST))


def found_only(sample: GapSample) -> GapSample:
    """The frames that are not lost."""
    kept = ~is_lost(sample)
    changes = {
        field.name: value[kept]
        for field in fields(sample)
        if (value := getattr(sample, field.name)) is not None and np.ndim(value) > 0
    }
    return replace(sample, **changes)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A residual in time: what stays, what lasts, what jumps. Deviations an axis."""

    constant: float
    lasting: float
    jitter: float
    lag_one: float
    """Correlation from frame to frame of what is left after the mean."""


def parts_in_time(
    series: Sequence[Float[np.ndarray, "row axis"]], consecutive: Sequence[np.ndarray]
) -> Parts:
    """Split errors; the jitter is white noise that explains their second differences."""
    means, spreads, seconds, firsts, products = [], [], [], [], []
    for values, frame in zip(series, consecutive, strict=True):
        there = ~np.isnan(values).any(1)
        if there.sum() < 8:
            continue
        mean = values[there].mean(0)
        rest = values - mean
        means.append(mean)
        spreads.append(rest[there])
        steady = (np.diff(frame) == 1) & there[1:] & there[:-1]
        firsts.append((rest[1:] ** 2)[steady])
        products.append((rest[1:] * rest[:-1])[steady])
        twice = steady[1:] & steady[:-1]
        seconds.append((rest[2:] - 2 * rest[1:-1] + rest[:-2])[twice])
    if not means:
        return Parts(constant=np.nan, lasting=np.nan, jitter=np.nan, lag_one=np.nan)
    total = deviation(np.concatenate(spreads))
    # medians: a few frames far off must not hide what is usual
    jitter = deviation(np.concatenate(seconds)) / np.sqrt(6)
    return Parts(
        constant=deviation(np.stack(means)),
        lasting=float(np.sqrt(max(0.0, total**2 - jitter**2))),
        jitter=jitter,
        lag_one=float(np.concatenate(products).mean() / np.concatenate(firsts).mean()),
    )


def deviation(values: Float[np.ndarray, "..."]) -> float:
    """Of values around zero: by their median size, as if they were normal."""
    return float(1.4826 * np.median(np.abs(values)))


def percentile(values: Float[np.ndarray, " value"], percent: int) -> float:
    """Of the values; NaN when there are none."""
    return float(np.percentile(values, percent)) if len(values) else float("nan")
