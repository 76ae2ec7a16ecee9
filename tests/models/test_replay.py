import pytest
import torch
from drawn_figures import draw_people
from torch import Tensor

from dtsvibe_cli.models.blazepose import load_blazepose
from dtsvibe_cli.models.replay import BATCH_SIZES, Replayed


class Remembering:
    """A function of a batch that keeps the sizes it is called with."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        self.sizes.append(len(first))
        return first.flatten(1).sum(1, keepdim=True) + second, second * 2


@pytest.mark.parametrize(
    ("num", "sizes"),
    [
        (1, [1]),
        (2, [2]),
        (3, [4]),
        (5, [8]),
        (17, [32]),
        (32, [32]),
        (33, [32, 1]),
        (70, [32, 32, 8]),
    ],
)
def test_batches_come_in_a_few_sizes(num: int, sizes: list[int]) -> None:
    function = Remembering()
    replayed = Replayed(function)
    given = torch.rand(num, 3, 4), torch.rand(num, 2)
    results = replayed(*given)
    assert function.sizes == sizes
    assert set(sizes) <= set(BATCH_SIZES)
    for result, expected in zip(results, Remembering()(*given), strict=True):
        torch.testing.assert_close(result, expected)


def test_results_do_not_change_with_the_next_call() -> None:
    replayed = Replayed(Remembering())
    first = replayed(torch.ones(1, 2), torch.ones(1, 2))
    replayed(torch.zeros(1, 2), torch.zeros(1, 2))
    assert first[1].tolist() == [[2, 2]]


def test_a_network_does_not_see_how_its_batch_was_filled_up() -> None:
    """Three crops as the first of four."""
    network = load_blazepose().network
    picture = torch.from_numpy(draw_people(256, 256, ((18, 18, 220),))).permute(2, 0, 1) / 255
    crops = torch.stack([picture, picture.flip(2), picture.roll(20, 1)])
    names = ("landmarks", "world")
    replayed = Replayed(lambda image: tuple(network(image, names).values()))
    with torch.inference_mode():
        expected = network(crops, names)
        found = replayed(crops)
    for name, values in zip(names, found, strict=True):
        torch.testing.assert_close(values, expected[name], atol=2e-3, rtol=1e-4)


@pytest.mark.gpu
def test_a_graph_gives_what_the_function_gives() -> None:
    function = Remembering()
    replayed = Replayed(function)
    for seed in range(6):
        given = [torch.rand(3, 2, generator=torch.Generator().manual_seed(seed)).cuda()] * 2
        for result, expected in zip(replayed(*given), Remembering()(*given), strict=True):
            torch.testing.assert_close(result, expected)
    assert len(function.sizes) == 3  # twice as it is, once captured
