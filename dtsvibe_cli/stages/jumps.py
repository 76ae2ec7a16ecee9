"""Limbs that jump: for some frames a pose network takes something else for a hand or a foot.

A branch for a raised leg, the other arm for this one: each frame is convincing alone, and the
visibility high. Time tells: no hand and no foot gets there and back so fast. In such a spell the
points are put between where they were before and where they are after.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Bool, Float

from dtsvibe_cli.datatypes import Observations
from dtsvibe_cli.geometry.joints import BLAZEPOSE33

MAX_SPEED: Final = 6.0
"""Of a hand or foot against the trunk, in body extents a second: about 10 metres a second."""

NOISE: Final = 0.05
"""Distance, in body extents, by which a point may be off at any time."""

MAX_SPELL_S: Final = 0.4
"""A jump there and a jump back are believed when the limb stays longer than this."""

UNSURE: Final = 0.3
"""Visibility that the points put in place of the jumping ones get at most."""

_TRUNK: Final = [
    BLAZEPOSE33.index(f"{side}_{joint}")
    for joint in ("hip", "shoulder")
    for side in ("left", "right")
]
_LIMBS: Final = tuple(
    tuple(BLAZEPOSE33.index(f"{side}_{joint}") for joint in joints)
    for joints in (
        ("wrist", "elbow", "pinky", "index", "thumb"),
        ("ankle", "knee", "heel", "foot_index"),
    )
    for side in ("left", "right")
)
"""Each limb's end, which is watched, and the points that go with it."""


@dataclass(frozen=True, kw_only=True)
class WithoutJumps:
    """The observations with limbs kept in place where they jumped, and in which frames."""

    observations: Observations
    mended: Bool[np.ndarray, " frame"]
    """Frames in which a limb was kept."""


def mend_jumps(seen: Observations) -> WithoutJumps:
    """Move a limb, while it is where it cannot have gone and come back from, to where it may be."""
    extent = seen.landmarks_px.max(1) - seen.landmarks_px.min(1)
    size_px = max(float(np.median(extent.max(1))), 1.0)
    trunk = seen.landmarks_px[:, _TRUNK].mean(1)
    away = seen.landmarks_px - trunk[:, None]
    world, visibility = seen.world_landmarks_m.copy(), seen.visibility.copy()
    time_s = np.asarray(seen.time_s, np.float64)
    mended = np.zeros(len(trunk), dtype=bool)
    ends = [limb[0] for limb in _LIMBS]
    for limb, spells in zip(_LIMBS, _spells(away[:, ends] / size_px, time_s).T, strict=True):
        rows = np.ix_(spells, np.array(limb))
        for points in (away, world):
            points[rows] = _between(points[:, limb], time_s, spells)
        visibility[rows] = np.minimum(visibility[rows], UNSURE)
        mended |= spells
    if not mended.any():
        return WithoutJumps(observations=seen, mended=mended)
    steady = replace(
        seen,
        landmarks_px=(away + trunk[:, None]).astype(seen.landmarks_px.dtype),
        world_landmarks_m=world,
        visibility=visibility,
    )
    return WithoutJumps(observations=steady, mended=mended)


def _between(
    points: Float[np.ndarray, "frame point axis"],
    time_s: Float[np.ndarray, " frame"],
    spells: Bool[np.ndarray, " frame"],
) -> Float[np.ndarray, "left_out point axis"]:
    """Points in the frames of the spells, on straight lines between those around."""
    columns = points.reshape(len(points), -1).T
    lines = [np.interp(time_s[spells], time_s[~spells], column[~spells]) for column in columns]
    return np.stack(lines, axis=1).reshape(-1, *points.shape[1:])


def _spells(
    place: Float[np.ndarray, "frame limb 2"], time_s: Float[np.ndarray, " frame"]
) -> Bool[np.ndarray, "frame limb"]:
    """Frames to leave out for the rest of each limb's to move believably, at the least cost.

    A frame left out costs its time, a jump between two frames that are kept half of
    :data:`MAX_SPELL_S`. Dynamic programming over the last frame that was kept.
    """
    num_frames, num_limbs, _ = place.shape
    left_out = np.ones((num_frames, num_limbs), dtype=bool)
    frame_s = float(np.median(np.diff(time_s))) if num_frames > 1 else 1.0
    reach = int(MAX_SPELL_S / frame_s) + 2
    limbs = np.arange(num_limbs)
    cost = np.repeat(frame_s * np.arange(num_frames)[:, None], num_limbs, 1)  # none before kept
    came_from = np.full((num_frames, num_limbs), -1)
    for now in range(1, num_frames):
        before = np.arange(max(0, now - reach), now)
        out_s = (now - before - 1) * frame_s
        # leaving frames out makes no room for a jump, frames in which nobody was seen do
        unseen_s = time_s[now] - time_s[before] - out_s - frame_s
        room_s = max(frame_s, 1 / 30) + np.maximum(unseen_s, 0)
        moved = np.linalg.norm(place[now] - place[before], axis=-1)
        jumped = moved > (MAX_SPEED * room_s + NOISE)[:, None]
        ways = cost[before] + out_s[:, None] + jumped * (MAX_SPELL_S / 2)
        best = ways.argmin(0)
        better = ways[best, limbs] <= cost[now]
        cost[now] = np.where(better, ways[best, limbs], cost[now])
        came_from[now] = np.where(better, before[best], -1)
    total = cost + frame_s * np.arange(num_frames)[::-1, None]
    for limb in limbs:
        now = int(total[:, limb].argmin())
        while now >= 0:
            left_out[now, limb] = False
            now = int(came_from[now, limb])
    return left_out
