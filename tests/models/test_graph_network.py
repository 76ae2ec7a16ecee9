import json

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dtsvibe_cli.errors import WeightsError
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

TENSORS = {
    "w1": torch.linspace(-1, 1, 4 * 3 * 9, dtype=torch.float16).reshape(4, 3, 3, 3),
    "b1": torch.tensor([0.1, -0.2, 0.3, 0.5], dtype=torch.float16),
    "w2": torch.linspace(1, -1, 4 * 9, dtype=torch.float16).reshape(4, 1, 3, 3),
    "b2": torch.zeros(4, dtype=torch.float16),
}
OPERATIONS: tuple[Operation, ...] = (
    Convolution(
        inputs=(INPUT,), output="a", weight="w1", bias="b1", stride=(2, 2), padding=(0, 1, 0, 1),
        activation="relu6",
    ),
    Convolution(
        inputs=("a",), output="b", weight="w2", bias="b2", padding=(1, 1, 1, 1), groups=4
    ),
    Addition(inputs=("a", "b"), output="c", activation="relu"),
    MaxPooling(inputs=("c",), output="d", size=(2, 2), stride=(2, 2)),
    Doubling(inputs=("d",), output="e"),
    Sigmoid(inputs=("d",), output="f"),
)  # fmt: skip
GRAPH = Graph(operations=OPERATIONS, outputs={"picture": "e", "confidence": "f"})


def by_hand(image: Tensor) -> dict[str, Tensor]:
    w = {name: tensor.float() for name, tensor in TENSORS.items()}
    a = F.conv2d(F.pad(image, (0, 1, 0, 1)), w["w1"], w["b1"], stride=2).clamp(0, 6)
    b = F.conv2d(a, w["w2"], w["b2"], padding=1, groups=4)
    d = F.max_pool2d((a + b).relu(), 2)
    return {"picture": F.interpolate(d, scale_factor=2, mode="bilinear"), "confidence": d.sigmoid()}


@pytest.mark.parametrize("batch", [1, 3])
def test_same_as_by_hand(batch: int) -> None:
    image = torch.rand(batch, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    found = GraphNetwork(TENSORS, GRAPH)(image, ("picture", "confidence"))
    for name, expected in by_hand(image).items():
        torch.testing.assert_close(found[name], expected)


def test_outputs_that_are_not_asked_for_are_not_computed() -> None:
    plan = GRAPH.needed_for(("confidence",))
    assert [op.output for op in plan.operations] == ["a", "b", "c", "d", "f"]
    image = torch.zeros(1, 3, 16, 16)
    assert GraphNetwork(TENSORS, GRAPH)(image, ("confidence",)).keys() == {"confidence"}


def test_what_stays_in_32_bits() -> None:
    assert GRAPH.final(None) == {"e", "f"}
    marked = Graph(operations=OPERATIONS, outputs={**GRAPH.outputs, "early": "b"})
    assert marked.final("early") == {"c", "d", "e", "f"}


def test_lower_precision_leaves_the_heads_alone() -> None:
    image = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    marked = Graph(operations=OPERATIONS, outputs={**GRAPH.outputs, "early": "a"})
    network = GraphNetwork(TENSORS, marked)
    network.lower_precision(torch.float16, until="early")
    kinds = {name: weights.dtype for name, weights in network.named_parameters()}
    half, full = torch.float16, torch.float32
    assert kinds == {"w1": half, "b1": half, "w2": full, "b2": full}
    with torch.inference_mode():
        found = network(image, ("picture", "confidence"))
    for name, expected in by_hand(image).items():
        assert found[name].dtype == torch.float32
        torch.testing.assert_close(found[name], expected, atol=5e-3, rtol=0)


def test_graph_survives_json() -> None:
    assert Graph.from_json(json.loads(json.dumps(GRAPH.to_json()))) == GRAPH


def test_parameters_are_frozen_and_32_bit() -> None:
    parameters = list(GraphNetwork(TENSORS, GRAPH).parameters())
    assert len(parameters) == len(TENSORS)
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in parameters)


@pytest.mark.parametrize(
    "damage",
    [
        {"operations": [{"kind": "dance", "inputs": [INPUT], "output": "a"}]},
        {"operations": [{"kind": "sigmoid", "inputs": [INPUT]}]},
        {"operations": [{"kind": "sigmoid", "inputs": [INPUT], "output": "a", "speed": 1}]},
        {"operations": [{"kind": "sigmoid", "inputs": "input", "output": 3}]},
        {"operations": 3},
        {"outputs": 3},
    ],
)
def test_json_that_is_no_graph_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(WeightsError, match="no network graph"):
        Graph.from_json({**GRAPH.to_json(), **damage})


def test_file_without_a_graph_is_refused() -> None:
    with pytest.raises(WeightsError, match="no network graph"):
        GraphNetwork.from_file(TENSORS, {"format": 1})


def without(name: str) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in TENSORS.items() if key != name}


@pytest.mark.parametrize(
    ("tensors", "graph", "reason"),
    [
        (without("w2"), GRAPH, "w2"),
        ({**TENSORS, "w3": torch.zeros(1)}, GRAPH, "w3"),
        ({**TENSORS, "b1": torch.zeros(5)}, GRAPH, "wrong shape"),
        ({**TENSORS, "w1": torch.zeros(4)}, GRAPH, "wrong shape"),
        (TENSORS, Graph(operations=OPERATIONS[::-1], outputs=GRAPH.outputs), "out of order"),
        (TENSORS, Graph(operations=OPERATIONS, outputs={"x": "z"}), "output"),
    ],
)
def test_tensors_must_fit_the_graph(tensors: dict[str, Tensor], graph: Graph, reason: str) -> None:
    with pytest.raises(WeightsError, match=reason):
        GraphNetwork(tensors, graph)
