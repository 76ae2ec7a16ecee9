"""From another skeleton's bone rotations to SMPL's 24 joints.

Each bone's global rotation relative to its own rest pose is multiplied by the smallest rotation
that carries SMPL's rest bone direction to the source's, then made local to SMPL's parents. Lengths
do not matter.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Float

from dtsvibe_cli.geometry.joints import SMPL24, SMPL24_PARENTS
from dtsvibe_cli.geometry.rotations import rotation_between

AIMED_AT: Final = {
    "left_hip": "left_knee", "right_hip": "right_knee",
    "left_knee": "left_ankle", "right_knee": "right_ankle",
    "left_ankle": "left_foot", "right_ankle": "right_foot",
    "left_collar": "left_shoulder", "right_collar": "right_shoulder",
    "left_shoulder": "left_elbow", "right_shoulder": "right_elbow",
    "left_elbow": "left_wrist", "right_elbow": "right_wrist",
    "left_wrist": "left_hand", "right_wrist": "right_hand",
}  # fmt: skip
"""Joints whose bone direction is matched; the spine keeps the source's rotations as they are."""


@dataclass(frozen=True, kw_only=True)
class Motion:
    """One recorded movement on SMPL's joints, y up."""

    name: str
    rate_hz: float
    rotmats: Float[np.ndarray, "frame 24 3 3"]
    """Local rotations; the first is global."""
    transl_m: Float[np.ndarray, "frame 3"]
    """Root position."""


def retarget(
    global_rotmats: dict[str, Float[np.ndarray, "frame 3 3"]],
    rest_directions: dict[str, Float[np.ndarray, " 3"]],
    smpl_rest_joints: Float[np.ndarray, "24 3"],
) -> Float[np.ndarray, "frame 24 3 3"]:
    """Local SMPL rotations.

    Both dictionaries are keyed by SMPL joint name. A joint the source lacks follows its parent; a
    joint without a rest direction keeps the source's rotation.
    """
    num_frames = len(next(iter(global_rotmats.values())))
    glob = np.zeros((num_frames, 24, 3, 3))
    for joint, name in enumerate(SMPL24):
        if name not in global_rotmats:
            glob[:, joint] = glob[:, SMPL24_PARENTS[joint]]
            continue
        glob[:, joint] = global_rotmats[name]
        if name in AIMED_AT and name in rest_directions:
            bone = smpl_rest_joints[SMPL24.index(AIMED_AT[name])] - smpl_rest_joints[joint]
            align = rotation_between(
                torch.from_numpy(np.asarray(bone, np.float64)),
                torch.from_numpy(np.asarray(rest_directions[name], np.float64)),
            )
            glob[:, joint] = glob[:, joint] @ align.numpy()
    local = glob.copy()
    for joint in range(1, 24):
        local[:, joint] = np.swapaxes(glob[:, SMPL24_PARENTS[joint]], -1, -2) @ glob[:, joint]
    return local
