"""What the pose network means by a joint: where it usually puts it, seen from our own joint."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float

from dtsvibe_cli.geometry.joints import BLAZEPOSE33, BLAZEPOSE33_MIRROR
from dtsvibe_cli.training.gap_statistics import extent, percentile, residuals
from dtsvibe_cli.training.observation_gap import GapSample

_BONES: Final = (
    ("left_ankle", "left_knee", "left_ankle"),
    ("left_knee", "left_hip", "left_knee"),
    ("left_hip", "right_hip", "left_hip"),
    ("left_shoulder", "right_shoulder", "left_shoulder"),
    ("left_elbow", "left_shoulder", "left_elbow"),
    ("left_wrist", "left_elbow", "left_wrist"),
    ("left_heel", "left_foot_index", "left_heel"),
    ("left_foot_index", "left_heel", "left_foot_index"),
    ("left_index", "left_wrist", "left_index"),
    ("nose", "left_shoulder", "nose"),
)
"""A joint, and a bone of its own side along which its error is measured."""

_MIN_BONE: Final = 0.08
"""Shorter bones in the picture have no direction."""


def offset_rows(samples: Sequence[GapSample]) -> list[tuple[str, float]]:
    """What the networks mean by a joint: its usual offset from ours, of upright people, seen."""
    rows: list[tuple[str, float]] = []
    for joint, start, end in _BONES:
        along: list[np.ndarray] = []
        upward: list[np.ndarray] = []
        for sample in samples:
            upright = sample.root[:, 1, 1] < -0.8
            trunk = _direction(sample, ("left_hip", "right_hip"), ("left_shoulder",))[0]
            for flip in (False, True):
                own, first, last = (_side(name, flip) for name in (joint, start, end))
                bone, length = _direction(sample, (first,), (last,))
                k = BLAZEPOSE33.index(own)
                error = residuals(sample)[:, k]
                fine = upright & ~sample.hidden[:, k] & (length > _MIN_BONE)
                fine &= np.linalg.norm(np.nan_to_num(error, nan=1.0), axis=1) < 0.1
                along.append((error * bone).sum(1)[fine])
                upward.append((error * trunk).sum(1)[fine])
        name = joint.removeprefix("left_")
        bone_name = f"{start.removeprefix('left_')} to {end.removeprefix('left_')}"
        both = np.concatenate(along), np.concatenate(upward)
        rows.append((f"BlazePose {name}, along {bone_name}: median", percentile(both[0], 50)))
        rows.append((f"BlazePose {name}, up along the trunk: median", percentile(both[1], 50)))
    return rows


def _side(name: str, flip: bool) -> str:
    return name if not flip else BLAZEPOSE33[BLAZEPOSE33_MIRROR[BLAZEPOSE33.index(name)]]


def _direction(
    sample: GapSample, start: Sequence[str], end: Sequence[str]
) -> tuple[Float[np.ndarray, "row 2"], Float[np.ndarray, " row"]]:
    """Unit vectors in the picture, and their lengths as fractions of the body's extent."""
    first, last = (
        sample.true[:, [BLAZEPOSE33.index(name) for name in names]].mean(1)
        for names in (start, end)
    )
    length = np.linalg.norm(last - first, axis=1)
    return (last - first) / np.maximum(length, 1e-9)[:, None], length / extent(sample)
