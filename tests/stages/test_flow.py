import re
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import textured_picture
from torchvision.models.optical_flow import raft_small

from dtsvibe_cli.errors import ConfigError, WeightsError
from dtsvibe_cli.stages.flow import (
    CROP_SIDE_PX,
    DeviceFlow,
    DisFlow,
    FlowEstimator,
    make_flow,
    shrink_flow,
    shrink_on_device,
)
from dtsvibe_cli.stages.raft_flow import RaftFlow
from dtsvibe_cli.stages.torch_flow import TorchFlow

SIDE = CROP_SIDE_PX
INNER = np.s_[16:-16, 16:-16]  # what comes in at the edges was nowhere before


def shifted_pair(dx: int, dy: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A crop and the next one, in which the picture has moved by so many pixels."""
    large = textured_picture(SIDE + 40, SIDE + 40, seed=seed)
    before = large[20 : 20 + SIDE, 20 : 20 + SIDE]
    now = large[20 - dy : 20 - dy + SIDE, 20 - dx : 20 - dx + SIDE]
    return before[None], now[None]


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (3, 0), (0, -4), (-5, 2), (7, 6)])
def test_dis_measures_how_far_the_picture_moved(dx: int, dy: int) -> None:
    (flow,) = DisFlow()(*shifted_pair(dx, dy)) * SIDE
    assert flow.shape == (2, SIDE, SIDE)
    assert abs(np.median(flow[0][INNER]) - dx) < 0.3
    assert abs(np.median(flow[1][INNER]) - dy) < 0.3
    assert np.percentile(np.abs(flow[0][INNER] - dx), 90) < 0.3


def test_crops_do_not_mix() -> None:
    first, second = shifted_pair(4, 0), shifted_pair(0, -3, seed=1)
    dis = DisFlow()
    both = dis(*(np.concatenate(pair) for pair in zip(first, second, strict=True)))
    np.testing.assert_array_equal(both[0], dis(*first)[0])
    np.testing.assert_array_equal(both[1], dis(*second)[0])


def test_shrinking_averages_cells() -> None:
    flow = np.random.default_rng(0).normal(size=(3, 2, 128, 128)).astype(np.float32)
    small = shrink_flow(flow, 32)
    expected = flow.reshape(3, 2, 32, 4, 32, 4).mean((3, 5))
    np.testing.assert_allclose(small, expected, atol=1e-5)


@pytest.mark.parametrize("side", [32, 64, 128])
def test_a_device_shrinks_as_opencv_does(side: int) -> None:
    flow = np.random.default_rng(0).normal(size=(3, 2, 128, 128)).astype(np.float32)
    small = shrink_on_device(torch.from_numpy(flow), side)
    np.testing.assert_allclose(small, shrink_flow(flow, side), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "device", "kind"),
    [
        ("auto", "cpu", DisFlow),
        ("auto", "cuda:0", TorchFlow),
        ("dis", "cuda", DisFlow),
        ("torch", "cpu", TorchFlow),
    ],
)
def test_names(name: str, device: str, kind: type) -> None:
    estimator = make_flow(name, device)
    assert isinstance(estimator, kind)
    assert isinstance(estimator, FlowEstimator)
    assert isinstance(estimator, DeviceFlow) == (kind is not DisFlow)


def test_raft_without_weights_says_what_to_give() -> None:
    with pytest.raises(ConfigError, match="RAFT comes without weights: give --flow their file"):
        make_flow("raft")


@pytest.mark.parametrize("name", ["rafts", "missing.pth"])
def test_neither_a_name_nor_a_file(name: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}': give auto, dis, torch, or a file"):
        make_flow(name)


def test_files_that_are_not_raft(tmp_path: Path) -> None:
    text = tmp_path / "raft.pth"
    text.write_text("no weights")
    other = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(3)}, other)
    for path in (text, other):
        with pytest.raises(WeightsError, match=f"{re.escape(str(path))} does not hold"):
            make_flow(str(path))


def test_raft_weights_are_loaded(tmp_path: Path) -> None:
    """Untrained, so only shape, units and repeatability can be checked."""
    torch.manual_seed(0)
    path = tmp_path / "raft_small.pth"
    torch.save(raft_small(weights=None).state_dict(), path)
    estimator = make_flow(str(path))
    assert isinstance(estimator, RaftFlow)
    pair = shifted_pair(2, 1)
    flow = estimator(*pair)
    assert flow.shape == (1, 2, SIDE, SIDE)
    assert flow.dtype == np.float32
    assert np.isfinite(flow).all()
    np.testing.assert_array_equal(flow, estimator(*pair))
