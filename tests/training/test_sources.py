from dataclasses import fields, replace

import pytest
import torch
from recorded import bank, simulator

from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.training.batches import BatchSource, TrainingBatch, concatenate
from dtsvibe_cli.training.sources import Mixture, Steps, recorded_poses


class Marked:
    """Simulated windows whose shape says which source they are from."""

    def __init__(self, mark: float) -> None:
        self.mark = mark
        self.simulator = simulator(window=4, flow_side=8)
        self.seeds: list[int] = []

    def batch(self, size: int, seed: int, *, vary: bool = True) -> TrainingBatch:
        self.seeds.append(seed)
        drawn = self.simulator.batch(size, seed, vary=vary)
        return replace(drawn, betas=torch.full_like(drawn.betas, self.mark))


def same(a: TrainingBatch, b: TrainingBatch) -> bool:
    return all(torch.equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))


def test_a_mixture_takes_its_share_from_each_source() -> None:
    mixture = Mixture({"motion": Marked(1), "3dpw": Marked(2)}, {"motion": 0.75, "3dpw": 0.25})
    assert isinstance(mixture, BatchSource)
    marks = mixture.batch(8, 0).betas[:, 0].tolist()
    assert marks == [1.0] * 6 + [2.0] * 2


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_shares_are_rounded_so_that_they_make_up_the_batch(size: int) -> None:
    names = ("a", "b", "c")
    mixture = Mixture({name: Marked(0) for name in names}, dict.fromkeys(names, 1.0))
    sizes = mixture.sizes(size)
    assert sum(sizes) == size
    assert max(sizes) - min(sizes) <= 1


def test_without_a_mix_all_sources_get_the_same() -> None:
    mixture = Mixture({"a": Marked(1), "b": Marked(2)}, {})
    assert mixture.sizes(6) == [3, 3]


def test_one_source_is_drawn_from_as_if_alone() -> None:
    alone = simulator(window=4, flow_side=8)
    assert same(Mixture({"motion": alone}, {}).batch(3, 5), alone.batch(3, 5))


def test_a_source_without_a_share_is_not_asked_and_none_sees_anothers_seed() -> None:
    sources = {name: Marked(0) for name in "abc"}
    Mixture(sources, {"a": 1.0, "b": 0.0, "c": 1.0}).batch(4, 9)
    assert sources["a"].seeds == [9]
    assert sources["b"].seeds == []
    assert sources["c"].seeds not in ([9], [])


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ({"motion": 1.0}, "names motion, but there is 3dpw, motion"),
        ({"motion": 1.0, "3dpv": 1.0}, "names 3dpv, motion"),
        ({"motion": -1.0, "3dpw": 1.0}, "must not be negative"),
        ({"motion": 0.0, "3dpw": 0.0}, "nor all zero"),
    ],
)
def test_a_mix_that_does_not_fit_is_refused(mix: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Mixture({"motion": Marked(1), "3dpw": Marked(2)}, mix)


def test_concatenated_batches_keep_their_windows() -> None:
    first, second = (simulator(window=4, flow_side=8).batch(2, seed) for seed in (0, 1))
    both = concatenate([first, second])
    for f in fields(both):
        assert torch.equal(getattr(both, f.name)[2:], getattr(second, f.name)), f.name


def test_recorded_poses_are_rotations_of_the_body_and_a_function_of_their_seed() -> None:
    drawn = recorded_poses(bank(), 5, 6, 0)
    assert drawn.shape == (5, 6, 23, 3, 3)
    eye = torch.eye(3).expand_as(drawn)
    torch.testing.assert_close(drawn @ drawn.mT, eye, atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.linalg.det(drawn), torch.ones(5, 6, 23))
    assert torch.equal(drawn, recorded_poses(bank(), 5, 6, 0))
    assert not torch.equal(drawn, recorded_poses(bank(), 5, 6, 1))


def steps(first: int = 0, process: int = 0, seed: int = 0) -> Steps:
    return Steps(
        simulator(window=4, flow_side=8),
        bank(),
        window=4,
        batch_size=2,
        seed=seed,
        steps=range(first, 6),
        process=process,
    )


def test_a_step_is_the_same_whenever_the_run_was_taken_up_again() -> None:
    whole, rest = steps(), steps(first=4)
    assert (len(whole), len(rest)) == (6, 2)
    assert same(whole[5].batch, rest[1].batch)
    recorded = whole[5].recorded
    assert recorded is not None
    assert torch.equal(recorded, rest[1].recorded)  # type: ignore[arg-type]


@pytest.mark.parametrize("other", [{"first": 1}, {"process": 1}, {"seed": 1}])
def test_steps_processes_and_seeds_draw_unlike_batches(other: dict[str, int]) -> None:
    a, b = steps()[0], steps(**other)[0]
    assert not torch.equal(a.batch.full_pose, b.batch.full_pose)
    assert a.recorded is not None
    assert b.recorded is not None
    assert not torch.equal(a.recorded, b.recorded)
