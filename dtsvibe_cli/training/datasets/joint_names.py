"""Which joints of other data sets are SMPL's, in one place.

A name of SMPL24 says that a data set's point is the same point of the body, to within what labels
are good for. All others are left out (None), or kept under names of their own where something can
be made of them: ``*_hip_wide``, which the place of SMPL's pelvis is worked out from.
"""

from typing import Final

import numpy as np
from jaxtyping import Bool, Float

from dtsvibe_cli.geometry.joints import SMPL24

JointNames = tuple[str | None, ...]

H36M32: Final[JointNames] = (
    # SMPL's pelvis lies higher than the middle of the hips, and its hip joints nearer together
    None, "right_hip_wide", "right_knee", "right_ankle",
    # its feet and hands are inside of feet and hands, not at toes and fingers
    None, None, "left_hip_wide", "left_knee", "left_ankle", None, None,
    # spines are divided in other places; neck and head are other points too
    None, None, None, None, None,
    # what Human3.6M calls a shoulder is the neck again; its arm begins at the shoulder
    None, "left_shoulder", "left_elbow", "left_wrist", None, None, None, None,
    None, "right_shoulder", "right_elbow", "right_wrist", None, None, None, None,
)  # fmt: skip
"""The 32 of Human3.6M's files: Hips, RightUpLeg, RightLeg, RightFoot, RightToeBase, Site, ..."""

MPI_INF_3DHP28: Final[JointNames] = (
    # spine3, spine4, spine2, spine, pelvis, neck, head, head_top: as for Human3.6M
    None, None, None, None, None, None, None, None,
    # the clavicle is where the collar bone begins, not SMPL's collar joint; hands: finger bases
    None, "left_shoulder", "left_elbow", "left_wrist", None,
    None, "right_shoulder", "right_elbow", "right_wrist", None,
    "left_hip_wide", "left_knee", "left_ankle", None, None,
    "right_hip_wide", "right_knee", "right_ankle", None, None,
)  # fmt: skip
"""The 28 of MPI-INF-3DHP's annot.mat."""

PENN13: Final[JointNames] = (
    None,  # the middle of the head; SMPL's head joint is at its base
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    # people mark hips on the skin, well above and outside of the joints
    None, None,
    "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
"""The 13 of Penn Action's list. Left and right are the person's."""

POSETRACK17: Final[JointNames] = (
    # nose, head_bottom, head_top, ears: none is a joint
    None, None, None, None, None,
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    None, None,  # hips, on the skin
    "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
"""The 17 of PoseTrack 2018."""

HMMR14: Final[JointNames] = (
    # "heel": the ankle of some of its sources and the heel of others
    None, "right_knee", None, None, "left_knee", None,
    "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
    None, None,
)  # fmt: skip
"""The 14 of ``image/xys`` in the tfrecords of InstaVariety: right heel, knee, hip, left hip, ..."""

HMMR_TOES6: Final[JointNames] = (None, None, None, None, "left_ankle", "right_ankle")
"""The six of ``image/toe_pts`` there."""


def to_smpl24(
    points: Float[np.ndarray, "frame joint axis"],
    weight: Float[np.ndarray, "frame joint"],
    names: JointNames,
) -> tuple[Float[np.ndarray, "frame 24 axis"], Float[np.ndarray, "frame 24"]]:
    """The points that are SMPL's joints, and zero with weight zero for the joints that are not."""
    if len(names) != points.shape[1]:
        raise ValueError(f"{points.shape[1]} points have {len(names)} names.")
    placed = np.zeros((len(points), len(SMPL24), points.shape[2]))
    weights = np.zeros((len(points), len(SMPL24)))
    for column, name in enumerate(names):
        if name in SMPL24:
            joint = SMPL24.index(name)
            good = known(points[:, column]) & (weight[:, column] > 0)
            placed[good, joint] = points[good, column]
            weights[good, joint] = weight[good, column]
    return placed, weights


def known(points: Float[np.ndarray, "*batch axis"]) -> Bool[np.ndarray, "*batch"]:
    """Points without a coordinate that is no number."""
    return np.asarray(np.isfinite(points).all(-1))
