import threading
import time
from collections.abc import Iterator

import pytest
import torch

from dtsvibe_cli import streaming
from dtsvibe_cli.streaming import (
    QUEUE_SIZE,
    Stages,
    map_in_threads,
    shared_cores,
    stop_if_told,
)


def counting(limit: int, made: list[int]) -> Iterator[int]:
    for number in range(limit):
        made.append(number)
        yield number


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def wait_until_still(made: list[int]) -> None:
    """Until nothing has been made for a moment."""
    last = -1
    while last != len(made):
        last = len(made)
        time.sleep(0.05)


def test_items_come_whole_and_in_order_through_several_stages() -> None:
    with Stages() as stages:
        numbers = stages.ahead(counting(200, []))
        squares = stages.ahead(number**2 for number in numbers)
        assert list(squares) == [number**2 for number in range(200)]


def test_a_stage_waits_when_nobody_takes_what_it_made() -> None:
    made: list[int] = []
    with Stages() as stages:
        numbers = stages.ahead(counting(100, made))
        wait_until_still(made)
        assert len(made) == QUEUE_SIZE + 1  # the queue, and one in the hand
        next(numbers)
        wait_until_still(made)
        assert len(made) == QUEUE_SIZE + 2


def test_leaving_early_stops_the_stages_and_closes_their_generators() -> None:
    closed: list[str] = []

    def stage(name: str, items: Iterator[int]) -> Iterator[int]:
        try:
            yield from items
        finally:
            closed.append(name)

    made: list[int] = []
    with Stages() as stages:
        first = stages.ahead(stage("first", counting(10**9, made)))
        second = stages.ahead(stage("second", first))
        assert next(second) == 0
    assert sorted(closed) == ["first", "second"]
    assert len(made) < 50


@pytest.mark.parametrize("error", [ValueError("the third"), KeyboardInterrupt()])
def test_an_error_comes_after_the_items_before_it(error: BaseException) -> None:
    def failing() -> Iterator[int]:
        yield from (0, 1)
        raise error

    seen: list[int] = []

    def read() -> None:
        with Stages() as stages:
            seen.extend(stages.ahead(stages.ahead(failing())))

    with pytest.raises(type(error)) as raised:
        read()
    assert raised.value is error
    assert seen == [0, 1]


def test_of_two_errors_the_one_met_first_in_the_stream_is_told() -> None:
    def failing_late() -> Iterator[int]:
        yield from range(3)
        raise ValueError("late in the stream, early in time")

    def read() -> None:
        with Stages() as stages:
            for number in stages.ahead(failing_late()):
                time.sleep(0.01)
                assert 1 / (1 - number)

    with pytest.raises(ZeroDivisionError):
        read()


def test_an_error_of_the_reader_stops_the_stages() -> None:
    def read() -> None:
        with Stages() as stages:
            next(stages.ahead(counting(10**9, [])))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read()


def test_an_endless_source_that_is_asked_by_a_stopped_stage_lets_go() -> None:
    """A stage that waits for the one before it is woken too."""
    asked = threading.Event()

    def slow() -> Iterator[int]:
        asked.wait()
        yield 0

    with Stages() as stages:
        stages.ahead(stages.ahead(slow()))
        asked.set()


def test_results_come_in_order() -> None:
    assert list(map_in_threads(lambda item: -item, range(50), most=3)) == [-k for k in range(50)]


def test_an_error_ends_the_work() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        assert torch.get_num_threads() == 1
        if item == 3:
            raise ValueError("the third")
        time.sleep(0.002)
        done.append(item)

    with pytest.raises(ValueError, match="the third"):
        list(map_in_threads(work, range(1000), most=2))
    assert len(done) < 1000


def test_maps_inside_maps_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "num_cores", lambda: 3)
    lock, at_work, most_at_work = threading.Lock(), 0, 0

    def inner(item: int) -> int:
        nonlocal at_work, most_at_work
        with lock:
            at_work += 1
            most_at_work = max(most_at_work, at_work)
        time.sleep(0.005)
        with lock:
            at_work -= 1
        return item

    def outer(item: int) -> list[int]:
        (first,) = map_in_threads(inner, [item], most=1)
        return [first, *map_in_threads(inner, range(6), most=4)]

    assert list(map_in_threads(outer, range(6), most=4)) == [[k, *range(6)] for k in range(6)]
    assert most_at_work == 3


def test_who_leaves_a_map_inside_a_map_stops_that_one_only() -> None:
    def outer(item: int) -> int:
        return next(iter(map_in_threads(lambda inner: item + inner, range(3), most=2)))

    assert list(map_in_threads(outer, range(5), most=2)) == list(range(5))


@pytest.mark.parametrize("error", [ValueError("the first"), KeyboardInterrupt()])
def test_an_error_stops_what_other_threads_are_at(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "num_cores", lambda: 3)
    steps: list[int] = []
    begun = threading.Event()

    def inner(item: int) -> None:
        if item == 1:
            begun.wait()
            raise error
        begun.set()
        for step in range(10_000):
            stop_if_told()
            steps.append(step)
            time.sleep(0.001)

    def work(item: int) -> None:
        list(map_in_threads(inner, range(20), most=4))

    with pytest.raises(type(error)) as raised:
        list(map_in_threads(work, range(3), most=4))
    assert raised.value is error
    assert len(steps) < 10_000
    stop_if_told()  # this thread works for nobody


def test_who_leaves_early_stops_the_threads() -> None:
    steps: list[int] = []

    def work(item: int) -> int:
        for step in range(10_000 if item else 0):
            stop_if_told()
            steps.append(step)
            time.sleep(0.001)
        return item

    results = map_in_threads(work, range(100), most=2)
    assert next(iter(results)) == 0
    del results
    assert len(steps) < 10_000


def test_threads_are_shared_out_and_given_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        with shared_cores(2):
            assert 1 <= torch.get_num_threads() <= 2
            with shared_cores(8):
                assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
