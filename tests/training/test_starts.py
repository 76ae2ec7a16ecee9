from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dtsvibe_cli.errors import WeightsError
from dtsvibe_cli.models.config import TINY
from dtsvibe_cli.models.dts_vibe import DtsVibe, build
from dtsvibe_cli.training.starts import freeze_convolutions, load_starts

MODEL = replace(TINY, v_cnn="resnet50", o_cnn="resnet50", bone_directions=False)


@pytest.fixture(scope="module")
def resnet() -> dict[str, Tensor]:
    from torchvision.models import resnet50

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        state: dict[str, Tensor] = resnet50(weights=None).state_dict()
    return state


@pytest.fixture
def network() -> DtsVibe:
    return build(MODEL)


def cnn(part: Any) -> nn.Module:
    module: nn.Module = part.cnn
    return module


@pytest.mark.parametrize("wrap", [dict, lambda s: {"model": s}, lambda s: {"state_dict": s}])
def test_both_streams_start_from_files(
    tmp_path: Path, network: DtsVibe, resnet: dict[str, Tensor], wrap: Any
) -> None:
    torch.save(wrap(resnet), tmp_path / "resnet.pt")
    load_starts(network, str(tmp_path / "resnet.pt"), str(tmp_path / "resnet.pt"))
    kernel = "layer3.1.conv2.weight"
    assert torch.equal(cnn(network.v_cnn).state_dict()[kernel], resnet[kernel])
    assert torch.equal(cnn(network.o_cnn).state_dict()[kernel], resnet[kernel])
    first = resnet["conv1.weight"].mean(1)  # averaged over colour
    torch.testing.assert_close(cnn(network.o_cnn).state_dict()["conv1.weight"][:, 1], first)


def test_streams_without_a_file_and_other_networks_are_left_alone(tmp_path: Path) -> None:
    for model in (MODEL, TINY):
        network, untouched = build(model), build(model).state_dict()
        load_starts(network, "", "")
        if model is TINY:
            load_starts(network, str(tmp_path / "none.pt"), str(tmp_path / "none.pt"))
        for name, value in network.state_dict().items():
            assert torch.equal(value, untouched[name]), name


def test_only_v_cnns_convolutions_are_frozen(network: DtsVibe) -> None:
    trained = {n for n, p in freeze_convolutions(network).named_parameters() if p.requires_grad}
    frozen = {n for n, _ in network.named_parameters()} - trained
    assert frozen == {n for n, _ in network.named_parameters() if n.startswith("v_cnn.cnn.")}
    assert all(p.requires_grad for p in freeze_convolutions(build(TINY)).parameters())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"nothing", "is no PyTorch weights file"),
        ({"conv1.weight": torch.zeros(64, 3, 7, 7)}, "holds no ResNet-50: it lacks bn1.bias"),
        ([1, 2], "holds no ResNet-50"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_file_of_something_else_is_named(
    tmp_path: Path, network: DtsVibe, content: Any, message: str
) -> None:
    path = tmp_path / "start.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(WeightsError, match=message):
        load_starts(network, str(path), "")


def test_a_smaller_network_under_the_same_names_is_refused(
    tmp_path: Path, network: DtsVibe, resnet: dict[str, Tensor]
) -> None:
    torch.save(resnet | {"conv1.weight": torch.zeros(8, 3, 7, 7)}, tmp_path / "small.pt")
    for files in ((str(tmp_path / "small.pt"), ""), ("", str(tmp_path / "small.pt"))):
        with pytest.raises(WeightsError, match=r"small\.pt holds no ResNet-50: its layers"):
            load_starts(network, *files)
