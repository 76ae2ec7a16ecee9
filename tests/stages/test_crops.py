import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import textured_picture

from dtsvibe_cli.stages.crops import CpuFrame, DeviceFrame, cut, cut_batch, frame_opener

HEIGHT, WIDTH = 120, 170


def smooth_picture(seed: int) -> np.ndarray:
    """Colours that change by a few levels from pixel to pixel."""
    noise = np.random.default_rng(seed).random((HEIGHT, WIDTH, 3))
    blurred = cv2.GaussianBlur(noise, (0, 0), 4)
    low, high = blurred.min(), blurred.max()
    return ((blurred - low) / (high - low) * 255).astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 5),
    side=st.sampled_from([32, 64, 97]),
    crops=st.lists(
        st.tuples(
            st.floats(-40, WIDTH + 40),  # partly, or wholly, outside
            st.floats(-40, HEIGHT + 40),
            st.floats(10, 260),
            st.floats(-np.pi, np.pi),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_the_grid_sample_agrees_with_opencv(
    seed: int, side: int, crops: list[tuple[float, float, float, float]]
) -> None:
    rgb = smooth_picture(seed)
    expected = np.stack([cut(rgb, np.array(crop), side) for crop in crops])
    sampled = cut_batch(torch.from_numpy(rgb), np.array(crops), side)
    assert sampled.dtype == torch.uint8
    apart = np.abs(sampled.numpy().astype(int) - expected)
    assert apart.max() <= 2
    assert apart.mean() < 0.3


def test_an_unscaled_crop_is_the_picture_itself() -> None:
    rgb = torch.from_numpy(textured_picture(80, 100))
    crops = np.array([[50.0, 40.0, 32.0, 0.0], [0.0, 40.0, 40.0, 0.0]])
    inside, _ = cut_batch(rgb, crops[:1].repeat(2, 0), 32)
    torch.testing.assert_close(inside, rgb[24:56, 34:66])
    beyond = cut_batch(rgb, crops[1:], 40)[0]
    torch.testing.assert_close(beyond[:, :20], rgb[20:60, :1].expand(-1, 20, -1))
    torch.testing.assert_close(beyond[:, 20:], rgb[20:60, :20])


def test_a_frame_is_uploaded_once_and_only_when_it_is_looked_at() -> None:
    rgb = textured_picture(80, 100)
    frame = DeviceFrame(rgb, "cpu")
    crop = np.array([50.0, 40.0, 32.0, 0.3])
    before = frame.cut([crop], 32)
    rgb[:] = 0  # the frame has its copy
    torch.testing.assert_close(frame.cut([crop], 32), before)
    assert not DeviceFrame(rgb, "cpu").cut([crop], 32).any()


@pytest.mark.parametrize(("device", "kind"), [("cpu", CpuFrame), ("cuda:0", DeviceFrame)])
def test_frames_are_opened_where_the_networks_are(device: str, kind: type) -> None:
    assert isinstance(frame_opener(device)(textured_picture(8, 8)), kind)
