import cv2
import numpy as np
import pytest

from dtsvibe_cli.training.flow_pairs import FlowPair, make_pair

SEEDS = range(3)


@pytest.fixture(scope="module")
def pairs() -> list[FlowPair]:
    return [make_pair(seed) for seed in SEEDS]


def test_a_pair_is_a_function_of_its_seed(pairs: list[FlowPair]) -> None:
    again = make_pair(0)
    np.testing.assert_array_equal(pairs[0].before, again.before)
    np.testing.assert_array_equal(pairs[0].now, again.now)
    np.testing.assert_array_equal(pairs[0].flow_px, again.flow_px)
    assert np.abs(pairs[0].now.astype(int) - pairs[1].now).mean() > 5


@pytest.mark.parametrize("part", ["person", "ground"])
def test_flow_leads_back_to_what_looks_alike(pairs: list[FlowPair], part: str) -> None:
    """The earlier picture, moved along the flow, is the later one where nothing is hidden."""
    for pair in pairs:
        y, x = np.mgrid[:128, :128].astype(np.float32)
        dx, dy = pair.flow_px.astype(np.float32)
        warped = cv2.remap(pair.before, x - dx, y - dy, cv2.INTER_LINEAR).astype(float)
        kernel = np.ones((5, 5), np.uint8)
        mask = cv2.erode((pair.person == (part == "person")).astype(np.uint8), kernel) > 0
        mask &= (x - dx > 2) & (x - dx < 125) & (y - dy > 2) & (y - dy < 125)
        exposure = warped[mask].mean() / pair.now[mask].mean()
        after = np.median(np.abs(warped / exposure - pair.now).mean(-1)[mask])
        assert after < 7  # noise and compression


def test_the_person_moves_otherwise_than_the_ground(pairs: list[FlowPair]) -> None:
    for pair in pairs:
        assert 0.03 < pair.person.mean() < 0.6
        apart = pair.flow_px[:, pair.person].mean(1) - pair.flow_px[:, ~pair.person].mean(1)
        assert np.linalg.norm(apart) > 0.2
        assert np.linalg.norm(pair.flow_px, axis=0).max() < 64


def test_smaller_crops_show_the_same(pairs: list[FlowPair]) -> None:
    small = make_pair(0, side=64)
    mask = cv2.resize(pairs[0].person.astype(np.float32), (64, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(mask - small.person).mean() < 0.02
    halved = pairs[0].flow_px[:, ::2, ::2] / 2
    both = small.person & pairs[0].person[::2, ::2]
    assert np.median(np.abs(halved - small.flow_px)[:, both]) < 0.1
