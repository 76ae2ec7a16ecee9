"""From which side the camera sees a body: the breakdown by view angle."""

from typing import Final

import numpy as np
from jaxtyping import Float, Int

VIEWS: Final = (
    "0° front", "45° front left", "90° left side", "135° back left", "180° back",
    "-135° back right", "-90° right side", "-45° front right",
)  # fmt: skip
"""Names of the eight bins of 45 degrees, each around its angle; sides are the person's own."""

_TORSO: Final = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")


def view_yaw_deg(
    joints_m: Float[np.ndarray, "frame joint 3"], names: tuple[str, ...], *, absolute: bool = True
) -> Float[np.ndarray, " frame"]:
    """Direction from the body to the camera, about the body's own length: 0 is the front, 90 left.

    It is measured in the body's frame, so that neither a tilted camera nor a lying person changes
    it; NaN where hips and shoulders are not all known.

    Args:
        joints_m: Camera coordinates, OpenCV axes.
        names: Of the joints.
        absolute: Whether the camera is at the origin; else it is taken to look along z.
    """
    if not set(_TORSO) <= set(names):
        return np.full(len(joints_m), np.nan)
    left_shoulder, right_shoulder, left_hip, right_hip = (
        joints_m[:, names.index(name)].astype(np.float64) for name in _TORSO
    )
    hips = (left_hip + right_hip) / 2
    up = (left_shoulder + right_shoulder) / 2 - hips
    left = left_shoulder + left_hip - right_shoulder - right_hip
    front = np.cross(left, up)
    left = np.cross(up, front)  # square to the other two
    to_camera = -hips if absolute else np.broadcast_to([0.0, 0.0, -1.0], hips.shape)

    def along(axis: Float[np.ndarray, "frame 3"]) -> Float[np.ndarray, " frame"]:
        length = np.linalg.norm(axis, axis=-1)
        part: Float[np.ndarray, " frame"] = (axis * to_camera).sum(-1) / np.where(
            length > 0, length, np.nan
        )
        return part

    yaw: Float[np.ndarray, " frame"] = np.rad2deg(np.arctan2(along(left), along(front)))
    return yaw


def view_bins(yaw_deg: Float[np.ndarray, " frame"]) -> Int[np.ndarray, " frame"]:
    """Index into :data:`VIEWS` of each angle; -1 where it is NaN.

    >>> view_bins(np.array([0.0, 22.0, 23.0, -179.0, 179.0, -45.0, np.nan]))
    array([ 0,  0,  1,  4,  4,  7, -1])
    """
    bins = np.round(np.nan_to_num(yaw_deg) / 45).astype(np.int64) % len(VIEWS)
    return np.where(np.isnan(yaw_deg), -1, bins)
