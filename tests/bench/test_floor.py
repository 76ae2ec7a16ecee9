import pytest
import torch
from torch import nn

from dtsvibe_cli.bench.floor import cost_of, floor_of_network_path
from dtsvibe_cli.models.graph import INPUT, Addition, Convolution, Graph
from dtsvibe_cli.models.graph_network import GraphNetwork


def test_a_graph_is_counted_as_by_hand() -> None:
    tensors = {
        "w1": torch.zeros(8, 3, 3, 3), "b1": torch.zeros(8),
        "w2": torch.zeros(8, 1, 5, 5), "b2": torch.zeros(8),
    }  # fmt: skip
    operations = (
        Convolution(
            inputs=(INPUT,), output="a", weight="w1", bias="b1", stride=(2, 2), padding=(1, 1, 1, 1)
        ),
        Convolution(
            inputs=("a",), output="b", weight="w2", bias="b2", padding=(2, 2, 2, 2), groups=8
        ),
        Addition(inputs=("a", "b"), output="c"),
    )
    network = GraphNetwork(tensors, Graph(operations=operations, outputs={"sum": "c"})).to("meta")
    pictures = torch.empty(2, 3, 16, 24, device="meta").to(memory_format=torch.channels_last)
    cost = cost_of(lambda given: network(given, ("sum",)), pictures)
    cells = 2 * 8 * 12
    assert cost.multiply_adds == cells * 8 * (3 * 9) + cells * 8 * 25
    weights, read = 8 * 27 + 8 + 8 * 25 + 8, 2 * 3 * 16 * 24
    maps = 6 * cells * 8  # a and b written, a read twice, b once, c written
    assert cost.bytes_moved == 4 * (weights + read + maps)


def test_matrix_products_are_counted() -> None:
    cost = cost_of(nn.Linear(5, 7, bias=False, device="meta"), torch.empty(3, 5, device="meta"))
    assert cost.multiply_adds == 3 * 5 * 7
    assert cost.bytes_moved == 4 * (3 * 5 + 5 * 7 + 3 * 7)
    assert cost.times(0.5).multiply_adds == cost.multiply_adds / 2


def test_the_floor_of_lite() -> None:
    """BlazePose does most of the arithmetic, flow moves most of the bytes, half precision less."""
    cpu, cuda = floor_of_network_path("cpu"), floor_of_network_path("cuda")
    assert cpu["blazepose"].multiply_adds == pytest.approx(0.351e9, rel=0.01)
    assert max(cuda, key=lambda part: cuda[part].multiply_adds) == "blazepose"
    assert max(cuda, key=lambda part: cuda[part].bytes_moved) == "flow"
    assert cuda["blazepose"].multiply_adds == cpu["blazepose"].multiply_adds
    assert cuda["blazepose"].bytes_moved < 0.6 * cpu["blazepose"].bytes_moved
