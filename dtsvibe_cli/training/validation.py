"""How good a network is on held-out windows, while it is trained."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dtsvibe_cli.evaluation.metrics import pa_mpjpe
from dtsvibe_cli.models.dts_vibe import DtsVibe
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.training.batches import BatchSource, TrainingBatch
from dtsvibe_cli.training.losses import labelled_mean, predicted_joints

VALIDATION_SEED = 2**40
NUM_VALIDATION_BATCHES = 6
VALIDATION_WINDOWS = 64
"""In each of these batches."""
WINDOWS_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Errors on held-out windows, not varied, in millimetres (per frame squared).

    Only joints with a 3D label count; NaN where there are none.
    """

    mpjpe_mm: float
    pa_mpjpe_mm: float
    accel_mm: float


def validate(network: DtsVibe, held_out: BatchSource, body: BodyModel) -> Validation:
    """Errors over a fixed set of held-out windows; joints only of frames that were seen."""
    device = next(network.parameters()).device
    network.eval()
    errors: list[tuple[float, float, float]] = []
    with torch.inference_mode():
        for k in range(NUM_VALIDATION_BATCHES):
            batch = held_out.batch(VALIDATION_WINDOWS, VALIDATION_SEED + k, vary=False).to(device)
            joints, labelled = network_joints(network, batch, body), batch.joints_m_weight > 0
            errors.append(
                (
                    _position_error(joints, batch.joints_m, labelled & batch.valid[..., None]),
                    _aligned_error(joints, batch.joints_m, labelled & batch.valid[..., None]),
                    _acceleration_error(joints, batch.joints_m, labelled),
                )
            )
    mean = [1000 * _mean(list(column)) for column in zip(*errors, strict=True)]
    return Validation(mpjpe_mm=mean[0], pa_mpjpe_mm=mean[1], accel_mm=mean[2])


def network_joints(
    network: DtsVibe, batch: TrainingBatch, body: BodyModel
) -> Float[Tensor, "window time 24 3"]:
    """Predicted joints; a few windows at a time, since convolutions of fine flow are large."""
    parts = zip(
        batch.appearance.split(WINDOWS_AT_ONCE),
        batch.flow.split(WINDOWS_AT_ONCE),
        batch.valid.split(WINDOWS_AT_ONCE),
        strict=True,
    )
    return torch.cat(
        [
            predicted_joints(network(appearance, network.flow_features(flow), valid), body)
            for appearance, flow, valid in parts
        ]
    )


def _mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _position_error(
    joints: Float[Tensor, "window time 24 3"],
    truth: Float[Tensor, "window time 24 3"],
    labelled: Bool[Tensor, "window time 24"],
) -> float:
    distance = torch.linalg.vector_norm(joints - truth, dim=-1)
    return float(labelled_mean(distance, labelled)) if labelled.any() else math.nan


def _aligned_error(
    joints: Float[Tensor, "window time 24 3"],
    truth: Float[Tensor, "window time 24 3"],
    labelled: Bool[Tensor, "window time 24"],
) -> float:
    """After a similarity alignment of each frame by the joints that it has, if three at least."""
    sets, which = labelled.flatten(0, 1).unique(dim=0, return_inverse=True)
    joints, truth = joints.flatten(0, 1), truth.flatten(0, 1)
    sums, count = 0.0, 0
    for k, chosen in enumerate(sets):
        if int(chosen.sum()) >= 3:
            frames = which == k
            error = pa_mpjpe(joints[frames][:, chosen], truth[frames][:, chosen])
            sums, count = sums + float(error.double().sum()), count + len(error)
    return sums / count if count else math.nan


def _acceleration_error(
    joints: Float[Tensor, "window time 24 3"],
    truth: Float[Tensor, "window time 24 3"],
    labelled: Bool[Tensor, "window time 24"],
) -> float:
    error = torch.diff(joints, n=2, dim=1) - torch.diff(truth, n=2, dim=1)
    there = labelled[:, 2:] & labelled[:, 1:-1] & labelled[:, :-2]
    distance = torch.linalg.vector_norm(error, dim=-1)
    return float(labelled_mean(distance, there)) if there.any() else math.nan
