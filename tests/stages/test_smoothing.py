import numpy as np
import pytest
import torch
from synthetic import random_rotations

from dtsvibe_cli.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from dtsvibe_cli.stages import smoothing
from dtsvibe_cli.stages.smoothing import gaussian_matrix, smooth_rotations, smooth_values

DEVIATION_S = 0.05


def times(num_frames: int, rate_hz: float) -> np.ndarray:
    return np.arange(num_frames) / rate_hz


def uneven_times(num_frames: int) -> np.ndarray:
    return np.cumsum(np.random.default_rng(0).uniform(0.01, 0.06, num_frames))


def column(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values)[:, None]


@pytest.mark.parametrize("time_s", [times(40, 30), uneven_times(40), times(2, 30)])
def test_what_does_not_change_stays(time_s: np.ndarray) -> None:
    values = torch.full((len(time_s), 3), 7.25, dtype=torch.float64)
    torch.testing.assert_close(smooth_values(values, time_s, DEVIATION_S), values)
    still = random_rotations(1, 24).expand(len(time_s), -1, -1, -1)
    torch.testing.assert_close(smooth_rotations(still, time_s, DEVIATION_S), still)


@pytest.mark.parametrize("rate_hz", [24, 30, 60])
def test_even_motion_stays_to_the_very_ends(rate_hz: float) -> None:
    time_s = times(50, rate_hz)
    line = column(2.0 - 3.0 * time_s)
    torch.testing.assert_close(smooth_values(line, time_s, DEVIATION_S), line)
    axis = torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64)
    turning = rotvec_to_rotmat((column(2.0 * time_s) * axis)[:, None])
    smooth = smooth_rotations(turning, time_s, DEVIATION_S)
    torch.testing.assert_close(smooth, turning)


@pytest.mark.parametrize("frequency_hz", [1.0, 3.0, 6.0])
def test_frame_rates_are_smoothed_alike(frequency_hz: float) -> None:
    """A Gaussian of deviation s lets exp(-(2 pi f s)^2 / 2) of a frequency f through."""
    expected = np.exp(-((2 * np.pi * frequency_hz * DEVIATION_S) ** 2) / 2)
    for rate_hz in (30, 60):
        time_s = times(4 * rate_hz, rate_hz)
        wave = np.sin(2 * np.pi * frequency_hz * time_s)
        smooth = smooth_values(column(wave), time_s, DEVIATION_S)[:, 0].numpy()
        inner = slice(rate_hz, -rate_hz)
        passed = (smooth[inner] @ wave[inner]) / (wave[inner] @ wave[inner])
        assert passed == pytest.approx(expected, abs=0.01)


def test_nothing_is_delayed() -> None:
    time_s = times(61, 30)
    peak = column(np.exp(-(((time_s - time_s[30]) / 0.04) ** 2)))
    smooth = smooth_values(peak, time_s, DEVIATION_S)
    assert smooth.argmax() == 30
    torch.testing.assert_close(smooth, smooth.flip(0))
    assert smooth.max() < 0.7 * peak.max()


def test_jitter_of_rotations_is_reduced_and_they_stay_rotations() -> None:
    time_s = times(90, 30)
    generator = torch.Generator().manual_seed(0)
    path = torch.from_numpy(np.sin(2 * time_s))[:, None, None] * torch.ones(1, 24, 3)
    jitter = 0.05 * torch.randn(90, 24, 3, generator=generator, dtype=torch.float64)
    clean, noisy = rotvec_to_rotmat(path), rotvec_to_rotmat(path + jitter)
    smooth = smooth_rotations(noisy, time_s, DEVIATION_S)
    eye = torch.eye(3, dtype=torch.float64).expand_as(smooth)
    torch.testing.assert_close(smooth @ smooth.mT, eye)

    def error(rotmat: torch.Tensor) -> float:
        return float(rotmat_to_rotvec(clean.mT @ rotmat).norm(dim=-1).mean())

    assert error(smooth) < 0.6 * error(noisy)


def test_long_tracks_are_filtered_in_blocks_without_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    time_s = uneven_times(150)
    values = torch.from_numpy(np.random.default_rng(1).normal(size=(150, 2)))
    monkeypatch.setattr(smoothing, "_BLOCK", 40)
    smooth = smooth_values(values, time_s, DEVIATION_S)
    torch.testing.assert_close(smooth, gaussian_matrix(time_s, DEVIATION_S) @ values)


def test_no_smoothing_and_single_frames_change_nothing() -> None:
    values, rotmat = torch.randn(5, 3), random_rotations(5, 24)
    assert smooth_values(values, times(5, 30), 0.0) is values
    assert smooth_rotations(rotmat, times(5, 30), 0.0) is rotmat
    assert smooth_values(values[:1], times(1, 30), DEVIATION_S).equal(values[:1])
    assert gaussian_matrix(times(3, 30), 0.0).equal(torch.eye(3, dtype=torch.float64))
