"""Writes human motion: rotations of the 24 SMPL joints for the script in :mod:`gait`.

Feet are planted first; the legs follow by inverse kinematics, so contact is exact. Arms, spine and
head are keyframed on top of the walking rhythm, with a little smooth noise, because nobody moves
like a machine. No mocap file is needed.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter1d, minimum_filter1d

from dtsvibe_cli.geometry.joints import SMPL24, SMPL24_MIRROR
from dtsvibe_cli.geometry.rotations import rotation_between, rotvec_to_rotmat
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.synthetic.gait import (
    FootMotion,
    body_path,
    foot_motion,
    keyframed,
    script_time,
)

Rotmats = Float[np.ndarray, "frame 3 3"]
Angles = Float[np.ndarray, " frame"]
J = {name: index for index, name in enumerate(SMPL24)}
"""Index of each joint by name."""
_REACH = 0.992
"""A leg is never stretched beyond this part of its length."""
_SQUAT_M = 0.34


@dataclass(frozen=True, kw_only=True)
class WorldMotion:
    """Motion of one body in world coordinates: metres, y up, floor at y = 0."""

    global_orient_rotmat: Rotmats
    body_pose_rotmat: Float[np.ndarray, "frame 23 3 3"]
    betas: Float[np.ndarray, " shape"]
    transl: Float[np.ndarray, "frame 3"]
    foot_contact: Bool[np.ndarray, "frame 2"]
    """Whether the ball of the left and the right foot bears on the floor."""


def turn(axis: str, angle: Angles) -> Rotmats:
    """Rotations about x, y or z; radians."""
    rotvec = np.zeros((len(angle), 3))
    rotvec[:, "xyz".index(axis)] = angle
    return rotvec_to_rotmat(torch.from_numpy(rotvec)).numpy()


def shaped_joints(body: BodyModel, betas: Float[np.ndarray, " shape"]) -> Float[np.ndarray, "24 3"]:
    """Rest joints of a shaped body, metres."""
    template, shapedirs = body.joint_template.double(), body.joint_shapedirs.double()
    return (template + torch.einsum("k,jck->jc", torch.from_numpy(betas), shapedirs)).numpy()


def shaped_vertices(
    body: BodyModel, betas: Float[np.ndarray, " shape"]
) -> Float[np.ndarray, "vertex 3"]:
    """Rest vertices of a shaped body, metres."""
    template, shapedirs = body.v_template.double(), body.shapedirs.double()
    return (template + torch.einsum("k,vck->vc", torch.from_numpy(betas), shapedirs)).numpy()


def write_motion(
    body: BodyModel,
    betas: Float[np.ndarray, " shape"],
    *,
    num_frames: int,
    frame_rate: float,
    sole_m: float = 0.0,
    seed: int = 0,
) -> WorldMotion:
    """A person who walks a curve, turns, waves, squats and lifts an arm.

    Args:
        body: The body whose bones set the step geometry.
        betas: Its shape.
        num_frames: Length of the motion.
        frame_rate: Frames a second.
        sole_m: Thickness of the shoes' soles, metres.
        seed: Seed of the small irregularities.
    """
    time = script_time(num_frames, frame_rate)
    rest = shaped_joints(body, betas)
    ground = float(shaped_vertices(body, betas)[:, 1].min()) - sole_m
    feet = (_foot(time, +1, rest, ground), _foot(time, -1, rest, ground))
    rhythm = _rhythm(feet)
    wobble = _Wobble(num_frames, frame_rate, seed)

    local = np.tile(np.eye(3), (num_frames, 24, 1, 1))
    orient = _pelvis_orient(time, rhythm, wobble)
    pelvis, orient = _place_pelvis(time, orient, rest, feet)
    local[:, 0] = orient
    _bend_spine(local, time, rhythm, wobble)
    _move_arms(local, time, rhythm, wobble)
    for side, foot in zip(("left", "right"), feet, strict=True):
        _bend_leg(local, side, foot, pelvis, rest)
    return WorldMotion(
        global_orient_rotmat=local[:, 0],
        body_pose_rotmat=local[:, 1:],
        betas=betas,
        transl=pelvis - rest[0],
        foot_contact=np.stack([foot.motion.contact for foot in feet], axis=-1),
    )


@dataclass(frozen=True, kw_only=True)
class _Foot:
    motion: FootMotion
    orient: Rotmats
    """Global rotation of the ankle."""
    ankle: Float[np.ndarray, "frame 3"]
    """World position of the ankle, metres."""


class _Wobble:
    """Slow random angles, a new one each time it is called; radians."""

    def __init__(self, num_frames: int, frame_rate: float, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._num_frames, self._sigma = num_frames, 0.25 * frame_rate

    def __call__(self, degrees: float) -> Angles:
        margin = int(4 * self._sigma)
        noise = self._random.standard_normal(self._num_frames + 2 * margin)
        smooth = gaussian_filter1d(noise, self._sigma)[margin : margin + self._num_frames]
        # white noise of deviation 1 keeps this deviation after a Gaussian of width sigma
        return np.asarray(smooth * np.deg2rad(degrees) * np.sqrt(2 * np.sqrt(np.pi) * self._sigma))


def _foot(time: Angles, side: int, rest: Float[np.ndarray, "24 3"], ground: float) -> _Foot:
    name = "left" if side > 0 else "right"
    bone = rest[J[f"{name}_foot"]] - rest[J[f"{name}_ankle"]]
    motion = foot_motion(time, side, heel_to_ball_m=1.3 * float(bone[2]))
    orient = turn("y", motion.yaw) @ turn("x", motion.pitch)
    ball = motion.ball + np.array([0.0, rest[J[f"{name}_foot"], 1] - ground, 0.0])
    return _Foot(motion=motion, orient=orient, ankle=ball - orient @ bone)


def _rhythm(feet: tuple[_Foot, _Foot]) -> Angles:
    """From -1 (right foot ahead) to 1 (left foot ahead); 0 when standing."""
    heading = np.mean([foot.motion.yaw for foot in feet], axis=0)
    apart = feet[0].motion.ball - feet[1].motion.ball
    return np.asarray((apart[:, 0] * np.sin(heading) + apart[:, 2] * np.cos(heading)) / 0.55)


def _squat(time: Angles) -> Angles:
    """From 0, standing, to 1, the lowest point."""
    return keyframed(time, [(0, 0), (3.75, 0), (4.25, 1), (4.4, 1), (4.95, 0)])


def _pelvis_orient(time: Angles, rhythm: Angles, wobble: _Wobble) -> Rotmats:
    heading = body_path(time).heading + np.deg2rad(-6.0) * rhythm + wobble(1.5)
    pitch = np.deg2rad(3.0 + 32.0 * _squat(time)) + wobble(1.0)
    roll = np.deg2rad(3.0) * np.gradient(rhythm, time) / 7.0 + wobble(0.7)
    return np.asarray(turn("y", heading) @ turn("x", pitch) @ turn("z", roll))


def _place_pelvis(
    time: Angles, orient: Rotmats, rest: Float[np.ndarray, "24 3"], feet: tuple[_Foot, _Foot]
) -> tuple[Float[np.ndarray, "frame 3"], Rotmats]:
    """Pelvis over the path, as high as both legs reach, lower and further back in the squat."""
    path, squat = body_path(time), _squat(time)
    back = 0.02 + 0.15 * squat
    x = path.position[:, 0] - back * np.sin(path.heading)
    z = path.position[:, 1] - back * np.cos(path.heading)
    heights = []
    for side, foot in zip(("left", "right"), feet, strict=True):
        hip, knee, ankle = (rest[J[f"{side}_{name}"]] for name in ("hip", "knee", "ankle"))
        reach = _REACH * (np.linalg.norm(knee - hip) + np.linalg.norm(ankle - knee))
        offset = orient @ (hip - rest[0])
        across = np.hypot(x + offset[:, 0] - foot.ankle[:, 0], z + offset[:, 2] - foot.ankle[:, 2])
        # squatting lowers the body from upright, not from the height that bending would still allow
        upright = foot.ankle[:, 1] + np.sqrt(np.clip(reach**2 - across**2, 0.04, None))
        heights.append(upright - offset[:, 1])
    highest = np.minimum(*heights)
    height = gaussian_filter1d(minimum_filter1d(highest, 7), 1.5, truncate=2.0)
    return np.stack([x, height - _SQUAT_M * squat, z], axis=-1), orient


def _bend_leg(
    local: Float[np.ndarray, "frame 24 3 3"],
    side: str,
    foot: _Foot,
    pelvis: Float[np.ndarray, "frame 3"],
    rest: Float[np.ndarray, "24 3"],
) -> None:
    """Hip, knee and ankle rotations that put the ankle where the foot needs it."""
    hip, knee, ankle = (J[f"{side}_{name}"] for name in ("hip", "knee", "ankle"))
    thigh, shin = rest[knee] - rest[hip], rest[ankle] - rest[knee]
    target = foot.ankle - (pelvis + local[:, 0] @ (rest[hip] - rest[0]))
    # |thigh + Rx(flexion) shin| = |target|, solved for the flexion: p cos + q sin = k
    p = thigh[1] * shin[1] + thigh[2] * shin[2]
    q = thigh[2] * shin[1] - thigh[1] * shin[2]
    k = (np.sum(target**2, axis=-1) - thigh @ thigh - shin @ shin) / 2 - thigh[0] * shin[0]
    flexion = np.arctan2(q, p) + np.arccos(np.clip(k / np.hypot(p, q), -1, 1))
    knee_local = turn("x", flexion)
    straight = thigh + knee_local @ shin
    frame = turn("y", foot.motion.yaw + (0.12 if side == "left" else -0.12))
    aimed = rotation_between(
        torch.from_numpy((frame @ straight[..., None])[..., 0]), torch.from_numpy(target)
    ).numpy()
    thigh_global = aimed @ frame
    shin_global = thigh_global @ knee_local
    local[:, hip] = local[:, 0].transpose(0, 2, 1) @ thigh_global
    local[:, knee] = knee_local
    local[:, ankle] = shin_global.transpose(0, 2, 1) @ foot.orient
    # the toes stay flat on the floor while the heel is up
    toes = np.clip(foot.motion.pitch, 0, 0.6) * np.clip(1 - 4 * foot.motion.phase, 0, 1)
    local[:, J[f"{side}_foot"]] = turn("x", -toes)


def _bend_spine(
    local: Float[np.ndarray, "frame 24 3 3"], time: Angles, rhythm: Angles, wobble: _Wobble
) -> None:
    """The chest turns against the pelvis; the head looks ahead, then at the camera."""
    squat = _squat(time)
    lift = keyframed(time, [(0, 0), (4.8, 0), (5.25, 1), (5.45, 1), (5.9, 0)])
    for name in ("spine1", "spine2", "spine3"):
        yaw = np.deg2rad(3.5) * rhythm + wobble(0.6)
        pitch = np.deg2rad(4.0 * squat + 0.5) + wobble(0.6)
        local[:, J[name]] = turn("y", yaw) @ turn("x", pitch) @ turn("z", np.deg2rad(-3.0) * lift)
    look = keyframed(time, [(0, 0), (1.0, 12), (1.8, 5), (2.4, 0), (3.2, -8), (4.2, 0), (5.3, 10)])
    for name, share in (("neck", 0.4), ("head", 0.6)):
        yaw = share * (np.deg2rad(look) - np.deg2rad(4.5) * rhythm) + wobble(1.0)
        pitch = share * np.deg2rad(3.0 - 32.0 * squat - 10.0 * lift) + wobble(1.0)
        local[:, J[name]] = turn("y", yaw) @ turn("x", pitch)


@dataclass(frozen=True, kw_only=True)
class _Arm:
    """Pose of an arm in degrees, as for a left arm."""

    elevation: Angles
    """0 hangs down, 90 level, 180 straight up."""
    azimuth: Angles
    """0 to the side, 90 ahead."""
    twist: Angles
    """About the upper arm; negative turns the flexed forearm up."""
    flexion: Angles
    """Of the elbow."""
    roll: Angles
    """Of the forearm about itself."""


def _move_arms(
    local: Float[np.ndarray, "frame 24 3 3"], time: Angles, rhythm: Angles, wobble: _Wobble
) -> None:
    """Arms swing against the legs; the right one waves, both reach ahead, the left one lifts."""
    squat = _squat(time)
    wave = keyframed(time, [(0, 0), (2.15, 0), (2.75, 1), (3.5, 1), (4.0, 0)])
    lift = keyframed(time, [(0, 0), (4.5, 0), (5.25, 1), (5.4, 1), (5.98, 0)])
    for side, ahead, act in (("left", -rhythm, lift), ("right", rhythm, wave)):
        calm = 1 - act
        shake = 28.0 * np.sin(2 * np.pi * 1.9 * time) * wave if side == "right" else 0 * time
        raised = 98.0 if side == "right" else 168.0
        swing = 20.0 * ahead
        # a small elevation forward is azimuth 90; blend the two axes as a vector to avoid a jump
        out, front = 12.0 * calm, swing * calm + 128.0 * squat * calm
        elevation = np.hypot(out, front) * calm + raised * act
        azimuth = np.rad2deg(np.arctan2(front, np.maximum(out, 1e-6))) * calm + 15.0 * act
        upward = -85.0 if side == "right" else -20.0
        arm = _Arm(
            elevation=elevation + np.rad2deg(wobble(1.5)),
            azimuth=azimuth,
            # the hanging arm keeps its elbow pointing back whatever the azimuth
            twist=-azimuth * np.cos(np.deg2rad(np.clip(elevation, 0, 90))) * calm + upward * act,
            flexion=(18.0 + 10.0 * np.clip(ahead, -1, 1) - 6.0 * squat) * calm
            + ((82.0 if side == "right" else 22.0) + shake) * act
            + np.rad2deg(wobble(2.0)),
            roll=-25.0 * calm + np.rad2deg(wobble(2.0)),
        )
        _set_arm(local, side, arm, wobble)


def _set_arm(
    local: Float[np.ndarray, "frame 24 3 3"], side: str, arm: _Arm, wobble: _Wobble
) -> None:
    collar = turn("z", np.deg2rad(np.clip(0.22 * (arm.elevation - 40.0), -6.0, 30.0)))
    target = (
        turn("y", -np.deg2rad(arm.azimuth))
        @ turn("z", np.deg2rad(arm.elevation - 90.0))
        @ turn("x", np.deg2rad(arm.twist))
    )
    joints = {
        "collar": collar,
        "shoulder": collar.transpose(0, 2, 1) @ target,
        "elbow": turn("y", -np.deg2rad(arm.flexion)) @ turn("x", np.deg2rad(arm.roll)),
        "wrist": turn("z", wobble(4.0)) @ turn("y", wobble(4.0)),
        "hand": turn("z", np.deg2rad(-12.0) + wobble(2.0)),
    }
    mirror = np.diag([-1.0, 1.0, 1.0])
    for name, rotmat in joints.items():
        index = J[f"left_{name}"]
        if side == "left":
            local[:, index] = rotmat
        else:
            local[:, SMPL24_MIRROR[index]] = mirror @ rotmat @ mirror
