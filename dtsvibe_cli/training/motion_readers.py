"""Readers of motion capture files: Acclaim ASF/AMC, BVH, CMU's exponential maps, and AMASS."""

import gzip
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.training.datasets.amass import is_amass, read_amass
from dtsvibe_cli.training.retargeting import AIMED_AT, Motion, retarget

CMU_TO_METRES: Final = 0.0254 / 0.45
"""One length unit of CMU's ASF files in metres."""

_ASF_BONES: Final = {
    "pelvis": "root", "left_hip": "lfemur", "right_hip": "rfemur", "spine1": "lowerback",
    "left_knee": "ltibia", "right_knee": "rtibia", "spine2": "upperback", "left_ankle": "lfoot",
    "right_ankle": "rfoot", "spine3": "thorax", "left_foot": "ltoes", "right_foot": "rtoes",
    "neck": "lowerneck", "left_collar": "lclavicle", "right_collar": "rclavicle", "head": "head",
    "left_shoulder": "lhumerus", "right_shoulder": "rhumerus", "left_elbow": "lradius",
    "right_elbow": "rradius", "left_wrist": "lwrist", "right_wrist": "rwrist",
}  # fmt: skip

_BVH_BONES: Final = {
    "pelvis": "Hip", "left_hip": "L_Thigh", "right_hip": "R_Thigh", "spine1": "Waist",
    "left_knee": "L_Calf", "right_knee": "R_Calf", "spine2": "Spine01", "left_ankle": "L_Foot",
    "right_ankle": "R_Foot", "spine3": "Spine02", "neck": "NeckTwist01",
    "left_collar": "L_Clavicle", "right_collar": "R_Clavicle", "head": "Head",
    "left_shoulder": "L_Upperarm", "right_shoulder": "R_Upperarm", "left_elbow": "L_Forearm",
    "right_elbow": "R_Forearm", "left_wrist": "L_Hand", "right_wrist": "R_Hand",
}  # fmt: skip
_BVH_TIPS: Final = {
    "left_foot": "L_ToeBase", "right_foot": "R_ToeBase", "left_hand": "L_Mid1",
    "right_hand": "R_Mid1",
}  # fmt: skip
_BVH_LEGS: Final = ("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle")
_BVH_LEG_REST: Final = np.diag([-1.0, -1.0, 1.0])
"""The rig's leg bones point along their own +y: at rest they are turned by 180 degrees about z."""

_EXPMAP_JOINTS: Final = {
    "pelvis": 0, "left_hip": 2, "left_knee": 3, "left_ankle": 4, "left_foot": 5, "right_hip": 8,
    "right_knee": 9, "right_ankle": 10, "right_foot": 11, "spine1": 13, "spine2": 14, "spine3": 15,
    "neck": 16, "head": 18, "left_collar": 20, "left_shoulder": 21, "left_elbow": 22,
    "left_wrist": 23, "right_collar": 29, "right_shoulder": 30, "right_elbow": 31,
    "right_wrist": 32,
}  # fmt: skip
_EXPMAP_PARENTS: Final = (
    -1, 0, 1, 2, 3, 4, 5, 0, 7, 8, 9, 10, 11, 0, 13, 14, 15, 16, 17, 18, 15, 20, 21, 22, 23, 24, 25,
    23, 27, 15, 29, 30, 31, 32, 33, 34, 32, 36,
)  # fmt: skip
_EXPMAP_DIRECTIONS: Final = {
    "left_hip": (0.342, -0.940, 0.0), "right_hip": (-0.342, -0.940, 0.0),
    "left_knee": (0.342, -0.940, 0.0), "right_knee": (-0.342, -0.940, 0.0),
    "left_ankle": (0.09, -0.24, 0.965), "right_ankle": (-0.10, -0.28, 0.955),
    "left_collar": (0.967, 0.247, -0.047), "right_collar": (-0.973, 0.211, -0.091),
    "left_shoulder": (1.0, 0.0, 0.0), "right_shoulder": (-1.0, 0.0, 0.0),
    "left_elbow": (1.0, 0.0, 0.0), "right_elbow": (-1.0, 0.0, 0.0),
    "left_wrist": (1.0, 0.0, 0.0), "right_wrist": (-1.0, 0.0, 0.0),
}  # fmt: skip
"""Rest bone directions of CMU's BVH release: legs spread by 20 degrees, arms level."""


def _open_text(path: Path) -> str:
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="latin-1") as file:
            return file.read()
    return path.read_text(encoding="latin-1")


def _stem(path: Path) -> str:
    return path.name.split(".")[0]


class _AsfBone:
    def __init__(self, text: str) -> None:
        def find(pattern: str) -> str | None:
            match = re.search(pattern, text)
            return match.group(1) if match else None

        self.name = find(r"name (\S+)") or ""
        self.direction = np.array([float(x) for x in (find(r"direction (.*)") or "0 0 0").split()])
        axis = [float(x) for x in (find(r"axis (.*)XYZ") or "0 0 0").split()]
        self.axis = Rotation.from_euler("xyz", axis, degrees=True).as_matrix()
        self.dof = (find(r"dof (.*)") or "").split()
        self.parent = "root"


