"""The paper's losses (equations 3 to 9), and what the ``lite`` recipe adds.

``squared`` is the paper's form, with its lambda = (300, 200, 120, 60). The ``lite`` recipe takes
distances instead of their squares, so that a few hopeless frames (hidden, swapped) do not rule the
fit, and compares velocities and the orientations of all joints before the camera too.

Every term is the mean over what is labelled: what has no label adds nothing to a term, and does not
dilute the rest.
"""

from dataclasses import dataclass, fields
from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.models.dts_vibe import Theta
from dtsvibe_cli.smpl import BodyModel, Posed
from dtsvibe_cli.training.batches import TrainingBatch
from dtsvibe_cli.training.flow_loss import flow_error


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights of the terms; 0 leaves a term out."""

    joints_3d: float = 300.0
    joints_2d: float = 200.0
    smpl: float = 120.0
    betas: float = 0.02
    """Of shape within ``smpl``, beside the mean over 24 joints of the pose."""
    orientation: float = 0.0
    velocity: float = 0.0
    adversarial: float = 0.0
    """Of the motion discriminator's opinion (equation 7), which is trained when this is not 0."""
    flow: float = 0.0
    """Of 2D joints that do not move as the flow does (equation 9): for the refinement stage."""
    form: Literal["squared", "distance"] = "squared"

    def __post_init__(self) -> None:
        if self.joints_3d <= 0:
            raise ConfigError(
                f"joints_3d = {self.joints_3d} must be more than 0: all terms are "
                "weighed relative to it."
            )


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Terms of one batch, not yet weighted, and the error in millimetres for the log."""

    joints_3d: Float[Tensor, ""]
    joints_2d: Float[Tensor, ""]
    smpl: Float[Tensor, ""]
    orientation: Float[Tensor, ""]
    velocity: Float[Tensor, ""]
    flow: Float[Tensor, ""]
    adversarial: Float[Tensor, ""]
    mpjpe_mm: Float[Tensor, ""]
    """NaN in a batch without 3D labels."""

    def total(self, weights: LossWeights) -> Float[Tensor, ""]:
        """Equation 3, divided by the 3D weight so that its size does not depend on the units."""
        weighted = (
            weights.joints_3d * self.joints_3d
            + weights.joints_2d * self.joints_2d
            + weights.smpl * self.smpl
            + weights.orientation * self.orientation
            + weights.velocity * self.velocity
            + weights.flow * self.flow
            + weights.adversarial * self.adversarial
        )
        return weighted / weights.joints_3d

    def numbers(self) -> dict[str, float]:
        """Every term by name, for logs."""
        return {f.name: float(getattr(self, f.name).detach()) for f in fields(self)}


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


def labelled_mean(
    values: Float[Tensor, "*batch"], weight: Float[Tensor, "*batch"] | Bool[Tensor, "*batch"]
) -> Float[Tensor, ""]:
    """Mean over what has a weight; 0 when nothing has."""
    weight = weight.to(values.dtype)
    return (values * weight).sum() / weight.sum().clamp_min(1e-6)


def _measure(
    error: Float[Tensor, "*batch axis"],
    weight: Float[Tensor, "*batch"] | Bool[Tensor, "*batch"],
    form: Literal["squared", "distance"],
) -> Float[Tensor, ""]:
    """Mean length of errors, or its square; away from zero, where a length has no slope."""
    squared = error.square().sum(-1)
    return labelled_mean(squared if form == "squared" else (squared + 1e-8).sqrt(), weight)


def compute_losses(
    theta: Theta,
    batch: TrainingBatch,
    body: BodyModel,
    weights: LossWeights,
    adversarial: Float[Tensor, ""] | None = None,
) -> Losses:
    """All terms of one batch; the flow's only where it has a weight.

    ``adversarial`` is what the discriminator says of the poses, None without one.
    """
    posed = pose_body(theta, body)
    joints = _centred(posed, theta)
    projected = project_weak_perspective(joints, theta.camera)
    betas = batch.betas[:, None].expand_as(theta.betas)
    with torch.no_grad():
        truth = body.pose(batch.full_pose.flatten(0, 1), betas.flatten(0, 1))
    turned = (posed.global_rotmat - truth.global_rotmat).flatten(-2).view(*joints.shape[:3], 9)
    moved = torch.diff(joints, dim=1) - torch.diff(batch.joints_m, dim=1)
    of_joints, of_shape = batch.joints_m_weight, batch.has_smpl
    of_pose = of_shape[..., None].expand_as(of_joints)
    distance = torch.linalg.vector_norm((joints - batch.joints_m).detach(), dim=-1)
    measure = partial(_measure, form=weights.form)
    nothing = theta.betas.new_zeros(())
    return Losses(
        joints_3d=measure(joints - batch.joints_m, of_joints),
        joints_2d=measure(projected - batch.joints_crop, batch.joints_crop_weight),
        smpl=measure((theta.full_pose - batch.full_pose).flatten(-2), of_pose)
        + weights.betas * measure(theta.betas - betas, of_shape),
        orientation=measure(turned, of_pose),
        velocity=measure(moved, of_joints[:, 1:] * of_joints[:, :-1]),
        flow=measure(*flow_error(projected, batch)) if weights.flow else nothing,
        adversarial=nothing if adversarial is None else adversarial,
        mpjpe_mm=1000 * (distance * of_joints).sum() / of_joints.sum(),
    )
