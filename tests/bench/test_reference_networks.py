import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dtsvibe_cli.bench import yolov3
from dtsvibe_cli.bench.reference_networks import (
    NanoDetector,
    VibeNetwork,
    make_detector,
    settle_statistics,
)
from dtsvibe_cli.bench.yolov3 import YoloV3


@pytest.fixture(scope="module")
def network() -> YoloV3:
    network = YoloV3()
    settle_statistics(network)
    return network


def test_yolov3_is_as_large_and_as_costly_as_published(network: YoloV3) -> None:
    assert sum(weights.numel() for weights in network.parameters()) == 61_949_149
    with FlopCounterMode(display=False) as flops, torch.device("meta"):
        meta = YoloV3().eval()
        meta(torch.zeros(1, 3, yolov3.SIDE_PX, yolov3.SIDE_PX))
    assert flops.get_total_flops() / 1e9 == pytest.approx(65.86, abs=0.02)  # as the report's table


def test_yolov3_finds_the_box_that_its_numbers_say(
    network: YoloV3, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = {
        stride: torch.full((1, 255, 416 // stride, 416 // stride), -9.0) for stride in (8, 16, 32)
    }
    for column in (4, 5):  # the second also in the next cell: the same person, removed
        cell = raw[16][0, 85:170, 10, column]
        cell[:4] = 0.0
        cell[4] = cell[5] = 5.0 - 0.1 * column
    monkeypatch.setattr(network, "forward", lambda pictures: raw)
    (found,) = network.find_people(torch.zeros(1, 3, 416, 416))
    width, height = 62, 45
    centre = (4.5 * 16, 10.5 * 16)
    expected = [
        centre[0] - width / 2, centre[1] - height / 2, centre[0] + width / 2, centre[1] + height / 2
    ]  # fmt: skip
    assert len(found) == 1
    assert found[0, :4].tolist() == pytest.approx(expected)


def test_no_layer_works_on_denormal_numbers(network: YoloV3) -> None:
    """They would make the reference slower than it is with trained weights."""
    sizes: list[float] = []
    hooks = [
        layer.register_forward_hook(
            lambda _, __, out: sizes.append(float(out.detach().abs().mean()))
        )
        for layer in network.modules()
        if isinstance(layer, torch.nn.Conv2d)
    ]
    network.find_people(torch.rand(1, 3, 96, 96))
    for hook in hooks:
        hook.remove()
    assert len(sizes) == 75
    assert min(sizes) > 1e-3  # the last layers give their bias
    assert max(sizes) < 1e3


@pytest.mark.parametrize("name", ["vibe", "nano"])
def test_untrained_detectors_find_nobody_at_full_cost(name: str) -> None:
    detector = make_detector("vibe" if name == "vibe" else "nano", "cpu")
    assert isinstance(detector, NanoDetector) == (name == "nano")
    picture = np.random.default_rng(0).integers(0, 255, (90, 160, 3)).astype(np.uint8)
    assert detector.find([picture]) == 0


def test_vibes_network_sees_a_whole_track() -> None:
    torch.manual_seed(0)
    network = VibeNetwork().eval()
    assert sum(weights.numel() for weights in network.cnn.parameters()) == 23_508_032
    features = network.look(torch.rand(2, 3, 64, 64))
    together, alone = network.move(features), network.move(features[1:])
    assert together.shape == (2, 157)
    assert not torch.equal(together[1], alone[0])  # the frame before matters
