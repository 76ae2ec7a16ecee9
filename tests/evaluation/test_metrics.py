import pytest
import torch
from synthetic import random_rotations
from torch import Tensor

from dtsvibe_cli.evaluation.metrics import acceleration_error, mpjpe, pa_mpjpe, procrustes_align


def joints(*batch: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*batch, 24, 3, generator=generator, dtype=torch.float64)


# 2 and 3 are the batch sizes that fool implementations which guess the layout from the shape
@pytest.mark.parametrize("frames", [1, 2, 3, 16])
def test_pa_mpjpe_of_similarity_copies_is_zero(frames: int) -> None:
    truth = joints(frames)
    scale = torch.linspace(0.3, 4, frames, dtype=torch.float64)[:, None, None]
    turned = truth @ random_rotations(frames, seed=1).transpose(-1, -2)
    copies = scale * turned + joints(frames, seed=2)[:, :1]
    assert pa_mpjpe(copies, truth).shape == (frames,)
    assert float(pa_mpjpe(copies, truth).max()) < 1e-6
    assert float(mpjpe(copies, truth).min()) > 0.1


def test_a_reflection_is_not_aligned_away() -> None:
    truth = joints(4)
    mirrored = truth * torch.tensor([-1.0, 1, 1])
    assert float(pa_mpjpe(mirrored, truth).min()) > 0.1


def test_frames_are_aligned_one_by_one() -> None:
    predicted, truth = joints(5), joints(5, seed=3)
    one_by_one = torch.cat([procrustes_align(predicted[k : k + 1], truth[k : k + 1])
                            for k in range(5)])  # fmt: skip
    torch.testing.assert_close(procrustes_align(predicted, truth), one_by_one)


def test_alignment_leaves_the_least_squared_distance() -> None:
    truth = joints(8)
    predicted = truth + 0.2 * joints(8, seed=4)
    aligned = procrustes_align(predicted, truth)
    assert (pa_mpjpe(predicted, truth) <= mpjpe(predicted, truth)).all()
    best = (aligned - truth).square().sum()
    for nudge in (1.01, 0.99):
        assert (aligned * nudge - truth).square().sum() > best
    assert (aligned + 0.01 - truth).square().sum() > best


def test_joints_of_no_weight_do_not_count_in_the_alignment() -> None:
    truth = joints(3)
    copies = 2 * truth @ random_rotations(3, seed=1).transpose(-1, -2)
    copies[:, 5] += 100
    weights = torch.ones(3, 24, dtype=torch.float64)
    weights[:, 5] = 0
    aligned = procrustes_align(copies, truth, weights)
    apart = (aligned - truth).norm(dim=-1)
    assert float(apart[weights > 0].max()) < 1e-6
    assert float(apart[:, 5].min()) > 1


def test_mpjpe_by_hand() -> None:
    predicted = torch.zeros(2, 2, 3)
    truth = torch.tensor([[[3.0, 4, 0], [0, 0, 1]], [[0, 0, 0], [0, 0, -2]]])
    torch.testing.assert_close(mpjpe(predicted, truth), torch.tensor([3.0, 1.0]))


def test_pa_mpjpe_by_hand() -> None:
    """Points on a line at -1, 0, 1 against -1, 0.3, 1.

    The truth's mean is 0.1, the best scale is 2/2 = 1: errors 0.1, 0.2, 0.1.
    """
    predicted = torch.tensor([[[-1.0, 0, 0], [0, 0, 0], [1, 0, 0]]], dtype=torch.float64)
    truth = torch.tensor([[[-1.0, 0, 0], [0.3, 0, 0], [1, 0, 0]]], dtype=torch.float64)
    assert float(pa_mpjpe(predicted, truth)) == pytest.approx(0.4 / 3, abs=1e-6)


def test_steady_motion_has_no_acceleration_error() -> None:
    time = torch.arange(10, dtype=torch.float64)[:, None, None]
    truth = joints(1) + time * joints(1, seed=1)
    predicted = joints(1, seed=2) + time * joints(1, seed=3)
    assert float(acceleration_error(predicted, truth)) == pytest.approx(0, abs=1e-12)


def test_acceleration_error_by_hand() -> None:
    """A joint that is 1 off in one of five frames: second differences 1, -2, 1 over three."""
    truth = torch.zeros(2, 5, 1, 3)
    predicted = truth.clone()
    predicted[1, 2, 0, 1] = 1.0
    error = acceleration_error(predicted, truth)
    torch.testing.assert_close(error, torch.tensor([0.0, 4 / 3]))
