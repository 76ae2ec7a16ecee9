"""Labels of a track as the network is to predict them: before a camera that looks straight at it.

The pipeline turns the network's answer by the viewing ray of the crop's centre into the real camera
(:mod:`~dtsvibe_cli.stages.estimation`); labels are turned back by the same rotation. The crop's
lean is no part of it: the pose network's answers are turned upright again before anybody sees them.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from dtsvibe_cli.datatypes import PinholeCamera
from dtsvibe_cli.geometry.cameras import ray_rotation
from dtsvibe_cli.geometry.joints import SMPL24, SMPL24_PARENTS
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.smpl_files import SMPL_NUM_VERTICES
from dtsvibe_cli.training.datasets.joint_names import JointNames, known, to_smpl24
from dtsvibe_cli.training.datasets.tracks import LabelledTrack, SmplLabels

BONE_NOISE_M: Final = 0.005
"""How far labelled bone lengths are off, against betas of deviation one."""

_HIPS: Final = (("left_hip_wide", "right_hip_wide"), ("left_hip", "right_hip"))
_SHOULDERS: Final = ("left_shoulder", "right_shoulder")


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The label fields of a :class:`~dtsvibe_cli.training.sequences.TrainingSequence`."""

    full_pose_rotvec: Float[np.ndarray, "frame 24 3"]
    betas: Float[np.ndarray, "10"]
    has_smpl: Bool[np.ndarray, " frame"]
    joints_m: Float[np.ndarray, "frame 24 3"]
    joints_m_weight: Float[np.ndarray, "frame 24"]
    joints_crop: Float[np.ndarray, "frame 24 2"]
    joints_crop_weight: Float[np.ndarray, "frame 24"]


def make_labels(
    track: LabelledTrack, squares: Float[np.ndarray, "frame 3"], body: BodyModel
) -> Labels:
    """All labels that there are, zero with weight zero where there is none.

    Args:
        track: The person.
        squares: The crop in each frame: centre x, y and side, pixels.
        body: Body model of the training. Betas of another body are fitted anew to the bones.
    """
    frames = len(squares)
    has_smpl = np.zeros(frames, bool) if track.smpl is None else track.smpl.valid
    pose, betas = np.zeros((frames, 24, 3)), np.zeros(10)
    if track.smpl is not None:
        pose = np.where(has_smpl[:, None, None], track.smpl.full_pose_rotvec, 0)
        betas = _betas(track, track.smpl, body)
    space, space_weight, pelvis = _joints_in_space(track, pose, betas, has_smpl, body)
    picture, picture_weight = _joints_in_picture(track, space, space_weight)
    look = np.tile(np.eye(3), (frames, 1, 1))
    if track.camera is not None:
        look = _looking_at(squares, track.camera)
    root = look @ Rotation.from_rotvec(pose[:, 0]).as_matrix()
    pose[:, 0] = Rotation.from_matrix(root).as_rotvec() * has_smpl[:, None]
    around = (space - pelvis[:, None]) @ look.transpose(0, 2, 1)
    crop = (picture - squares[:, None, :2]) / (squares[:, None, 2:] / 2)
    return Labels(
        full_pose_rotvec=pose.astype(np.float32),
        betas=betas.astype(np.float32),
        has_smpl=has_smpl,
        joints_m=_where_known(around, space_weight),
        joints_m_weight=space_weight.astype(np.float32),
        joints_crop=_where_known(crop, picture_weight),
        joints_crop_weight=picture_weight.astype(np.float32),
    )


def _looking_at(
    squares: Float[np.ndarray, "frame 3"], camera: PinholeCamera
) -> Float[np.ndarray, "frame 3 3"]:
    """From the real camera to one that looks at the squares' centres."""
    turn = ray_rotation(torch.from_numpy(squares[:, :2]), camera)
    return turn.transpose(-1, -2).numpy()


def _where_known(
    points: Float[np.ndarray, "frame 24 axis"], weight: Float[np.ndarray, "frame 24"]
) -> Float[np.ndarray, "frame 24 axis"]:
    return np.where(weight[..., None] > 0, points, 0).astype(np.float32)


def _joints_in_space(
    track: LabelledTrack,
    pose: Float[np.ndarray, "frame 24 3"],
    betas: Float[np.ndarray, "10"],
    has_smpl: Bool[np.ndarray, " frame"],
    body: BodyModel,
) -> tuple[
    Float[np.ndarray, "frame 24 3"], Float[np.ndarray, "frame 24"], Float[np.ndarray, "frame 3"]
]:
    """Joints in the real camera's coordinates, their weights, and the pelvis.

    They are those that are labelled, else those of the labelled body.
    """
    if track.joints_3d is not None:
        labels = track.joints_3d
        joints, weight = to_smpl24(labels.points, labels.weight, labels.names)
        if "pelvis" in labels.names:
            pelvis, there = joints[:, 0], weight[:, 0] > 0
        else:
            pelvis = pelvis_from_torso(labels.points, labels.names, body)
            there = known(pelvis)
        return joints, weight * there[:, None], np.where(there[:, None], pelvis, 0)
    joints = np.zeros((len(pose), 24, 3))
    if track.smpl is None:
        return joints, np.zeros(joints.shape[:2]), joints[:, 0]
    joints = posed_joints(body, pose, betas)
    joints = joints - joints[:, :1]
    if track.smpl.pelvis_m is not None:
        joints = joints + np.nan_to_num(track.smpl.pelvis_m)[:, None]
    return joints, np.repeat(has_smpl[:, None], 24, 1).astype(float), joints[:, 0]


