from dataclasses import replace

import pytest
import torch
from recorded import body, simulator
from torch import Tensor

from dtsvibe_cli.geometry.rotations import rotvec_to_rotmat
from dtsvibe_cli.models.dts_vibe import Theta
from dtsvibe_cli.training.losses import (
    Losses,
    LossWeights,
    compute_losses,
    predicted_joints,
    project_weak_perspective,
)
from dtsvibe_cli.training.simulation import TrainingBatch

PAPER = LossWeights()
CAMERA = torch.tensor([0.9, 0.1, -0.2]).expand(3, 5, 3)
DISTANCE = LossWeights(velocity=200.0, form="distance")


@pytest.fixture(scope="module")
def batch() -> TrainingBatch:
    """A batch whose camera is weakly perspective, so that the network could be exactly right."""
    drawn = simulator(window=5).batch(3, 0)
    return replace(drawn, joints_crop=project_weak_perspective(drawn.joints_m, CAMERA))


def truth(batch: TrainingBatch) -> Theta:
    return Theta(
        full_pose=batch.full_pose,
        betas=batch.betas[:, None].expand(3, 5, 10),
        camera=CAMERA,
    )


def terms(losses: Losses) -> dict[str, float]:
    names = ("joints_3d", "joints_2d", "smpl", "velocity")
    return {name: float(getattr(losses, name)) for name in names}


def test_every_term_is_zero_at_the_truth(batch: TrainingBatch) -> None:
    losses = compute_losses(truth(batch), batch, body(), PAPER)
    assert all(value < 1e-10 for value in terms(losses).values()), terms(losses)
    assert float(losses.mpjpe_mm) < 1e-2
    assert float(losses.total(PAPER)) < 1e-10


def test_distances_are_a_tenth_of_a_millimetre_above_zero_at_the_truth(
    batch: TrainingBatch,
) -> None:
    """Their square root is kept away from zero, where it has no slope."""
    losses = compute_losses(truth(batch), batch, body(), DISTANCE)
    assert all(value < 1.1e-4 for value in terms(losses).values()), terms(losses)


@pytest.mark.parametrize(
    ("change", "hit"),
    [
        ({"camera": torch.tensor([0.9, 0.2, -0.2]).expand(3, 5, 3)}, {"joints_2d"}),
        ({"betas": torch.zeros(3, 5, 10)}, {"joints_3d", "joints_2d", "smpl", "velocity"}),
    ],
    ids=["camera", "betas"],
)
@pytest.mark.parametrize("weights", [PAPER, DISTANCE], ids=["squared", "distance"])
def test_each_error_is_seen_by_the_terms_it_concerns(
    batch: TrainingBatch, change: dict[str, Tensor], hit: set[str], weights: LossWeights
) -> None:
    losses = terms(compute_losses(replace(truth(batch), **change), batch, body(), weights))
    floor = 1e-10 if weights is PAPER else 1.1e-4
    assert {name for name, value in losses.items() if value > floor} == hit


def test_terms_by_hand(batch: TrainingBatch) -> None:
    """Joints that are 3 cm off along x in the odd frames of five."""
    shift = torch.tensor([0.0, 0.03, 0.0, 0.03, 0.0])[None, :, None, None] * torch.eye(3)[0]
    away = torch.ones(24, 1)
    away[0] = 0  # joints are relative to the pelvis
    moved = replace(batch, joints_m=batch.joints_m + shift * away)
    squared = compute_losses(truth(batch), moved, body(), PAPER)
    assert float(squared.joints_3d) == pytest.approx(0.03**2 * 2 / 5 * 23 / 24, rel=1e-3)
    assert float(squared.velocity) == pytest.approx(0.03**2 * 23 / 24, rel=1e-3)
    distance = compute_losses(truth(batch), moved, body(), DISTANCE)
    assert float(distance.joints_3d) == pytest.approx(0.03 * 2 / 5 * 23 / 24, rel=1e-2)
    assert float(distance.mpjpe_mm) == pytest.approx(30 * 2 / 5 * 23 / 24, rel=1e-3)


def test_the_total_weighs_the_terms_relative_to_3d() -> None:
    one = torch.tensor(1.0)
    losses = Losses(
        joints_3d=one,
        joints_2d=one * 2,
        smpl=one * 3,
        orientation=one * 5,
        velocity=one * 4,
        mpjpe_mm=one,
    )
    weights = LossWeights(joints_3d=10.0, joints_2d=5.0, smpl=20.0, orientation=4.0, velocity=2.5)
    assert float(losses.total(weights)) == pytest.approx(1 + 1 + 6 + 2 + 1)
    assert (PAPER.joints_3d, PAPER.joints_2d, PAPER.smpl) == (300, 200, 120)
    assert (PAPER.velocity, PAPER.orientation) == (0, 0)


@pytest.mark.parametrize("weights", [PAPER, DISTANCE], ids=["squared", "distance"])
def test_following_the_slope_leads_to_the_truth(batch: TrainingBatch, weights: LossWeights) -> None:
    right = truth(batch)
    turn = torch.randn(3, 5, 24, 3, generator=torch.Generator().manual_seed(0)) * 0.1
    wrong = turn.clone().requires_grad_()
    camera = (right.camera + 0.1).requires_grad_()
    optimizer = torch.optim.Adam([wrong, camera], 0.01)
    errors = []
    for _ in range(40):
        theta = replace(right, full_pose=right.full_pose @ rotvec_to_rotmat(wrong), camera=camera)
        losses = compute_losses(theta, batch, body(), weights)
        optimizer.zero_grad()
        losses.total(weights).backward()
        optimizer.step()
        errors.append(float(losses.mpjpe_mm.detach()))
    assert errors[-1] < 0.3 * errors[0]


def test_predicted_joints_are_relative_to_the_pelvis(batch: TrainingBatch) -> None:
    joints = predicted_joints(truth(batch), body())
    torch.testing.assert_close(joints, batch.joints_m, atol=1e-5, rtol=0)
