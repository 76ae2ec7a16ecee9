"""Put a MakeHuman shape (A-pose, bent elbows) into SMPL's rest pose with the fine 163-bone rig.

Every shape gets the same bone directions, rounded from the published offsets of the SMPL skeleton,
so that equal pose parameters mean equal poses whatever the betas. Axes: x to the body's left, y up,
z forward.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from dtsvibe_cli.builders.body.assets import Rig
from dtsvibe_cli.builders.body.joints import body_scale, hip_centre

_Vector: TypeAlias = Float[np.ndarray, "3"]
_Matrix: TypeAlias = Float[np.ndarray, "3 3"]

_X, _Y, _Z = np.eye(3)
_SPINE: Final = ("spine05", "spine04", "spine03", "spine02", "spine01", "neck01")
_SPINE_SHARES: Final = (0.15, 0.45, 0.75, 1.0, 1.0)
"""How much of the lean each spine bone takes."""
_SPINE_BACK_DEG: Final = 4.0
"""Lean of mid-hip to neck."""
_FOOT_OUT_DEG: Final = 12.0
_CLAVICLE_UP_DEG: Final = 9.0
_CLAVICLE_BACK_DEG: Final = 4.0
_SCAPULA_UP_DEG: Final = 6.0
_FOREARM_TWIST: Final = (0.15, 0.60)
"""Shares of the wrist's twist that the two forearm bones take."""
_FINGER_SPREAD_DEG: Final = {2: 7.0, 3: 0.0, 4: -7.0, 5: -15.0}
_FINGER_DROP_DEG: Final = (4.0, 12.0, 18.0)


@dataclass(frozen=True, kw_only=True)
class RestPose:
    """A shape's bones before and after posing."""

    heads: Float[np.ndarray, "bone 3"]
    """Bone heads of the A-pose, metres."""
    rotations: Float[np.ndarray, "bone 3 3"]
    """Global rotation of each bone."""
    posed_heads: Float[np.ndarray, "bone 3"]
    """Bone heads in the rest pose, metres."""

    def skin(
        self, vertices: Float[np.ndarray, "vertex 3"], weights: Float[np.ndarray, "vertex bone"]
    ) -> Float[np.ndarray, "vertex 3"]:
        """Move A-posed vertices along (linear blend skinning)."""
        offsets = self.posed_heads - np.einsum("bij,bj->bi", self.rotations, self.heads)
        blended = (weights @ self.rotations.reshape(-1, 9)).reshape(-1, 3, 3)
        moved = np.einsum("vij,vj->vi", blended, vertices) + weights @ offsets
        return np.asarray(moved)


def rest_pose(rig: Rig, vertices: Float[np.ndarray, "vertex 3"]) -> RestPose:
    """Bone rotations that bring an A-posed shape (whole base mesh) into the rest pose."""
    return _Poser(rig, vertices).solve()


