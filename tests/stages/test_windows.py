import math

import numpy as np
import pytest
import torch

from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.geometry.rotations import rotvec_to_rotmat
from dtsvibe_cli.models.dts_vibe import Theta
from dtsvibe_cli.stages.windows import (
    Stitched,
    Stitcher,
    Windows,
    blend_weights,
    choose_stride,
    cut_windows,
)

LENGTH = 16


def stitch(theta: Theta, windows: Windows, num_frames: int, seen: torch.Tensor) -> Stitched:
    stitcher = Stitcher(num_frames, seen)
    stitcher.add(theta, windows)
    return stitcher.result()


@pytest.mark.parametrize("stride", range(1, LENGTH + 1))
def test_every_frame_is_in_a_window(stride: int) -> None:
    for num_frames in range(1, 70):
        windows = cut_windows(num_frames, LENGTH, stride)
        assert set(windows.rows[windows.valid]) == set(range(num_frames))
        assert windows.rows.shape == windows.valid.shape == (len(windows.rows), LENGTH)
        assert windows.rows[-1].max() == num_frames - 1
        if num_frames >= LENGTH:
            assert windows.valid.all()
            assert (np.diff(windows.rows, axis=1) == 1).all()
            assert (np.diff(windows.rows[:, 0]) <= stride).all()
            assert len(windows.rows) == math.ceil((num_frames - LENGTH) / stride) + 1


def test_a_short_track_is_padded_with_its_last_frame() -> None:
    windows = cut_windows(3, 5, 2)
    assert windows.rows.tolist() == [[0, 1, 2, 2, 2]]
    assert windows.valid.tolist() == [[True, True, True, False, False]]


@pytest.mark.parametrize("stride", [0, LENGTH + 1])
def test_strides_that_leave_frames_out_are_refused(stride: int) -> None:
    with pytest.raises(ValueError, match=f"The stride is {stride}"):
        cut_windows(40, LENGTH, stride)


def test_weights_fall_towards_both_ends() -> None:
    weight = blend_weights(LENGTH)
    torch.testing.assert_close(weight, weight.flip(0))
    assert (weight[: LENGTH // 2].diff() > 0).all()
    assert weight[0] > 0


def linear_motion(windows: Windows) -> Theta:
    """Turning and moving evenly, the same in whichever window a frame is."""
    row = torch.from_numpy(windows.rows).float()
    axes = torch.nn.functional.normalize(torch.arange(72.0).view(24, 3) - 30, dim=-1)
    return Theta(
        full_pose=rotvec_to_rotmat(row[..., None, None] * 0.05 * axes),
        betas=torch.linspace(-1, 1, 10).expand(*row.shape, 10),
        camera=torch.stack([0.5 + 0.01 * row, 0.02 * row, 3 - 0.1 * row], dim=-1),
    )


@pytest.mark.parametrize("num_frames", [1, 2, 15, 16, 17, 50])
@pytest.mark.parametrize("stride", [1, 5, 16])
def test_windows_that_agree_are_put_together_unchanged(num_frames: int, stride: int) -> None:
    windows = cut_windows(num_frames, LENGTH, stride)
    seen = torch.ones(num_frames, dtype=torch.bool)
    whole = stitch(linear_motion(windows), windows, num_frames, seen)
    every_frame = Windows(
        rows=np.arange(num_frames)[None], valid=np.ones((1, num_frames), dtype=bool)
    )
    expected = linear_motion(every_frame)
    torch.testing.assert_close(whole.full_pose, expected.full_pose[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(whole.camera, expected.camera[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(whole.betas, torch.linspace(-1, 1, 10))


def test_where_windows_disagree_the_result_goes_over_smoothly() -> None:
    windows = cut_windows(24, LENGTH, 8)
    angle = torch.tensor([0.0, 0.8])[:, None].expand(2, LENGTH)
    axis = torch.tensor([0.0, 0.0, 1.0])
    theta = Theta(
        full_pose=rotvec_to_rotmat((angle[..., None] * axis)[:, :, None].expand(-1, -1, 24, -1)),
        betas=torch.zeros(2, LENGTH, 10),
        camera=angle[..., None].expand(-1, -1, 3),
    )
    whole = stitch(theta, windows, 24, torch.ones(24, dtype=torch.bool))
    found = torch.atan2(whole.full_pose[:, 0, 1, 0], whole.full_pose[:, 0, 0, 0])
    for values in (found, whole.camera[:, 0]):
        torch.testing.assert_close(values[:8], torch.zeros(8), atol=1e-6, rtol=0)
        torch.testing.assert_close(values[16:], torch.full((8,), 0.8), atol=1e-6, rtol=0)
        steps = values[7:17].diff()
        assert (steps > 0).all()
        assert steps.max() < 0.15  # nine small steps instead of one of 0.8


def test_padding_and_unseen_frames_have_no_say_in_the_figure() -> None:
    windows = cut_windows(6, LENGTH, 8)
    betas = torch.full((1, LENGTH, 10), 50.0)
    betas[0, :2] = 1.0
    seen = torch.tensor([True] * 2 + [False] * 4)
    theta = Theta(
        full_pose=torch.eye(3).expand(1, LENGTH, 24, 3, 3),
        betas=betas,
        camera=torch.ones(1, LENGTH, 3),
    )
    torch.testing.assert_close(stitch(theta, windows, 6, seen).betas, torch.ones(10))


@pytest.mark.parametrize("length", [1, 5, 8, 16, 128])
def test_windows_start_again_after_half_of_them_unless_it_is_said(length: int) -> None:
    assert choose_stride(None, length) == max(1, length // 2)
    assert choose_stride(length, length) == length
    for stride in (0, length + 1):
        with pytest.raises(ConfigError, match=f"it must be 1 to {length}"):
            choose_stride(stride, length)
