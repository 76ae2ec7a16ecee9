import cv2
import numpy as np
import pytest
from synthetic import textured_picture

from dtsvibe_cli.stages.flow import CROP_SIDE_PX, DisFlow, FlowEstimator
from dtsvibe_cli.stages.torch_flow import TorchFlow
from dtsvibe_cli.training.flow_pairs import make_pair

INNER = np.s_[24:-24, 24:-24]  # what comes in at the edges was nowhere before


def shifted_pair(
    dx: int, dy: int, seed: int = 0, side: int = CROP_SIDE_PX
) -> tuple[np.ndarray, np.ndarray]:
    """A crop and the next one, in which the picture has moved by so many pixels."""
    large = textured_picture(side + 40, side + 40, seed=seed)
    before = large[20 : 20 + side, 20 : 20 + side]
    now = large[20 - dy : 20 - dy + side, 20 - dx : 20 - dx + side]
    return before[None], now[None]


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (3, 0), (0, -4), (-5, 2), (14, -11)])
def test_it_measures_how_far_the_picture_moved(dx: int, dy: int) -> None:
    estimator = TorchFlow()
    assert isinstance(estimator, FlowEstimator)
    flows = estimator(*shifted_pair(dx, dy))
    assert flows.shape == (1, 2, CROP_SIDE_PX, CROP_SIDE_PX)
    assert flows.dtype == np.float32
    (flow,) = flows * CROP_SIDE_PX
    for axis, moved in enumerate((dx, dy)):
        assert abs(np.median(flow[axis][INNER]) - moved) < 0.05
        assert np.percentile(np.abs(flow[axis][INNER] - moved), 90) < 0.2


def test_another_exposure_is_no_motion() -> None:
    before, now = shifted_pair(3, -2)
    brighter = np.clip(now * 1.25 + 12, 0, 255).astype(np.uint8)
    (flow,) = TorchFlow()(before, brighter) * CROP_SIDE_PX
    assert np.percentile(np.abs(flow[0][INNER] - 3), 90) < 0.3
    assert np.percentile(np.abs(flow[1][INNER] + 2), 90) < 0.3


def test_a_still_picture_without_detail_does_not_move() -> None:
    flat = np.full((1, 128, 128, 3), 90, np.uint8)
    assert np.abs(TorchFlow()(flat, flat)).max() < 1e-5


def test_crops_do_not_mix() -> None:
    first, second = shifted_pair(4, 0), shifted_pair(0, -3, seed=1)
    estimator = TorchFlow()
    both = estimator(*(np.concatenate(pair) for pair in zip(first, second, strict=True)))
    np.testing.assert_allclose(both[0], estimator(*first)[0], atol=1e-4)
    np.testing.assert_allclose(both[1], estimator(*second)[0], atol=1e-4)


@pytest.mark.parametrize("side", [96, 200])
def test_units_are_sides_whatever_the_size(side: int) -> None:
    (flow,) = TorchFlow()(*shifted_pair(6, 3, side=side))
    assert np.median(flow[0][INNER]) == pytest.approx(6 / side, rel=0.03)
    assert np.median(flow[1][INNER]) == pytest.approx(3 / side, rel=0.03)


def test_a_limb_that_moves_by_more_than_its_width_is_followed() -> None:
    """A plain bar, 10 pixels wide, 12 to the right over a still and textured ground."""
    before = textured_picture(128, 128) // 4 + 90
    now = before.copy()
    before[34:94, 40:50], now[34:94, 52:62] = (230, 60, 40), (230, 60, 40)
    before, now = (cv2.GaussianBlur(picture, (0, 0), 1) for picture in (before, now))
    (flow,) = TorchFlow()(before[None], now[None]) * 128
    assert np.median(flow[0][40:88, 54:60]) == pytest.approx(12, abs=0.3)
    assert np.abs(flow[:, :, :20]).max() < 0.7
    assert np.abs(flow[:, :, -30:]).max() < 0.3


def test_on_drawn_people_it_is_better_than_dis() -> None:
    pairs = [make_pair(seed) for seed in range(3)]
    before, now = (np.stack([getattr(pair, name) for pair in pairs]) for name in ("before", "now"))
    true = np.stack([pair.flow_px for pair in pairs])
    person = np.stack([pair.person for pair in pairs])

    def errors(estimator: FlowEstimator) -> tuple[float, float]:
        error = np.linalg.norm(estimator(before, now) * 128 - true, axis=1)
        return float(error.mean()), float(error[person].mean())

    ours, dis = errors(TorchFlow()), errors(DisFlow())
    assert ours[0] < dis[0]
    assert ours[1] < 0.85 * dis[1]


@pytest.mark.gpu
def test_cuda_gives_what_the_cpu_gives() -> None:
    pair = shifted_pair(5, -3)
    cpu, cuda = TorchFlow("cpu")(*pair), TorchFlow("cuda")(*pair)
    assert np.median(np.abs(cpu - cuda)) * CROP_SIDE_PX < 0.02
