"""Left and right, settled by a vote over time between two independent networks.

Now and then a pose network takes a person's back for the front for some frames, with full
confidence. The detector's keypoints come from another network, which errs elsewhere. Two facts tell
who is wrong: the two should agree, and a limb does not jump across the body between frames. A
Viterbi path over "who is swapped" weighs both.
"""

from dataclasses import dataclass, replace
from itertools import product
from typing import Final

import numpy as np
from jaxtyping import Bool, Float

from dtsvibe_cli.datatypes import Observations
from dtsvibe_cli.geometry.joints import (
    BLAZEPOSE33_MIRROR,
    COCO17,
    COCO17_MIRROR,
    COCO17_TO_BLAZEPOSE33,
)

_LIMBS: Final = [k for k, name in enumerate(COCO17) if k >= COCO17.index("left_shoulder")]
"""COCO keypoints that tell left from right: shoulders to ankles."""

_STATES: Final = tuple(product((False, True), (False, True)))
"""Whether (the pose network, the detector) is swapped."""

_SWAP_COST: Final = (0.02, 0.03)
"""Cost of a swapped frame of each, in units of a limb's cost: being right is the rule."""

_MAX_DISTANCE: Final = 0.08
"""Distances count up to this fraction of the body's size: beyond, a joint is just wrong."""


@dataclass(frozen=True, kw_only=True)
class Sides:
    """The observations with left and right mended, and where they were."""

    observations: Observations
    landmarks_swapped: Bool[np.ndarray, " frame"]
    keypoints_swapped: Bool[np.ndarray, " frame"]


def settle_sides(seen: Observations) -> Sides:
    """Find the frames in which either network confused left and right, and swap them back.

    In a swapped frame of the pose network its world landmarks show the body from the other side, so
    their depth is negated as well.
    """
    path = _cheapest_path(seen)
    by_pose, by_detector = path[:, 0], path[:, 1]
    if not path.any():
        return Sides(observations=seen, landmarks_swapped=by_pose, keypoints_swapped=by_detector)
    mirror, coco_mirror = list(BLAZEPOSE33_MIRROR), list(COCO17_MIRROR)
    world = seen.world_landmarks_m[:, mirror] * np.array([1, 1, -1], np.float32)
    mended = replace(
        seen,
        landmarks_px=np.where(
            by_pose[:, None, None], seen.landmarks_px[:, mirror], seen.landmarks_px
        ),
        visibility=np.where(by_pose[:, None], seen.visibility[:, mirror], seen.visibility),
        world_landmarks_m=np.where(by_pose[:, None, None], world, seen.world_landmarks_m),
        keypoints=np.where(
            by_detector[:, None, None], seen.keypoints[:, coco_mirror], seen.keypoints
        ),
    )
    return Sides(observations=mended, landmarks_swapped=by_pose, keypoints_swapped=by_detector)


def _cheapest_path(seen: Observations) -> Bool[np.ndarray, "frame 2"]:
    """Viterbi over :data:`_STATES`."""
    own, steps = _costs(seen)
    cost = own[0]
    came_from = np.zeros((len(own), len(_STATES)), dtype=int)
    for t in range(1, len(own)):
        total = steps[t] + cost
        came_from[t] = total.argmin(1)
        cost = total.min(1) + own[t]
    state = int(cost.argmin())
    path = np.zeros((len(own), 2), dtype=bool)
    for t in range(len(own) - 1, -1, -1):
        path[t] = _STATES[state]
        state = int(came_from[t, state])
    return path


def _costs(
    seen: Observations,
) -> tuple[Float[np.ndarray, "frame state"], Float[np.ndarray, "frame state before"]]:
    """What each state costs in each frame, and what it costs to come to it from another one."""
    coco = list(COCO17_TO_BLAZEPOSE33)
    pose = np.concatenate([seen.landmarks_px[:, coco], seen.visibility[:, coco, None]], axis=-1)
    detector = seen.keypoints
    extent = seen.landmarks_px.max(1) - seen.landmarks_px.min(1)
    size = max(float(np.median(extent.max(1))), 1.0)
    num_frames = len(pose)
    own = np.zeros((num_frames, len(_STATES)))
    steps = np.zeros((num_frames, len(_STATES), len(_STATES)))
    last_asked: int | None = None
    for t in range(num_frames):
        asked = bool((detector[t, :, 2] > 0).any())
        own[t] = [_SWAP_COST[0] * b + _SWAP_COST[1] * m for b, m in _STATES]
        if asked:
            same, crossed = side_distances(pose[t], detector[t], size)
            own[t] += [crossed if b != m else same for b, m in _STATES]
        if t > 0:
            stay = side_distances(pose[t - 1], pose[t], size)
            # Over a gap, a person may well have turned round.
            gap = seen.track.frame_index[t] - seen.track.frame_index[t - 1]
            weight = 1.0 if gap <= 3 else 0.1
            other = (0.0, 0.05)
            if asked and last_asked is not None:
                other = side_distances(detector[last_asked], detector[t], size)
            steps[t] = [
                [weight * stay[b0 != b1] + other[m0 != m1] for b0, m0 in _STATES]
                for b1, m1 in _STATES
            ]
        if asked:
            last_asked = t
    return own, steps


def side_distances(
    first: Float[np.ndarray, "17 3"], second: Float[np.ndarray, "17 3"], size: float
) -> tuple[float, float]:
    """Mean capped distance between two sets of keypoints as they are, and with sides exchanged.

    Both are between 0 and 1. If the second is smaller, one of the two has left and right confused.
    """
    weight = np.minimum(first[_LIMBS, 2], second[_LIMBS, 2])
    total = max(weight.sum(), 1e-6)
    limbs = first[_LIMBS, :2]
    mirror = np.array(COCO17_MIRROR)[_LIMBS]

    def mean(other: Float[np.ndarray, "limb 2"], trust: Float[np.ndarray, " limb"]) -> float:
        distance = np.linalg.norm(limbs - other, axis=-1) / size
        return float((trust * np.minimum(distance, _MAX_DISTANCE)).sum() / total / _MAX_DISTANCE)

    return mean(second[_LIMBS, :2], weight), mean(second[mirror, :2], weight)