def posed_joints(
    body: BodyModel, pose_rotvec: Float[np.ndarray, "frame 24 3"], betas: Float[np.ndarray, "10"]
) -> Float[np.ndarray, "frame 24 3"]:
    """Joints of a body, metres."""
    precise = body.to("cpu", torch.float64)
    rotmats = Rotation.from_rotvec(pose_rotvec.reshape(-1, 3)).as_matrix().reshape(-1, 24, 3, 3)
    shape = torch.from_numpy(betas[: body.num_betas]).double().expand(len(rotmats), -1)
    return precise.pose(torch.from_numpy(rotmats), shape).joints.numpy()


def pelvis_from_torso(
    points: Float[np.ndarray, "frame joint 3"], names: JointNames, body: BodyModel
) -> Float[np.ndarray, "frame 3"]:
    """Where SMPL's pelvis is in joints that lack it: off the middle of the hips, as in ``body``.

    NaN where hips or shoulders are not known.
    """
    hips = next((pair for pair in _HIPS if set(pair) <= set(names)), None)
    if hips is None or not set(_SHOULDERS) <= set(names):
        return np.full((len(points), 3), np.nan)
    rest = body.joint_template.double().numpy()[None]
    rest_hips = [rest[:, SMPL24.index(name)] for name in _HIPS[1]]
    rest_shoulders = [rest[:, SMPL24.index(name)] for name in _SHOULDERS]
    origin, axes = _torso(rest_hips, rest_shoulders)
    offset = np.linalg.solve(axes[0], rest[0, 0] - origin[0])
    origin, axes = _torso(
        [points[:, names.index(name)] for name in hips],
        [points[:, names.index(name)] for name in _SHOULDERS],
    )
    return np.asarray(origin + axes @ offset)


def _torso(
    hips: list[Float[np.ndarray, "frame 3"]], shoulders: list[Float[np.ndarray, "frame 3"]]
) -> tuple[Float[np.ndarray, "frame 3"], Float[np.ndarray, "frame 3 3"]]:
    """Middle of the hips, and the torso's axes (left, up, forward) in lengths of the torso."""
    middle = (hips[0] + hips[1]) / 2
    up = (shoulders[0] + shoulders[1]) / 2 - middle
    length = np.linalg.norm(up, axis=-1, keepdims=True)
    across = hips[0] - hips[1] + shoulders[0] - shoulders[1]
    forward = np.cross(across, up)
    forward = forward / np.maximum(np.linalg.norm(forward, axis=-1, keepdims=True), 1e-9) * length
    left = np.cross(up, forward) / np.maximum(length, 1e-9)
    return middle, np.stack([left, up, forward], -1)


def _joints_in_picture(
    track: LabelledTrack,
    space: Float[np.ndarray, "frame 24 3"],
    space_weight: Float[np.ndarray, "frame 24"],
) -> tuple[Float[np.ndarray, "frame 24 2"], Float[np.ndarray, "frame 24"]]:
    """Pixels as labelled, else where the camera sees the joints; without a place, none."""
    if track.joints_2d is not None:
        labels = track.joints_2d
        return to_smpl24(labels.points, labels.weight, labels.names)
    placed = track.joints_3d is not None or (
        track.smpl is not None and track.smpl.pelvis_m is not None
    )
    if track.camera is None or not placed:
        return np.zeros((*space.shape[:2], 2)), np.zeros(space.shape[:2])
    ahead = space[..., 2] > 0.1
    depth = np.where(ahead, space[..., 2], 1)[..., None]
    focal, center = track.camera.focal_length_px, np.array(track.camera.center_px)
    return space[..., :2] / depth * focal + center, space_weight * ahead


def _betas(track: LabelledTrack, smpl: SmplLabels, body: BodyModel) -> Float[np.ndarray, "10"]:
    """The person's figure in the numbers of the body in use."""
    official = smpl.body_sha256 is None and len(body.v_template) == SMPL_NUM_VERTICES
    if official or smpl.body_sha256 == body.sha256:
        return smpl.betas.astype(np.float64)
    labels = track.joints_3d
    if labels is None or not set(SMPL24) <= set(labels.names):
        return np.zeros(10)
    joints, weight = to_smpl24(labels.points, labels.weight, labels.names)
    complete = (weight > 0).all(1)
    if not complete.any():
        return np.zeros(10)
    bones = joints[complete, 1:] - joints[complete][:, list(SMPL24_PARENTS[1:])]
    return fit_betas(np.median(np.linalg.norm(bones, axis=-1), axis=0), body)


def fit_betas(lengths_m: Float[np.ndarray, "23"], body: BodyModel) -> Float[np.ndarray, "10"]:
    """The likeliest betas of a body whose bones (to each joint but the first) have given lengths.

    Bone lengths are linear in betas to first order; betas have deviation one beforehand.
    """
    parents = list(SMPL24_PARENTS[1:])
    rest = body.joint_template.double().numpy()
    change = body.joint_shapedirs.double().numpy()[..., :10]
    bones, grow = rest[1:] - rest[parents], change[1:] - change[parents]
    now = np.linalg.norm(bones, axis=-1)
    slope = np.einsum("bc,bck->bk", bones / np.maximum(now, 1e-9)[:, None], grow)
    precision = slope.T @ slope + BONE_NOISE_M**2 * np.eye(slope.shape[1])
    betas = np.zeros(10)
    betas[: slope.shape[1]] = np.linalg.solve(precision, slope.T @ (lengths_m - now))
    return betas
