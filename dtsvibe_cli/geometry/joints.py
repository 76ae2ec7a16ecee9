"""Named joint sets: SMPL's 24 joints, COCO's 17 keypoints, BlazePose's 33 landmarks."""

from typing import Final

SMPL24: Final = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle",
    "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar",
    "head",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hand", "right_hand",
)  # fmt: skip
"""SMPL's joints in order."""

SMPL24_PARENTS: Final = (
    -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21,
)  # fmt: skip
"""Parent of each SMPL joint; -1 for the root."""

COCO17: Final = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee",
    "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
"""COCO keypoints in order."""

BLAZEPOSE33: Final = (
    "nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye",
    "right_eye_outer", "left_ear", "right_ear", "mouth_left", "mouth_right", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_pinky",
    "right_pinky", "left_index", "right_index", "left_thumb", "right_thumb", "left_hip",
    "right_hip",
    "left_knee", "right_knee", "left_ankle", "right_ankle", "left_heel", "right_heel",
    "left_foot_index", "right_foot_index",
)  # fmt: skip
"""BlazePose landmarks in order."""


def _other_side(name: str) -> str:
    if "left" in name:
        return name.replace("left", "right")
    return name.replace("right", "left")


def mirror_indices(names: tuple[str, ...]) -> tuple[int, ...]:
    """Index of the same joint on the other side of the body, for each joint of a named set.

    >>> mirror_indices(("nose", "left_hip", "right_hip"))
    (0, 2, 1)
    """
    return tuple(names.index(_other_side(name)) for name in names)


SMPL24_MIRROR: Final = mirror_indices(SMPL24)
COCO17_MIRROR: Final = mirror_indices(COCO17)
BLAZEPOSE33_MIRROR: Final = mirror_indices(BLAZEPOSE33)

COCO17_TO_BLAZEPOSE33: Final = tuple(BLAZEPOSE33.index(name) for name in COCO17)
"""BlazePose landmark that shows the same point as each COCO keypoint."""