class _Poser:
    """Finds the global rotation of every bone, from the spine outwards."""

    def __init__(self, rig: Rig, vertices: Float[np.ndarray, "vertex 3"]) -> None:
        self._rig = rig
        self._heads = rig.heads(vertices)
        self._tails = rig.tails(vertices)
        self._rotations: dict[str, _Matrix] = {}

    def solve(self) -> RestPose:
        self._pose_spine()
        for side, sign in ((".L", 1.0), (".R", -1.0)):
            self._pose_leg(side, sign)
            self._pose_hand(side, sign, *self._pose_arm(side, sign))
        rotations = np.zeros((len(self._rig.bones), 3, 3))
        posed = np.zeros_like(self._heads)
        for bone, (name, parent) in enumerate(zip(self._rig.bones, self._rig.parents, strict=True)):
            inherited = np.eye(3) if parent < 0 else rotations[parent]
            rotations[bone] = self._rotations.get(name, inherited)
            if parent < 0:
                posed[bone] = self._heads[bone]
            else:
                step = self._heads[bone] - self._heads[parent]
                posed[bone] = posed[parent] + rotations[parent] @ step
        return RestPose(heads=self._heads, rotations=rotations, posed_heads=posed)

    def _head(self, bone: str) -> _Vector:
        return np.asarray(self._heads[self._rig.index[bone]])

    def _tail(self, bone: str) -> _Vector:
        return np.asarray(self._tails[self._rig.index[bone]])

    def _set(self, rotation: _Matrix, *bones: str) -> None:
        for bone in bones:
            self._rotations[bone] = rotation

    @property
    def _mid_hip(self) -> _Vector:
        middle: _Vector = 0.5 * (self._head("upperleg01.L") + self._head("upperleg01.R"))
        return middle

    def _pose_spine(self) -> None:
        """Bend the spine until mid-hip to neck leans back as wanted; keep the gaze level."""
        wanted = np.deg2rad(_SPINE_BACK_DEG)
        bend = wanted - _lean_back(self._head("neck01") - self._mid_hip)
        for _ in range(20):
            rotations = [_turn(_X, -bend * share) for share in _SPINE_SHARES]
            neck = self._head(_SPINE[0]).copy()
            for rotation, lower, upper in zip(rotations, _SPINE, _SPINE[1:], strict=False):
                neck = neck + rotation @ (self._head(upper) - self._head(lower))
            bend += wanted - _lean_back(neck - self._mid_hip)
        for bone, share in zip(_SPINE, _SPINE_SHARES, strict=False):
            self._set(_turn(_X, -bend * share), bone)
        self._set(np.eye(3), "root", "pelvis.L", "pelvis.R", "neck03", "head")
        self._set(self._rotations["spine02"], "breast.L", "breast.R")
        for bone, share in (("neck01", 0.5), ("neck02", 0.2)):
            self._set(_turn(_X, -bend * share), bone)

    def _pose_leg(self, side: str, sign: float) -> None:
        hip, knee = self._head("upperleg01" + side), self._head("lowerleg01" + side)
        ankle = self._head("foot" + side)
        wanted = _leg_direction(5.0, 1.0) * [sign, 1, 1]
        offset = hip_centre(hip, body_scale(self._mid_hip, self._head("neck01"))) - hip
        direction = wanted
        for _ in range(8):  # the anatomical hip is not the bone's head: correct the aim
            thigh = _arc(knee - hip, direction)
            direction = _unit(direction + wanted - _unit(thigh @ (knee - hip) - offset))
        self._set(thigh, "upperleg01" + side, "upperleg02" + side)
        shin = _arc(thigh @ (ankle - knee), _leg_direction(-2.0, 6.0) * [sign, 1, 1]) @ thigh
        self._set(shin, "lowerleg01" + side, "lowerleg02" + side)
        toes = np.mean([self._head(f"toe{i}-1{side}") for i in range(1, 6)], 0) - ankle
        foot = _turn(_Y, sign * np.deg2rad(_FOOT_OUT_DEG) - np.arctan2(toes[0], toes[2]))
        toe_bones = [b for b in self._rig.bones if b.startswith("toe") and b.endswith(side)]
        self._set(foot, "foot" + side, *toe_bones)

    def _pose_arm(self, side: str, sign: float) -> tuple[_Matrix, _Vector]:
        """Pose the arm down to the elbow; returns forearm rotation without twist, and direction."""
        clavicle = (
            _turn(_Z, sign * np.deg2rad(_CLAVICLE_UP_DEG))
            @ _turn(_Y, sign * np.deg2rad(_CLAVICLE_BACK_DEG))
            @ self._rotations["spine01"]
        )
        scapula = _turn(_Z, sign * np.deg2rad(_SCAPULA_UP_DEG)) @ clavicle
        self._set(clavicle, "clavicle" + side)
        self._set(scapula, "shoulder01" + side)
        shoulder, elbow = self._head("upperarm01" + side), self._head("lowerarm01" + side)
        upper = (
            _arc(scapula @ (elbow - shoulder), _arm_direction(3.0, 6.0) * [sign, 1, 1]) @ scapula
        )
        self._set(upper, "upperarm01" + side, "upperarm02" + side)
        direction = _arm_direction(-2.0, 0.0) * [sign, 1, 1]
        forearm = _arc(upper @ (self._head("wrist" + side) - elbow), direction) @ upper
        return forearm, direction

    def _pose_hand(self, side: str, sign: float, forearm: _Matrix, along: _Vector) -> None:
        """Turn the palm down, spread the wrist's twist over the forearm, straighten the fingers."""
        wrist = self._head("wrist" + side)
        knuckles = {i: self._head(f"finger{i}-1{side}") for i in (2, 3, 4, 5)}
        finger_axis = _unit(np.mean(list(knuckles.values()), 0) - wrist)
        across = _unit(knuckles[2] - knuckles[5])
        palm = _unit(np.cross(across, finger_axis)) * sign
        palm = _unit(palm - finger_axis * (palm @ finger_axis))
        if palm @ (self._tail(f"finger3-3{side}") - knuckles[3]) < 0:
            palm = -palm  # fingers curl towards the palm
        axis = _arm_direction(5.0, 8.0) * [sign, 1, 1]
        down = _unit(-_Y - axis * (-_Y @ axis))
        hand = _frame(axis, down) @ _frame(finger_axis, palm).T
        twist = _twist_angle(hand @ forearm.T, along)
        for bone, share in zip(("lowerarm01", "lowerarm02"), _FOREARM_TWIST, strict=True):
            self._set(_turn(along, share * twist) @ forearm, bone + side)
        self._set(hand, "wrist" + side, *(f"metacarpal{i}{side}" for i in range(1, 5)))
        self._set(hand, *(f"finger1-{k}{side}" for k in (1, 2, 3)))
        thumb_side = _unit(np.cross(down, axis))
        if thumb_side @ _Z < 0:
            thumb_side = -thumb_side
        for finger, spread in _FINGER_SPREAD_DEG.items():
            for phalanx, drop in enumerate(_FINGER_DROP_DEG, start=1):
                bone = f"finger{finger}-{phalanx}{side}"
                outward, lower = np.deg2rad(spread), np.deg2rad(drop)
                straight = np.cos(outward) * axis + np.sin(outward) * thumb_side
                wanted = np.cos(lower) * straight + np.sin(lower) * down
                current = hand @ (self._tail(bone) - self._head(bone))
                self._set(_arc(current, wanted) @ hand, bone)


