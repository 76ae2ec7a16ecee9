"""Legs or arms taken for each other: the motion network's word against the pose networks'.

Both pose networks look at single frames, and when somebody stands sideways both may take the near
leg for the far one, and agree. The motion network sees a whole window and was trained on such
mistakes. Where its body is much nearer to the points with a pair of limbs exchanged than to the
points as they are, the exchange is believed.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Bool, Float

from dtsvibe_cli.datatypes import Observations
from dtsvibe_cli.geometry.joints import (
    BLAZEPOSE33,
    BLAZEPOSE33_MIRROR,
    COCO17,
    COCO17_MIRROR,
    COCO17_TO_BLAZEPOSE33,
    SMPL24,
)

ARMS: Final = ("elbow", "wrist")
LEGS: Final = ("knee", "ankle")
"""Joints of the limbs that are compared; hands and feet go with them."""

_ENDS: Final[dict[tuple[str, ...], tuple[str, ...]]] = {
    ARMS: ("pinky", "index", "thumb"),
    LEGS: ("heel", "foot_index"),
}

_MAX_DISTANCE: Final = 0.12
"""Distances count up to this fraction of the body's size."""

_SWAP_COST: Final = 0.15
_CHANGE_COST: Final = 0.5
"""Cost of an exchanged frame, and of beginning or ending a spell, in units of the greatest cost
that a frame's distances can have: one frame alone does not convince."""


@dataclass(frozen=True, kw_only=True)
class LimbSides:
    """The observations with limbs put right, and where."""

    observations: Observations
    landmarks_swapped: Bool[np.ndarray, " frame"]
    """Frames in which a pair of limbs was exchanged among the landmarks."""
    keypoints_swapped: Bool[np.ndarray, " frame"]
    """The same among the detector's keypoints."""

    @property
    def num_mended(self) -> int:
        """Number of frames in which either was exchanged."""
        return int((self.landmarks_swapped | self.keypoints_swapped).sum())


def settle_limbs(seen: Observations, expected_px: Float[np.ndarray, "frame 24 2"]) -> LimbSides:
    """Exchange arms or legs where the expected body says so.

    ``expected_px`` are the joints of the motion network's body in the frames of ``seen``.
    """
    extent = seen.landmarks_px.max(1) - seen.landmarks_px.min(1)
    size_px = max(float(np.median(extent.max(1))), 1.0)
    by_pose = np.zeros(len(extent), dtype=bool)
    by_detector = np.zeros(len(extent), dtype=bool)
    for limbs in (ARMS, LEGS):
        coco = [COCO17.index(name) for name in _sided(limbs)]
        expected = expected_px[:, [SMPL24.index(name) for name in _sided(limbs)]]
        pose = np.concatenate([seen.landmarks_px, seen.visibility[..., None]], axis=-1)
        pose = pose[:, [COCO17_TO_BLAZEPOSE33[k] for k in coco]]
        swapped = _spells(pose, expected, size_px)
        detector_swapped = _spells(seen.keypoints[:, coco], expected, size_px)
        seen = _exchanged(seen, limbs, swapped, detector_swapped)
        by_pose |= swapped
        by_detector |= detector_swapped
    return LimbSides(observations=seen, landmarks_swapped=by_pose, keypoints_swapped=by_detector)


def _sided(limbs: tuple[str, ...]) -> list[str]:
    return [f"{side}_{limb}" for limb in limbs for side in ("left", "right")]


def _spells(
    points: Float[np.ndarray, "frame joint 3"],
    expected: Float[np.ndarray, "frame joint 2"],
    size_px: float,
) -> Bool[np.ndarray, " frame"]:
    """The cheapest sequence of frames as they are and frames exchanged (Viterbi)."""
    trust = points[..., 2] / np.maximum(points[..., 2].sum(1, keepdims=True), 0.5)

    def cost(target: Float[np.ndarray, "frame joint 2"]) -> Float[np.ndarray, " frame"]:
        distance = np.linalg.norm(points[..., :2] - target, axis=-1) / size_px
        capped = np.minimum(distance, _MAX_DISTANCE) / _MAX_DISTANCE
        return np.asarray((trust * capped).sum(1))

    pairs = np.arange(points.shape[1]).reshape(-1, 2)[:, ::-1].ravel()
    own = np.stack([cost(expected), cost(expected[:, pairs]) + _SWAP_COST], axis=1)
    total, came_from = own[0], np.zeros(own.shape, dtype=int)
    change = _CHANGE_COST * (1 - np.eye(2))
    for t in range(1, len(own)):
        ways = total[None] + change
        came_from[t] = ways.argmin(1)
        total = ways.min(1) + own[t]
    state = int(total.argmin())
    path = np.zeros(len(own), dtype=bool)
    for t in range(len(own) - 1, -1, -1):
        path[t] = bool(state)
        state = int(came_from[t, state])
    return path


def _exchanged(
    seen: Observations,
    limbs: tuple[str, ...],
    by_pose: Bool[np.ndarray, " frame"],
    by_detector: Bool[np.ndarray, " frame"],
) -> Observations:
    """The points of the limbs, ends included, with their sides exchanged in some frames."""
    if not (by_pose.any() or by_detector.any()):
        return seen
    moved = set(_sided((*limbs, *_ENDS[limbs])))
    order = [BLAZEPOSE33_MIRROR[k] if n in moved else k for k, n in enumerate(BLAZEPOSE33)]
    coco_order = [COCO17_MIRROR[k] if n in moved else k for k, n in enumerate(COCO17)]
    frames, looks = by_pose[:, None, None], by_detector[:, None, None]
    return replace(
        seen,
        landmarks_px=np.where(frames, seen.landmarks_px[:, order], seen.landmarks_px),
        visibility=np.where(by_pose[:, None], seen.visibility[:, order], seen.visibility),
        world_landmarks_m=np.where(
            frames, seen.world_landmarks_m[:, order], seen.world_landmarks_m
        ),
        keypoints=np.where(looks, seen.keypoints[:, coco_order], seen.keypoints),
    )
