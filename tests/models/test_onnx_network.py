"""ONNX Runtime computes what torch computes, for every operation, size and batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from dtsvibe_cli.models import graph_network
from dtsvibe_cli.models.graph import (
    INPUT,
    Addition,
    Convolution,
    Doubling,
    Graph,
    MaxPooling,
    Operation,
    Sigmoid,
)
from dtsvibe_cli.models.graph_network import GraphNetwork
from dtsvibe_cli.models.onnx_network import OnnxNetwork

GENERATOR = torch.Generator().manual_seed(0)
WEIGHTS = {
    "wide": torch.randn(6, 3, 5, 3, generator=GENERATOR),
    "deep": torch.randn(6, 1, 3, 3, generator=GENERATOR),
    "bias": torch.randn(6, generator=GENERATOR),
}
OPERATIONS: tuple[Operation, ...] = (
    Convolution(
        inputs=(INPUT,), output="a", weight="wide", bias="bias", stride=(2, 1),
        padding=(0, 1, 1, 2), activation="relu6",
    ),
    Convolution(
        inputs=("a",), output="b", weight="deep", bias="bias", padding=(1, 1, 1, 1), groups=6,
        activation="relu",
    ),
    Addition(inputs=("a", "b"), output="c"),
    Addition(inputs=("c", "b"), output="d", activation="relu6"),
    MaxPooling(inputs=("d",), output="e", size=(2, 3), stride=(2, 1)),
    Doubling(inputs=("e",), output="f"),
    Sigmoid(inputs=("f",), output="g"),
)  # fmt: skip
GRAPH = Graph(operations=OPERATIONS, outputs={"map": "g", "sum": "c"})


def by_torch(image: Tensor) -> dict[str, Tensor]:
    """With gradients, which ONNX Runtime does not give."""
    return GraphNetwork(WEIGHTS, GRAPH)(image, ("map", "sum"))


@pytest.mark.parametrize("size", [(1, 16, 24), (3, 10, 8), (2, 33, 7)])
def test_every_operation_as_torch_does_it(size: tuple[int, int, int]) -> None:
    batch, height, width = size
    image = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))
    expected = by_torch(image)
    for name, result in zip(GRAPH.outputs, OnnxNetwork(GRAPH, WEIGHTS)(image), strict=True):
        assert result.shape == expected[name].shape
        torch.testing.assert_close(result, expected[name], atol=1e-4, rtol=1e-4)


def test_pictures_of_another_size_and_channels_last_are_fine() -> None:
    network = OnnxNetwork(GRAPH, WEIGHTS)
    for side in (12, 40, 12):
        image = torch.rand(1, 3, side, side).contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(network(image)[1], by_torch(image)["sum"], atol=1e-4, rtol=1e-4)


def test_a_batch_gives_each_picture_the_same_as_alone() -> None:
    network = OnnxNetwork(GRAPH, WEIGHTS)
    images = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    together = network(images)[0]
    assert torch.equal(together, torch.cat([network(image[None])[0] for image in images]))


def test_an_operation_without_counterpart_is_named() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Dance(Operation):
        def run(self, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
            return inputs[0]

    graph = Graph(operations=(Dance(inputs=(INPUT,), output="a"),), outputs={"x": "a"})
    with pytest.raises(NotImplementedError, match="Dance"):
        OnnxNetwork(graph, {})


def test_used_on_a_cpu_where_no_gradient_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Graph] = []

    class Counted(OnnxNetwork):
        def __init__(self, graph: Graph, weights: Mapping[str, Tensor]) -> None:
            made.append(graph)
            super().__init__(graph, weights)

    monkeypatch.setattr(graph_network, "OnnxNetwork", Counted)
    network, image = GraphNetwork(WEIGHTS, GRAPH), torch.rand(1, 3, 16, 16)
    network(image, ("sum",))
    assert not made
    with torch.inference_mode():
        for _ in range(2):
            network(image, ("sum",))
        assert [graph.outputs for graph in made] == [{"sum": "c"}], "made once, then kept"
        network.to(torch.float32)
        network(image, ("sum",))
        assert len(made) == 2, "weights that have moved are read again"
        network.lower_precision(torch.bfloat16)
        network(image, ("sum",))
    assert len(made) == 2, "32 bits only"
