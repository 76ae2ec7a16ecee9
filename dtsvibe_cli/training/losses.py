"""The paper's losses (equations 3 to 6), and what the ``lite`` recipe adds.

``squared`` is the paper's form, with its lambda = (300, 200, 120). The ``lite`` recipe takes
distances instead of their squares, so that a few hopeless frames (hidden, swapped) do not rule the
fit, and compares velocities and the orientations of all joints before the camera too.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from dtsvibe_cli.models.dts_vibe import Theta
from dtsvibe_cli.smpl import BodyModel, Posed
from dtsvibe_cli.training.simulation import TrainingBatch


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights of the terms."""

    joints_3d: float = 300.0
    joints_2d: float = 200.0
    smpl: float = 120.0
    orientation: float = 0.0
    velocity: float = 0.0
    form: Literal["squared", "distance"] = "squared"


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Terms of one batch, not yet weighted, and the error in millimetres for the log."""

    joints_3d: Float[Tensor, ""]
    joints_2d: Float[Tensor, ""]
    smpl: Float[Tensor, ""]
    orientation: Float[Tensor, ""]
    velocity: Float[Tensor, ""]
    mpjpe_mm: Float[Tensor, ""]

    def total(self, weights: LossWeights) -> Float[Tensor, ""]:
        """Equation 3, divided by the 3D weight so that its size does not depend on the units."""
        weighted = (
            weights.joints_3d * self.joints_3d
            + weights.joints_2d * self.joints_2d
            + weights.smpl * self.smpl
            + weights.orientation * self.orientation
            + weights.velocity * self.velocity
        )
        return weighted / weights.joints_3d


def pose_body(theta: Theta, body: BodyModel) -> Posed:
    """Joints and their rotations before the camera, window after window."""
    return body.pose(theta.full_pose.flatten(0, 1), theta.betas.flatten(0, 1))


def predicted_joints(theta: Theta, body: BodyModel) -> Float[Tensor, "window time 24 3"]:
    """Joints of predicted bodies relative to the pelvis, metres."""
    return _centred(pose_body(theta, body), theta)


def _centred(posed: Posed, theta: Theta) -> Float[Tensor, "window time 24 3"]:
    joints: Tensor = (posed.joints - posed.joints[:, :1]).unflatten(0, theta.full_pose.shape[:2])
    return joints


def project_weak_perspective(
    joints: Float[Tensor, "*batch joint 3"], camera: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch joint 2"]:
    """Crop coordinates: ``s * (X + tx)``, ``s * (Y + ty)``."""
    return camera[..., None, :1] * (joints[..., :2] + camera[..., None, 1:])


def compute_losses(
    theta: Theta, batch: TrainingBatch, body: BodyModel, weights: LossWeights
) -> Losses:
    """All terms of one batch."""
    posed = pose_body(theta, body)
    joints = _centred(posed, theta)
    projected = project_weak_perspective(joints, theta.camera)
    betas = batch.betas[:, None].expand_as(theta.betas)
    pose_error = (theta.full_pose - batch.full_pose).flatten(-2)
    with torch.no_grad():
        truth = body.pose(batch.full_pose.flatten(0, 1), betas.flatten(0, 1))
    turned = (posed.global_rotmat - truth.global_rotmat).flatten(-2)

    def measure(error: Float[Tensor, "..."]) -> Float[Tensor, ""]:
        squared = error.square().sum(-1)
        return squared.mean() if weights.form == "squared" else (squared + 1e-8).sqrt().mean()

    moved = torch.diff(joints, dim=1) - torch.diff(batch.joints_m, dim=1)
    return Losses(
        joints_3d=measure(joints - batch.joints_m),
        joints_2d=measure(projected - batch.joints_crop),
        smpl=measure(pose_error) + 0.02 * measure(theta.betas - betas),
        orientation=measure(turned),
        velocity=measure(moved),
        mpjpe_mm=1000 * torch.linalg.vector_norm(joints - batch.joints_m, dim=-1).mean(),
    )
