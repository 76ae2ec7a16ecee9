"""The 24 SMPL joints: placed from MakeHuman's bones, then read off the skin by a regressor."""

from typing import Final

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import nnls

from dtsvibe_cli.builders.body.assets import Rig
from dtsvibe_cli.geometry.joints import SMPL24, SMPL24_MIRROR

NECK_HEIGHT_M: Final = 0.60
"""Mid-hip to neck of the base mesh; deliberate offsets are given for this size and scaled."""

_JOINT = {name: i for i, name in enumerate(SMPL24)}
_SPINE: Final = ("pelvis", "spine1", "spine2", "spine3", "neck", "head")
_PELVIS_RING_M: Final = 0.045
"""Half height of the band of torso skin around a joint of the spine."""
_RING_RADIUS_M: Final = {
    "hip": 0.17, "knee": 0.10, "ankle": 0.085, "foot": 0.075, "collar": 0.15, "shoulder": 0.115,
    "elbow": 0.07, "wrist": 0.055, "hand": 0.06, "neck": 0.11, "head": 0.10,
}  # fmt: skip
"""How far around a joint its skin ring reaches."""


def body_scale(mid_hip: Float[np.ndarray, "3"], neck: Float[np.ndarray, "3"]) -> float:
    """Size of a body relative to the base mesh."""
    return float(np.linalg.norm(neck - mid_hip)) / NECK_HEIGHT_M


def hip_centre(bone_head: Float[np.ndarray, "3"], scale: float) -> Float[np.ndarray, "3"]:
    """Anatomical hip joint: MakeHuman's lies about 25 % too far out and 12 mm too high."""
    return np.asarray(bone_head * [0.80, 1, 1] - np.array([0, 0.012 * scale, 0]))


def place_joints(rig: Rig, heads: Float[np.ndarray, "bone 3"]) -> Float[np.ndarray, "24 3"]:
    """SMPL's joints from the bones of a body in the rest pose, metres.

    Limb joints are the bones' own; pelvis, spine, neck and collars lie at the fractions where the
    published SMPL skeleton has them.
    """

    def bone(name: str) -> Float[np.ndarray, "3"]:
        return np.asarray(heads[rig.index[name]])

    joints = np.zeros((len(SMPL24), 3))

    def put(name: str, position: Float[np.ndarray, "3"]) -> None:
        joints[_JOINT[name]] = position

    mid_hip = 0.5 * (bone("upperleg01.L") + bone("upperleg01.R"))
    scale = body_scale(mid_hip, bone("neck01"))
    low, middle, high = bone("spine03"), bone("spine02"), bone("spine01")
    put("pelvis", np.array([0, bone("spine04")[1], mid_hip[2] + 0.007 * scale]))
    put("spine1", 0.63 * low + 0.37 * middle)
    put("spine2", 0.47 * middle + 0.53 * high)
    put("spine3", 0.11 * middle + 0.89 * high + [0, 0, 0.03 * scale])
    put("neck", bone("neck01"))
    put("head", bone("neck03") + np.array([0, 0, 0.02 * scale]))
    for side, end in (("left", ".L"), ("right", ".R")):
        put(f"{side}_hip", hip_centre(bone(f"upperleg01{end}"), scale))
        put(f"{side}_knee", bone(f"lowerleg01{end}"))
        put(f"{side}_ankle", bone(f"foot{end}"))
        put(f"{side}_foot", np.mean([bone(f"toe{i}-1{end}") for i in range(1, 6)], 0))
        collar = 0.35 * bone(f"clavicle{end}") + 0.65 * bone(f"shoulder01{end}")
        put(f"{side}_collar", collar + np.array([0, -0.030 * scale, -0.028 * scale]))
        put(f"{side}_shoulder", bone(f"upperarm01{end}"))
        put(f"{side}_elbow", bone(f"lowerarm01{end}"))
        put(f"{side}_wrist", bone(f"wrist{end}"))
        knuckles = np.mean([bone(f"finger{i}-1{end}") for i in range(2, 6)], 0)
        put(f"{side}_hand", 0.15 * bone(f"wrist{end}") + 0.85 * knuckles)
    joints[[_JOINT[name] for name in _SPINE], 0] = 0
    return joints


