"""How long each stage took."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

Item = TypeVar("Item")
Call = TypeVar("Call", bound=Callable[..., Any])


class Stopwatch:
    """Adds up seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the time inside the block."""
        started = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + took

    def timed(self, name: str, function: Call) -> Call:
        """The same callable, its time counted."""

        def call(*args: Any, **keywords: Any) -> Any:
            with self(name):
                return function(*args, **keywords)

        return cast(Call, call)

    def timed_iterator(self, name: str, items: Iterator[Item]) -> Iterator[Item]:
        """The same items, the time of getting each counted."""
        while True:
            with self(name):
                item = next(items, None)
            if item is None:
                return
            yield item
