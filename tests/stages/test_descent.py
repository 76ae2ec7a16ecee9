import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dtsvibe_cli.stages.descent import Adam, share_of_rate, togetherness

STEP_S = 1 / 30


def flags(num_frames: int, *cuts: int) -> torch.Tensor:
    """Whether each frame but the first follows the one before; those of ``cuts`` do not."""
    continuous = torch.ones(num_frames - 1, dtype=torch.bool)
    continuous[[cut - 1 for cut in cuts]] = False
    return continuous


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.floats(1 / 240, 1 / 5))
def test_what_moves_a_track_as_a_whole_is_left_as_it_is(num_frames: int, step_s: float) -> None:
    together = togetherness(flags(num_frames), step_s)
    line = torch.stack([torch.ones(num_frames), torch.arange(num_frames) / num_frames], 1)
    torch.testing.assert_close(together @ line, line, atol=2e-4, rtol=0)
    torch.testing.assert_close(together, together.T, atol=1e-5, rtol=0)


def test_what_moves_one_frame_moves_its_neighbours() -> None:
    alone = torch.zeros(30)
    alone[15] = 1.0
    moved = togetherness(flags(30), STEP_S) @ alone
    assert 0.2 < moved[15] < 0.8
    assert moved[14] > 0.1
    assert moved[14] == pytest.approx(float(moved[16]), abs=1e-4)
    assert moved[:5].abs().max() < 0.01
    slower = togetherness(flags(30), STEP_S / 4) @ alone
    assert slower[15] < moved[15]  # many frames a second: more of them move together


def test_nothing_goes_over_a_cut() -> None:
    together = togetherness(flags(20, 8), STEP_S)
    assert (together[:8, 8:] == 0).all()
    torch.testing.assert_close(together[:8, :8], togetherness(flags(8), STEP_S))
    torch.testing.assert_close(together[8:, 8:], togetherness(flags(12), STEP_S))


def test_steps_are_those_of_torchs_adam() -> None:
    """Written anew only because torch's own is slow to import."""
    generator = torch.Generator().manual_seed(1)
    goal = torch.randn(7, 3, generator=generator)
    ours, theirs = torch.zeros(7, 3), torch.zeros(7, 3, requires_grad=True)
    adam = Adam(ours, 0.05)
    reference = torch.optim.Adam([theirs], lr=0.05, betas=Adam.MEMORY)
    for _ in range(20):
        adam.step(2 * (ours - goal), 1.0)
        reference.zero_grad()
        (theirs - goal).square().sum().backward()  # type: ignore[no-untyped-call]
        reference.step()
    torch.testing.assert_close(ours, theirs.detach(), atol=1e-6, rtol=1e-5)


def test_a_noisy_track_that_must_be_smooth_is_found_sooner_together() -> None:
    """Half the steps do ten times better, against the solution of the linear equations."""
    num_frames, tie = 60, 200.0
    noise = 0.05 * torch.randn(num_frames, 1, generator=torch.Generator().manual_seed(0))
    seen = 0.4 * torch.sin(torch.linspace(0, 3, num_frames))[:, None] + noise
    bend = torch.diff(torch.eye(num_frames), n=2, dim=0)
    best = torch.linalg.solve(torch.eye(num_frames) + tie * bend.T @ bend, seen)

    def cost(track: torch.Tensor) -> torch.Tensor:
        return (track - seen).square().sum() + tie * (bend @ track).square().sum()

    def excess_after(num_steps: int, together: torch.Tensor | None) -> float:
        track = torch.zeros(num_frames, 1, requires_grad=True)
        adam = Adam(track, 0.04, together)
        for step in range(num_steps):
            (gradient,) = torch.autograd.grad(cost(track), track)
            adam.step(gradient, share_of_rate(step, num_steps))
        return float((cost(track) - cost(best)).detach())

    together = togetherness(flags(num_frames), 1 / 60)
    assert 0 < excess_after(30, together) < 0.1 * excess_after(60, None)


def test_the_rate_rises_and_falls() -> None:
    shares = [share_of_rate(step, 100) for step in range(100)]
    top = shares.index(max(shares))
    assert shares[:top] == sorted(shares[:top])
    assert shares[top:] == sorted(shares[top:], reverse=True)
    assert min(shares) > 0
    assert max(shares) <= 1.02
