from dataclasses import replace
from typing import Literal

import pytest
import torch
from recorded import body, simulator
from torch import Tensor

from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.geometry.rotations import rotvec_to_rotmat
from dtsvibe_cli.models.dts_vibe import Theta
from dtsvibe_cli.training.batches import TrainingBatch, concatenate
from dtsvibe_cli.training.losses import (
    Losses,
    LossWeights,
    compute_losses,
    labelled_mean,
    predicted_joints,
    project_weak_perspective,
)
from dtsvibe_cli.training.recipes import RECIPES

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
        flow=one * 6,
        adversarial=one * 7,
        mpjpe_mm=one,
    )
    weights = LossWeights(
        joints_3d=10.0,
        joints_2d=5.0,
        smpl=20.0,
        orientation=4.0,
        velocity=2.5,
        flow=5.0,
        adversarial=10.0,
    )
    assert float(losses.total(weights)) == pytest.approx(1 + 1 + 6 + 2 + 1 + 3 + 7)


def test_a_weight_of_nothing_for_3d_is_refused() -> None:
    with pytest.raises(ConfigError, match="joints_3d = 0"):
        LossWeights(joints_3d=0.0)


def test_the_papers_weights() -> None:
    paper = RECIPES["paper"].loss
    lambdas = (paper.joints_3d, paper.joints_2d, paper.smpl, paper.adversarial)
    assert lambdas == (300, 200, 120, 60)
    assert (paper.velocity, paper.orientation, paper.flow, paper.form) == (0, 0, 0, "squared")


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


ALL = LossWeights(orientation=60.0, velocity=200.0, flow=200.0)
LABELS = {
    "joints_m_weight": {"joints_3d", "velocity", "mpjpe_mm"},
    "joints_crop_weight": {"joints_2d"},
    "has_smpl": {"smpl", "orientation"},
}
"""Each mask, and the terms it concerns."""


def wrong(batch: TrainingBatch) -> Theta:
    """An answer that is wrong in every term."""
    windows, time = batch.valid.shape
    generator = torch.Generator().manual_seed(1)
    turn = torch.randn(windows, time, 24, 3, generator=generator) * 0.2
    return Theta(
        full_pose=batch.full_pose @ rotvec_to_rotmat(turn),
        betas=batch.betas[:, None].expand(windows, time, 10) + 0.5,
        camera=torch.tensor([1.0, 0.2, -0.1]).expand(windows, time, 3),
    )


@pytest.mark.parametrize("form", ["squared", "distance"])
@pytest.mark.parametrize("mask", LABELS)
def test_what_has_no_label_adds_nothing_and_does_not_dilute_the_rest(
    batch: TrainingBatch, mask: str, form: Literal["squared", "distance"]
) -> None:
    """A window without the label, whatever its values: the terms are those of the others."""
    weights = replace(ALL, form=form)
    alone = compute_losses(wrong(batch), batch, body(), weights)
    junk = replace(
        batch,
        joints_m=batch.joints_m + 9,
        joints_crop=batch.joints_crop - 9,
        full_pose=batch.full_pose * 5,
        **{mask: torch.zeros_like(getattr(batch, mask))},
    )
    both = concatenate([batch, junk])
    theta = wrong(batch)
    twice = Theta(
        full_pose=torch.cat([theta.full_pose] * 2),
        betas=torch.cat([theta.betas] * 2),
        camera=torch.cat([theta.camera] * 2),
    )
    mixed = compute_losses(twice, both, body(), weights)
    for name, value in alone.numbers().items():
        if name in LABELS[mask]:
            assert mixed.numbers()[name] == pytest.approx(value, rel=1e-5), name


@pytest.mark.parametrize("mask", LABELS)
def test_a_batch_without_a_label_gives_no_term_and_no_slope(
    batch: TrainingBatch, mask: str
) -> None:
    nothing = replace(batch, **{mask: torch.zeros_like(getattr(batch, mask))})
    theta = wrong(nothing)
    theta = replace(theta, betas=theta.betas.clone().requires_grad_())
    losses = compute_losses(theta, nothing, body(), ALL)
    for name in LABELS[mask] - {"mpjpe_mm"}:
        assert float(getattr(losses, name).detach()) == 0, name
    (slope,) = torch.autograd.grad(losses.total(ALL), theta.betas)
    assert slope.isfinite().all()
    assert losses.mpjpe_mm.isnan() == (mask == "joints_m_weight")


def test_one_joint_of_one_frame_can_lack_its_label(batch: TrainingBatch) -> None:
    weight = torch.ones(3, 5, 24)
    weight[1, 2, 7] = 0
    masked = replace(batch, joints_m_weight=weight, joints_crop_weight=weight)
    shift = torch.zeros(3, 5, 24, 3)
    shift[1, 2, 7] = 1.0
    off = replace(
        masked, joints_m=batch.joints_m + shift, joints_crop=batch.joints_crop + shift[..., :2]
    )
    clean = compute_losses(wrong(batch), masked, body(), ALL).numbers()
    assert compute_losses(wrong(batch), off, body(), ALL).numbers() == clean


def test_all_labels_given_is_the_plain_mean(batch: TrainingBatch) -> None:
    """The recipe of ``lite`` is what it was before labels could be missing."""
    weights = LossWeights(orientation=60.0, velocity=200.0, form="distance")
    theta = wrong(batch)
    losses = compute_losses(theta, batch, body(), weights)
    joints = predicted_joints(theta, body())

    def mean(error: Tensor) -> float:
        return float((error.square().sum(-1) + 1e-8).sqrt().mean())

    projected = project_weak_perspective(joints, theta.camera)
    assert losses.numbers() == pytest.approx(
        {
            "joints_3d": mean(joints - batch.joints_m),
            "joints_2d": mean(projected - batch.joints_crop),
            "smpl": mean((theta.full_pose - batch.full_pose).flatten(-2))
            + 0.02 * mean(theta.betas - batch.betas[:, None]),
            "orientation": float(losses.orientation),
            "velocity": mean(torch.diff(joints - batch.joints_m, dim=1)),
            "flow": 0.0,
            "adversarial": 0.0,
            "mpjpe_mm": 1000 * float((joints - batch.joints_m).norm(dim=-1).mean()),
        },
        rel=1e-5,
    )


def test_the_labelled_mean_by_hand() -> None:
    values = torch.tensor([1.0, 2.0, 50.0])
    assert float(labelled_mean(values, torch.tensor([1.0, 0.5, 0.0]))) == pytest.approx(2 / 1.5)
    assert float(labelled_mean(values, torch.zeros(3, dtype=torch.bool))) == 0
