import pytest
import torch
from torch import Tensor

from dtsvibe_cli.geometry.rotations import rotvec_to_rotmat
from dtsvibe_cli.models.discriminator import MotionDiscriminator, fooling_loss, telling_loss


def poses(windows: int, time: int, seed: int = 0, jitter: float = 0.0) -> Tensor:
    """Smooth motion of 23 joints, with noise from frame to frame if asked for."""
    generator = torch.Generator().manual_seed(seed)
    start, pace, noise = (
        torch.randn(windows, n, 23, 3, generator=generator) * size
        for n, size in ((1, 0.3), (1, 0.02), (time, jitter))
    )
    return rotvec_to_rotmat(start + pace * torch.arange(time)[:, None, None] + noise)


@pytest.mark.parametrize("time", [2, 16, 128])
def test_one_score_a_window_of_any_length(time: int) -> None:
    torch.manual_seed(0)
    scores = MotionDiscriminator(8)(poses(3, time))
    assert scores.shape == (3,)
    assert scores.isfinite().all()


def test_frames_at_the_end_that_are_not_valid_do_not_count() -> None:
    torch.manual_seed(0)
    judge, motion = MotionDiscriminator(8), poses(2, 6)
    valid = torch.tensor([[True] * 4 + [False] * 2] * 2)
    filled = torch.cat([motion[:, :4], poses(2, 2, seed=9)], 1)
    torch.testing.assert_close(judge(filled, valid), judge(motion[:, :4]), atol=1e-6, rtol=0)
    assert not torch.allclose(judge(filled), judge(motion[:, :4]), atol=1e-6)
    assert judge(motion, torch.zeros_like(valid)).isfinite().all()


def test_windows_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    judge, motion = MotionDiscriminator(8), poses(4, 6)
    alone = torch.cat([judge(motion[k : k + 1]) for k in range(4)])
    torch.testing.assert_close(judge(motion), alone, atol=1e-6, rtol=0)


def test_the_order_of_frames_matters() -> None:
    torch.manual_seed(0)
    judge, motion = MotionDiscriminator(8), poses(2, 6)
    assert not torch.allclose(judge(motion), judge(motion[:, [3, 0, 5, 1, 4, 2]]), atol=1e-4)


def test_least_squares_by_hand() -> None:
    recorded, predicted = torch.tensor([0.5, 1.0]), torch.tensor([0.25, -0.5])
    assert float(fooling_loss(predicted)) == pytest.approx((0.75**2 + 1.5**2) / 2)
    assert float(telling_loss(recorded, predicted)) == pytest.approx(
        0.5**2 / 2 + (0.25**2 + 0.5**2) / 2
    )


def test_it_learns_to_tell_smooth_motion_from_trembling() -> None:
    torch.manual_seed(0)
    judge = MotionDiscriminator(24)
    optimizer = torch.optim.Adam(judge.parameters(), 5e-3)
    for step in range(40):
        loss = telling_loss(judge(poses(8, 6, step)), judge(poses(8, 6, step, jitter=0.3)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        smooth, trembling = judge(poses(64, 6, 999)), judge(poses(64, 6, 999, jitter=0.3))
    assert float((smooth > trembling).float().mean()) > 0.9