def regressor_targets(mean_joints: Float[np.ndarray, "24 3"]) -> Float[np.ndarray, "24 3"]:
    """Joint centres that the regressor must hit in the mean shape.

    The bones' mean, with knees 18 mm lower, spine and head 20 mm to the front and collars 8 mm out,
    down and forward: closer to the published SMPL skeleton.
    """
    target = mean_joints.copy()
    target[[_JOINT["left_knee"], _JOINT["right_knee"]], 1] -= 0.018
    target[[_JOINT["spine2"], _JOINT["spine3"], _JOINT["head"]], 2] += 0.020
    target[_JOINT["left_collar"]] += [0.008, -0.008, 0.008]
    target[_JOINT["right_collar"]] += [-0.008, -0.008, 0.008]
    return target


def joint_regressor(
    vertices: Float[np.ndarray, "vertex 3"],
    weights: Float[np.ndarray, "vertex 24"],
    mirror: Int[np.ndarray, " vertex"],
    targets: Float[np.ndarray, "24 3"],
) -> Float[np.ndarray, "24 vertex"]:
    """Non-negative skin rings, rows summing to one, that hit the targets in the mean shape.

    Not fitted to the bones of every shape: MakeHuman's joint markers drift against the skin (knees
    by 25 mm over the height slider), so the ring of the mean shape follows the anatomy better.
    """
    regressor = np.zeros((len(SMPL24), len(vertices)))
    trunk = [_JOINT[name] for name in ("pelvis", "spine1", "spine2", "spine3")]
    trunk += [_JOINT["left_collar"], _JOINT["right_collar"]]
    torso = weights[:, sorted(trunk)].sum(1) > 0.5
    left_half = vertices[:, 0] > -1e-6
    for joint, name in enumerate(SMPL24):
        if name.startswith("right"):
            continue
        part = name.removeprefix("left_").rstrip("123")
        if part in ("pelvis", "spine"):
            near = torso & (np.abs(vertices[:, 1] - targets[joint, 1]) < _PELVIS_RING_M)
        else:
            distance = np.linalg.norm(vertices - targets[joint], axis=1)
            near = distance < _RING_RADIUS_M[part]
        ring = np.where(near & left_half)[0]
        central = not name.startswith("left")
        points = vertices[ring] * ([0, 1, 1] if central else [1, 1, 1])
        share = _polish(points, targets[joint], even_shares(points, targets[joint]))
        if central:
            np.add.at(regressor[joint], ring, 0.5 * share)
            np.add.at(regressor[joint], mirror[ring], 0.5 * share)
        else:
            regressor[joint, ring] = share
            np.add.at(regressor[SMPL24_MIRROR[joint]], mirror[ring], share)
    return regressor


def pelvis_ring(
    vertices: Float[np.ndarray, "vertex 3"], mirror: Int[np.ndarray, " vertex"]
) -> Float[np.ndarray, " vertex"]:
    """Weights of a skin ring around the pelvis joint, by which every shape is anchored."""
    height = -0.0146
    near = (np.abs(vertices[:, 1] - height) < _PELVIS_RING_M) & (np.abs(vertices[:, 0]) < 0.25)
    ring = np.where(near & (vertices[:, 0] > -1e-6))[0]
    share = even_shares(vertices[ring] * [0, 1, 1], np.array([0, height, 0]))
    weights = np.zeros(len(vertices))
    np.add.at(weights, ring, 0.5 * share)
    np.add.at(weights, mirror[ring], 0.5 * share)
    return weights


def even_shares(
    points: Float[np.ndarray, "point 3"], target: Float[np.ndarray, "3"]
) -> Float[np.ndarray, " point"]:
    """Non-negative shares, as even as possible, with which the points' mean is the target."""
    strictness = 100.0
    rows = [strictness * points.T, np.full((1, len(points)), strictness), np.eye(len(points))]
    wanted = np.concatenate([strictness * target, [strictness], np.zeros(len(points))])
    share, _ = nnls(np.concatenate(rows), wanted, maxiter=20000)
    return np.asarray(share / share.sum())


def _polish(
    points: Float[np.ndarray, "point 3"],
    target: Float[np.ndarray, "3"],
    share: Float[np.ndarray, " point"],
) -> Float[np.ndarray, " point"]:
    """Drop tiny shares, then make the mean exact with the smallest change of the others."""
    share = np.where(share < 0.002 * share.max(), 0, share)
    used = share > 0
    constraint = np.concatenate([points[used].T, np.ones((1, used.sum()))])
    missing = np.concatenate([target, [1.0]]) - constraint @ share[used]
    share[used] += np.linalg.pinv(constraint) @ missing
    share = np.maximum(share, 0)
    return np.asarray(share / share.sum())
