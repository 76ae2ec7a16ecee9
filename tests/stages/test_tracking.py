from collections.abc import Callable

import numpy as np
import pytest
from drawn_people import as_frame

from dtsvibe_cli.datatypes import Detections
from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.stages.tracking import TRACKERS, TrackedBox, Tracker, make_tracker

PICTURE = np.random.default_rng(0).integers(0, 255, (480, 800, 3), dtype=np.uint8)


@pytest.fixture(params=TRACKERS)
def new_tracker(request: pytest.FixtureRequest) -> Callable[[], Tracker]:
    return lambda: make_tracker(request.param, looks_per_second=7.5)


def _detections(centers: list[tuple[float, float]], size: float = 160.0) -> Detections:
    x, y = np.array(centers, dtype=np.float64).reshape(-1, 2).T
    half_width, half_height = size * 0.2, size / 2
    return Detections(
        boxes_xyxy=np.stack(
            [x - half_width, y - half_height, x + half_width, y + half_height], axis=1
        ),
        scores=np.full(len(centers), 0.6),
    )


def _follow(
    tracker: Tracker, looks: list[list[tuple[float, float]]], seed: int | None = None
) -> list[dict[int, int]]:
    """For each look the identity of each detection by its row, rows shuffled on the way."""
    generator = None if seed is None else np.random.default_rng(seed)
    ids = []
    for number, centers in enumerate(looks):
        order = np.arange(len(centers))
        if generator is not None:
            generator.shuffle(order)
        detections = _detections([centers[i] for i in order])
        people = tracker.update(as_frame(PICTURE, number * 4), detections)
        for person in people:
            assert person.detection_index is not None
            np.testing.assert_array_equal(
                person.box_xyxy, detections.boxes_xyxy[person.detection_index]
            )
        ids.append({int(order[_row(person)]): person.track_id for person in people})
    return ids


def _row(person: TrackedBox) -> int:
    assert person.detection_index is not None
    return person.detection_index


def _walkers(num_looks: int) -> list[list[tuple[float, float]]]:
    """Three people; between two looks one of them moves by almost a box's width."""
    return [[(700 - 55 * t, 150), (100 + 20 * t, 300), (500, 380)] for t in range(num_looks)]


def test_everybody_keeps_one_number(new_tracker: Callable[[], Tracker]) -> None:
    ids = _follow(new_tracker(), _walkers(10))
    assert all(look == ids[0] for look in ids), ids
    assert sorted(ids[0].values()) == [1, 2, 3]


def test_the_order_of_detections_does_not_matter(new_tracker: Callable[[], Tracker]) -> None:
    looks = _walkers(8)
    assert _follow(new_tracker(), looks) == _follow(new_tracker(), looks, seed=1)


def test_somebody_missed_for_three_looks_keeps_the_number(
    new_tracker: Callable[[], Tracker],
) -> None:
    looks = [[(700.0 - 30 * t, 200.0), (150.0, 350.0)] for t in range(12)]
    for t in (5, 6, 7):
        del looks[t][0]
    ids = _follow(new_tracker(), looks)
    assert ids[4] == ids[8] == ids[11]
    assert ids[6] == {0: ids[4][1]}


def test_somebody_who_falls_and_lands_keeps_the_number(new_tracker: Callable[[], Tracker]) -> None:
    heights = [100.0, 110, 135, 175, 230, 300, 300, 300, 300]
    ids = _follow(new_tracker(), [[(400.0, y)] for y in heights])
    assert {look[0] for look in ids} == {1}


def test_somebody_new_gets_a_new_number_at_once(new_tracker: Callable[[], Tracker]) -> None:
    looks: list[list[tuple[float, float]]] = [[(100, 200)], [(105, 200)], [(110, 200), (600, 250)]]
    ids = _follow(new_tracker(), looks)
    assert ids[2] == {0: 1, 1: 2}


def test_somebody_gone_for_long_is_somebody_new(new_tracker: Callable[[], Tracker]) -> None:
    looks: list[list[tuple[float, float]]] = [[(100, 200)]] * 3 + [[]] * 12 + [[(110, 200)]]
    ids = _follow(new_tracker(), looks)
    assert ids[2] == {0: 1}
    assert ids[8] == {}
    assert ids[-1] == {0: 2}


def test_trackers_do_not_share_numbers(new_tracker: Callable[[], Tracker]) -> None:
    first, second = new_tracker(), new_tracker()
    assert _follow(first, _walkers(3))[0] == _follow(second, _walkers(3))[0]


def test_an_unknown_tracker_is_refused() -> None:
    with pytest.raises(ConfigError, match="no tracker 'sort'; choose one of bytetrack, botsort"):
        make_tracker("sort")