def _read_asf(path: Path) -> dict[str, _AsfBone]:
    text = _open_text(path)
    try:
        bone_text, hierarchy = text.split(":bonedata")[1].split(":hierarchy")
    except (IndexError, ValueError):
        raise DataError(f"{path} is not an ASF skeleton: it has no bone data.") from None
    bones = {
        bone.name: bone for bone in map(_AsfBone, re.findall(r"begin(.*?)end", bone_text, re.S))
    }
    for line in hierarchy.split("begin")[1].split("end")[0].strip().splitlines():
        parent, *children = line.split()
        for child in children:
            bones[child].parent = parent
    return bones


def read_amc(
    asf: Path, amc: Path, smpl_rest_joints: Float[np.ndarray, "24 3"], every: int = 1
) -> Motion:
    """One ASF/AMC recording (120 frames a second), every n-th frame."""
    bones = _read_asf(asf)
    frames: list[dict[str, list[float]]] = []
    for line in _open_text(amc).splitlines():
        words = line.split()
        if len(words) == 1 and words[0].isdigit():
            frames.append({})
        elif frames and words and not line.startswith((":", "#")):
            frames[-1][words[0]] = [float(x) for x in words[1:]]
    frames = frames[::every]
    if not frames:
        raise DataError(f"{amc} holds no frames.")
    root = np.array([frame["root"] for frame in frames])
    rotations = {"root": Rotation.from_euler("xyz", root[:, 3:6], degrees=True).as_matrix()}

    def global_rotation(name: str) -> Float[np.ndarray, "frame 3 3"]:
        if name not in rotations:
            bone = bones[name]
            euler = np.zeros((len(frames), 3))
            for k, dof in enumerate(bone.dof):
                if dof.startswith("r"):
                    euler[:, "xyz".index(dof[1])] = [frame[name][k] for frame in frames]
            turn = Rotation.from_euler("xyz", euler, degrees=True).as_matrix()
            local = bone.axis @ turn @ bone.axis.T
            rotations[name] = global_rotation(bone.parent) @ local
        return rotations[name]

    global_rotmats = {smpl: global_rotation(name) for smpl, name in _ASF_BONES.items()}
    directions = {
        smpl: bones[name].direction for smpl, name in _ASF_BONES.items() if name != "root"
    }
    return Motion(
        name=_stem(amc),
        rate_hz=120 / every,
        rotmats=retarget(global_rotmats, directions, smpl_rest_joints),
        transl_m=root[:, :3] * CMU_TO_METRES,
    )


@dataclass(kw_only=True)
class _BvhJoint:
    name: str
    parent: int
    offset: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    channels: list[str] = field(default_factory=list)


def _read_bvh_hierarchy(lines: list[str]) -> tuple[list[_BvhJoint], int]:
    """The joints, parents first, and the number of the line that starts the motion."""
    joints: list[_BvhJoint] = []
    stack: list[int] = []
    pending = -1
    for number, line in enumerate(lines):
        words = line.split()
        if not words:
            continue
        if words[0] in ("ROOT", "JOINT"):
            parent = stack[-1] if stack else -1
            joints.append(_BvhJoint(name=words[1].removeprefix("CC_Base_"), parent=parent))
            pending = len(joints) - 1
        elif words[0] == "End":
            pending = -2
        elif words[0] == "{":
            stack.append(pending)
        elif words[0] == "}":
            stack.pop()
        elif words[0] == "OFFSET" and stack[-1] >= 0:
            joints[stack[-1]].offset = [float(x) for x in words[1:4]]
        elif words[0] == "CHANNELS":
            joints[stack[-1]].channels = words[2:]
        elif words[0] == "MOTION":
            return joints, number
    raise ValueError("it has no MOTION section")


def _bvh_global_rotations(
    joints: list[_BvhJoint], data: Float[np.ndarray, "frame channel"]
) -> dict[str, Float[np.ndarray, "frame 3 3"]]:
    rotations: dict[str, Float[np.ndarray, "frame 3 3"]] = {}
    column = 0
    for joint in joints:
        turn = np.tile(np.eye(3), (len(data), 1, 1))
        for channel in joint.channels:
            if channel.endswith("rotation"):
                angle = data[:, [column]]
                axis = channel[0].lower()
                turn = turn @ Rotation.from_euler(axis, angle, degrees=True).as_matrix()
            column += 1
        above = None if joint.parent < 0 else rotations[joints[joint.parent].name]
        rotations[joint.name] = turn if above is None else above @ turn
    return rotations


