"""How long each stage took."""

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
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
