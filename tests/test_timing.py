import threading
import time

import pytest

from dtsvibe_cli.timing import Stage, Stopwatch, recorded_stages, staged_items


@Stage("inner")
def work(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def test_a_stage_inside_another_counts_for_itself_only() -> None:
    started = time.perf_counter()
    with recorded_stages() as times, Stage("outer"):
        time.sleep(0.02)
        assert work(0.03) == 0.03
    passed = time.perf_counter() - started
    assert times.wall_s["inner"] >= 0.03
    assert times.wall_s["outer"] >= 0.02
    assert sum(times.wall_s.values()) <= passed
    assert all(times.cpu_s[name] >= 0 for name in ("inner", "outer"))


def test_stages_of_all_threads_add_up() -> None:
    with recorded_stages() as times:
        threads = [threading.Thread(target=work, args=(0.05,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert times.wall_s["inner"] >= 0.15


def test_only_what_is_asked_for_is_recorded() -> None:
    work(0.0)
    before = Stage("before")
    with before, recorded_stages() as times:
        work(0.0)
        before.__exit__()  # began before the recording: not counted, no error
    work(0.0)
    assert times.wall_s.keys() == {"inner"}


def test_a_stage_ends_with_an_error_too() -> None:
    with recorded_stages() as times:
        with pytest.raises(KeyError), Stage("outer"), Stage("fails"):
            raise KeyError
        work(0.0)
    assert times.wall_s.keys() == {"outer", "fails", "inner"}


def test_items_are_passed_on_and_only_getting_them_counts() -> None:
    with recorded_stages() as times:
        for item in staged_items("items", iter([None, 0, 1])):
            work(0.02)
            assert item in (None, 0, 1)
    assert times.wall_s["items"] < times.wall_s["inner"]


def test_synchronising_waits_at_the_end_of_each_stage() -> None:
    calls: list[None] = []
    with recorded_stages(lambda: calls.append(None)), Stage("outer"):
        work(0.0)
        work(0.0)
    assert len(calls) == 3


def test_a_stopwatch_marks_stages_as_well() -> None:
    watch = Stopwatch()
    with recorded_stages() as times, watch("decode"):
        work(0.01)
    assert times.wall_s.keys() == {"decode", "inner"}
    assert watch.seconds["decode"] >= times.wall_s["inner"]
