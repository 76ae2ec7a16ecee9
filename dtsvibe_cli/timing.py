"""How long each stage took.

A :class:`Stopwatch` adds up what one run's report tells. A :class:`Stage` marks a finer piece of
work, wherever it is done; marks cost nothing until somebody asks with :func:`recorded_stages`.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ContextDecorator, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

Item = TypeVar("Item")
Call = TypeVar("Call", bound=Callable[..., Any])


class Stopwatch:
    """Adds up seconds by name, from any thread."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the time inside the block."""
        started = time.perf_counter()
        try:
            with Stage(name):
                yield
        finally:
            took = time.perf_counter() - started
            with self._lock:
                self.seconds[name] = self.seconds.get(name, 0.0) + took

    def timed(self, name: str, function: Call) -> Call:
        """The same callable, its time counted."""

        def call(*args: Any, **keywords: Any) -> Any:
            with self(name):
                return function(*args, **keywords)

        return cast(Call, call)

    def timed_iterator(self, name: str, items: Iterable[Item]) -> Generator[Item]:
        """The same items, the time of getting each counted."""
        iterator = iter(items)
        try:
            while True:
                with self(name):
                    item = next(iterator, None)
                if item is None:
                    return
                yield item
        finally:
            if isinstance(items, Generator):
                items.close()


def added(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    """Seconds of two stopwatches, added by name."""
    return {name: first.get(name, 0.0) + second.get(name, 0.0) for name in {**first, **second}}


@dataclass
class _Open:
    """A stage under way in one thread."""

    name: str
    started_s: float
    started_cpu_s: float
    inner_s: float = 0.0
    """Of the stages inside it that are over."""
    inner_cpu_s: float = 0.0


class StageTimes:
    """Seconds by stage over all threads; what a stage inside another took counts for itself only.

    So the wall times of one thread add up to no more than the time that passed. Where threads
    overlap they may add up to more.

    Args:
        synchronize: Called at the end of each stage, to wait for what a device still computes.
    """

    def __init__(self, synchronize: Callable[[], None] | None = None) -> None:
        self.wall_s: dict[str, float] = {}
        self.cpu_s: dict[str, float] = {}
        """Of the marking thread alone: what its helpers compute (OpenMP, x264) is not in it."""
        self._synchronize = synchronize
        self._lock = threading.Lock()
        self._local = threading.local()

    def begin(self, name: str) -> None:
        """A stage begins in this thread."""
        self._stack().append(_Open(name, time.perf_counter(), time.thread_time()))

    def end(self) -> None:
        """The stage that began last in this thread ends."""
        stack = self._stack()
        if not stack:
            return  # it began before the recording
        if self._synchronize is not None:
            self._synchronize()
        stage = stack.pop()
        took_s = time.perf_counter() - stage.started_s
        took_cpu_s = time.thread_time() - stage.started_cpu_s
        if stack:
            stack[-1].inner_s += took_s
            stack[-1].inner_cpu_s += took_cpu_s
        own_s, own_cpu_s = took_s - stage.inner_s, took_cpu_s - stage.inner_cpu_s
        with self._lock:
            self.wall_s[stage.name] = self.wall_s.get(stage.name, 0.0) + own_s
            self.cpu_s[stage.name] = self.cpu_s.get(stage.name, 0.0) + own_cpu_s

    def _stack(self) -> list[_Open]:
        if not hasattr(self._local, "stack"):
            self._local.stack = []
        stack: list[_Open] = self._local.stack
        return stack


_recording: StageTimes | None = None


@contextmanager
def recorded_stages(synchronize: Callable[[], None] | None = None) -> Iterator[StageTimes]:
    """The times of all stages of this process while the block runs; see :class:`StageTimes`."""
    global _recording
    before, _recording = _recording, StageTimes(synchronize)
    try:
        yield _recording
    finally:
        _recording = before


class Stage(ContextDecorator):
    """Marks the work inside a ``with`` block, or of a decorated function, as one stage's."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        if _recording is not None:
            _recording.begin(self._name)

    def __exit__(self, *error: object) -> None:
        if _recording is not None:
            _recording.end()


def staged_items(name: str, items: Iterable[Item]) -> Iterator[Item]:
    """The same items, getting each marked as a stage's work."""
    iterator = iter(items)
    while True:
        with Stage(name):
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item