def read_bvh(path: Path, smpl_rest_joints: Float[np.ndarray, "24 3"], every: int = 1) -> Motion:
    """One BVH recording of the Character Creator rig (centimetres), every n-th frame."""
    lines = _open_text(path).splitlines()
    joints, start = _read_bvh_hierarchy(lines)
    offsets = {joint.name: np.array(joint.offset) for joint in joints}
    missing = (set(_BVH_BONES.values()) | set(_BVH_TIPS.values())) - offsets.keys()
    if missing:
        raise DataError(
            f"{path} has no bone {sorted(missing)[0]}: BVH files are read when they are of the "
            "Character Creator rig."
        )
    num_frames = int(lines[start + 1].split()[1])
    rows = [[float(x) for x in line.split()] for line in lines[start + 3 : start + 3 + num_frames]]
    width = max(map(len, rows))
    # The first row is a T-pose and in some files shorter than the others.
    data = np.array([row for row in rows[1:] if len(row) == width])[::every]
    rotations = _bvh_global_rotations(joints, data)
    global_rotmats = {smpl: rotations[name] for smpl, name in _BVH_BONES.items()}
    tips = {**_BVH_BONES, **_BVH_TIPS}
    directions = {joint: offsets[tips[child]] for joint, child in AIMED_AT.items()}
    for name in _BVH_LEGS:
        global_rotmats[name] = global_rotmats[name] @ _BVH_LEG_REST.T
        directions[name] = _BVH_LEG_REST @ directions[name]
    return Motion(
        name=_stem(path),
        rate_hz=1 / _bvh_frame_time_s(path) / every,
        rotmats=retarget(global_rotmats, directions, smpl_rest_joints),
        transl_m=data[:, :3] / 100,
    )


def read_expmap(path: Path, smpl_rest_joints: Float[np.ndarray, "24 3"], every: int = 1) -> Motion:
    """One recording as exponential maps (117 numbers a line, 120 a second), every n-th frame.

    The files compose rotations on row vectors, so each is the transpose of ours.
    """
    data = np.array([[float(x) for x in line.split(",")] for line in _open_text(path).split()])
    if data.ndim != 2 or data.shape[1] != 117:
        raise DataError(f"{path} does not have 117 numbers a line.")
    data = data[::every]
    maps = data[:, 3:].reshape(len(data), 38, 3)
    turns = Rotation.from_rotvec(maps.reshape(-1, 3)).as_matrix().reshape(len(data), 38, 3, 3)
    turns = np.swapaxes(turns, -1, -2)
    rotations: list[Float[np.ndarray, "frame 3 3"]] = []
    for joint, parent in enumerate(_EXPMAP_PARENTS):
        turn = turns[:, joint]
        rotations.append(turn if parent < 0 else rotations[parent] @ turn)
    return Motion(
        name=_stem(path),
        rate_hz=120 / every,
        rotmats=retarget(
            {name: rotations[joint] for name, joint in _EXPMAP_JOINTS.items()},
            {name: np.array(d) for name, d in _EXPMAP_DIRECTIONS.items()},
            smpl_rest_joints,
        ),
        transl_m=data[:, :3] * CMU_TO_METRES,
    )


def motion_files(folder: Path) -> list[Path]:
    """Every recording below a folder.

    Raises:
        DataError: The folder is missing.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder of motion files at {folder}.")
    return [path for path in sorted(folder.rglob("*")) if _kind(path) is not None]


def read_motion(
    path: Path, smpl_rest_joints: Float[np.ndarray, "24 3"], rate_hz: float = 60.0
) -> Motion:
    """One recording, thinned to about the given rate.

    Raises:
        DataError: It cannot be read, or its skeleton is missing or of another rig.
    """
    try:
        if _kind(path) == "amass":
            return read_amass(path, rate_hz)
        if _kind(path) == "bvh":
            every = max(1, round(1 / _bvh_frame_time_s(path) / rate_hz))
            return read_bvh(path, smpl_rest_joints, every)
        every = round(120 / rate_hz)
        if _kind(path) == "expmap":
            return read_expmap(path, smpl_rest_joints, every)
        return read_amc(_skeleton_of(path), path, smpl_rest_joints, every)
    except (ValueError, KeyError, IndexError, OSError) as error:
        raise DataError(f"{path} cannot be read as motion: {error}.") from error


def _skeleton_of(recording: Path) -> Path:
    """The only ASF file beside a recording, or its subject's: 01.asf for 01_02.amc."""
    skeletons = {_stem(path): path for path in sorted(recording.parent.glob("*.asf*"))}
    if not skeletons:
        raise DataError(f"{recording} has no .asf skeleton beside it.")
    subject = _stem(recording).split("_")[0]
    if len(skeletons) > 1 and subject not in skeletons:
        raise DataError(
            f"{recording} has several .asf skeletons beside it, and none is named {subject}.asf: "
            "keep each subject's recordings in a folder of their own."
        )
    return skeletons.get(subject, next(iter(skeletons.values())))


def _kind(path: Path) -> Literal["amc", "bvh", "expmap", "amass"] | None:
    if is_amass(path):
        return "amass"
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".amc"):
        return "amc"
    if name.endswith(".bvh"):
        return "bvh"
    return "expmap" if name.endswith(".txt") and "expmap" in str(path.parent) else None


def _bvh_frame_time_s(path: Path) -> float:
    match = re.search(r"Frame Time:\s*(\S+)", _open_text(path))
    if match is None:
        raise ValueError("it does not say its frame time")
    return float(match.group(1))