def _unit(vector: _Vector) -> _Vector:
    return np.asarray(vector / np.linalg.norm(vector))


def _turn(axis: _Vector, angle: float) -> _Matrix:
    """Rotation about a unit axis by an angle in radians."""
    matrix: _Matrix = Rotation.from_rotvec(axis * angle).as_matrix()
    return matrix


def _arc(start: _Vector, end: _Vector) -> _Matrix:
    """The smallest rotation from one direction to another."""
    start, end = _unit(start), _unit(end)
    normal = np.cross(start, end)
    sine = float(np.linalg.norm(normal))
    return np.eye(3) if sine < 1e-12 else _turn(normal / sine, np.arctan2(sine, start @ end))


def _twist_angle(rotation: _Matrix, axis: _Vector) -> float:
    """Part of a rotation about an axis, radians in -pi to pi."""
    *vector, scalar = Rotation.from_matrix(rotation).as_quat(canonical=True)
    angle = 2 * np.arctan2(np.array(vector) @ axis, scalar)
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def _frame(first: _Vector, second: _Vector) -> _Matrix:
    """Matrix whose columns are two orthogonal unit vectors and their cross product."""
    return np.stack([first, second, np.cross(first, second)], 1)


def _lean_back(direction: _Vector) -> float:
    return float(np.arctan2(-direction[2], direction[1]))


def _arm_direction(down_deg: float, back_deg: float) -> _Vector:
    """Left arm direction: sideways, turned down and back."""
    down, back = np.deg2rad([down_deg, back_deg])
    return np.array([np.cos(down) * np.cos(back), -np.sin(down), -np.cos(down) * np.sin(back)])


def _leg_direction(out_deg: float, back_deg: float) -> _Vector:
    """Left leg direction: down, turned outwards and back."""
    out, back = np.deg2rad([out_deg, back_deg])
    return _unit(np.array([np.tan(out), -1.0, -np.tan(back)]))
