from dataclasses import replace

import pytest
import torch
from recorded import body, simulator
from torch import Tensor

from dtsvibe_cli.models.dts_vibe import Theta
from dtsvibe_cli.training.batches import TrainingBatch
from dtsvibe_cli.training.flow_loss import carry_back, flow_error, sample_flow
from dtsvibe_cli.training.losses import LossWeights, compute_losses


@pytest.fixture(scope="module")
def batch() -> TrainingBatch:
    """Two windows of four frames, all seen, crops that stay, a picture that hardly moves."""
    drawn = simulator(window=4, flow_side=8).batch(2, 0)
    return replace(
        drawn,
        valid=torch.ones(2, 4, dtype=torch.bool),
        flow=torch.full((2, 4, 2, 8, 8), 1e-9),
        to_crop_before=torch.eye(2, 3).expand(2, 4, 2, 3),
    )


def points(*places: tuple[float, float]) -> Tensor:
    """The same points in every frame of two windows of four."""
    return torch.tensor(places).expand(2, 4, -1, 2)


def test_flow_is_read_between_the_middles_of_cells() -> None:
    """A ramp of 0, 1, ... 7 over eight cells, whose first middle lies a sixteenth into the crop."""
    ramp = torch.arange(8.0).expand(1, 1, 2, 8, 8)
    at = torch.tensor([[-1 + 1 / 8, 0.0], [-1 + 3 / 8, 0.0], [0.0, 0.0], [-1.0, 0.0], [9.0, 9.0]])
    read = sample_flow(ramp, at.expand(1, 1, -1, 2))[0, 0, :, 0]
    torch.testing.assert_close(read, torch.tensor([0.0, 1.0, 3.5, 0.0, 7.0]))


def test_x_and_y_are_not_exchanged() -> None:
    flow = torch.zeros(1, 1, 2, 8, 8)
    flow[0, 0, 0, 1, 6] = 0.25  # dx in the second row, the seventh column
    corner = torch.tensor([[[[5 / 8, -5 / 8], [-5 / 8, 5 / 8]]]])
    assert sample_flow(flow, corner)[0, 0].tolist() == [[0.25, 0.0], [0.0, 0.0]]


def test_what_moves_with_the_picture_has_no_error(batch: TrainingBatch) -> None:
    step = torch.tensor([0.1, -0.05])  # crop coordinates, so half of it in crop sides
    moving = points((0.0, 0.1), (0.3, -0.2)) + torch.arange(4)[:, None, None] * step
    flow = (step / 2)[:, None, None].expand(2, 4, 2, 8, 8)
    error, there = flow_error(moving, replace(batch, flow=flow))
    assert there.all()
    torch.testing.assert_close(error, torch.zeros(2, 3, 2, 2), atol=1e-6, rtol=0)
    wrong, _ = flow_error(moving, batch)
    torch.testing.assert_close(wrong, step.expand(2, 3, 2, 2), atol=1e-6, rtol=0)


def test_a_crop_that_moves_and_grows_is_no_motion(batch: TrainingBatch) -> None:
    """One place in the picture, in crops that go right by a tenth of a side and double."""
    place_px = torch.tensor([100.0, 60.0])
    centres, sides = torch.tensor([[90.0, 60.0], [100.0, 60.0]]), torch.tensor([100.0, 200.0])
    here = (place_px - centres) / (sides[:, None] / 2)
    steps = torch.eye(2, 3).repeat(2, 4, 1, 1)
    steps[:, 1] = torch.tensor([[2.0, 0, 0.2], [0, 2.0, 0]])
    at = here[[0, 1, 1, 1]][None, :, None].expand(2, 4, 1, 2)
    before = carry_back(at, replace(batch, to_crop_before=steps))
    torch.testing.assert_close(before[:, 1:], at[:, :-1])


def test_only_seen_frames_and_joints_in_the_crop_count(batch: TrainingBatch) -> None:
    valid = torch.ones(2, 4, dtype=torch.bool)
    valid[0, 1] = False
    at = points((0.0, 0.0), (1.2, 0.0))
    _, there = flow_error(at, replace(batch, valid=valid))
    assert there[..., 0].tolist() == [[False, False, True], [True, True, True]]
    assert not there[..., 1].any()


def test_frames_without_flow_do_not_count(batch: TrainingBatch) -> None:
    """Where a window skips frames and nobody was seen in between, bodies may have moved."""
    flow = batch.flow.clone()
    flow[1, 2] = 0
    _, there = flow_error(points((0.0, 0.0)), replace(batch, flow=flow))
    assert there[..., 0].tolist() == [[True, True, True], [True, False, True]]


def test_the_loss_by_hand(batch: TrainingBatch) -> None:
    """A still body in a picture that moves: each joint is off by twice the flow."""
    weights = LossWeights(flow=1.0)
    still = Theta(
        full_pose=batch.full_pose[:, :1].expand(2, 4, 24, 3, 3),
        betas=torch.zeros(2, 4, 10),
        camera=torch.tensor([0.3, 0.0, 0.0]).expand(2, 4, 3),
    )
    assert float(compute_losses(still, batch, body(), weights).flow) < 1e-10
    moving = replace(batch, flow=torch.full((2, 4, 2, 8, 8), 0.02))
    loss = compute_losses(still, moving, body(), weights).flow
    assert float(loss) == pytest.approx(2 * 0.04**2, rel=1e-4)
    assert float(compute_losses(still, moving, body(), LossWeights()).flow) == 0


def test_its_slope_moves_both_frames_and_not_the_place_where_flow_is_read(
    batch: TrainingBatch,
) -> None:
    ramp = torch.arange(8.0).expand(2, 4, 2, 8, 8) * 0.01
    at = points((0.1, 0.1)).clone().requires_grad_()
    error, _ = flow_error(at, replace(batch, flow=ramp))
    (slope,) = torch.autograd.grad(error[:, 0].sum(), at)
    expected = torch.tensor([-1.0, 1.0, 0.0, 0.0])[:, None, None].expand(2, 4, 1, 2)
    torch.testing.assert_close(slope, expected)
