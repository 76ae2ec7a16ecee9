"""Stages of work that run ahead of each other, each in a thread of its own.

    with Stages() as stages:
        frames = stages.ahead(read_frames(path))
        for person in stages.ahead(find_people(frames)):
            ...

A stage is an iterator. What it yields waits in a short queue; when that is full the stage waits
(back-pressure), so memory does not depend on the length of the stream. Items, and an error in place
of the next item, arrive in the order of the stream, exactly as without threads. Leaving the block,
for whatever reason, stops every stage and waits for its thread.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

QUEUE_SIZE: Final = 4
"""Items that wait between two stages: enough to even out, few enough to hold in memory."""


class _Stopped(BaseException):
    """Unwinds a thread that waits or works for others when all of them are stopped."""


class Stages:
    """The stages of one pass."""

    def __init__(self) -> None:
        self._stages: list[_Stage[object]] = []

    def ahead(self, items: Iterable[Item], queue_size: int = QUEUE_SIZE) -> Iterator[Item]:
        """The same items, made in a thread that begins at once.

        The thread is the only one that touches ``items``, and closes it in the end.
        """
        stage = _Stage(items, queue_size)
        self._stages.append(stage)  # type: ignore[arg-type]
        stage.start()
        return iter(stage)

    def __enter__(self) -> "Stages":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for stage in self._stages:
            stage.stop()
        for stage in self._stages:
            stage.join()


class _Stage(Generic[Item]):
    """One thread and the queue of what it has made."""

    def __init__(self, items: Iterable[Item], queue_size: int) -> None:
        self._items = items
        self._queue_size = queue_size
        self._made: deque[Item] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="dtsvibe stage", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end, and wake whoever waits for it."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        try:
            try:
                for item in self._items:
                    if not self._hand_over(item):
                        break
            finally:
                if isinstance(self._items, Generator):
                    self._items.close()
        except BaseException as error:  # whatever it is, the reader's thread shall raise it
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _hand_over(self, item: Item) -> bool:
        """Wait for room; False when nobody wants more."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._made) < self._queue_size)
            if not self._stopped:
                self._made.append(item)
                self._changed.notify_all()
            return not self._stopped

    def __iter__(self) -> Iterator[Item]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._made or self._ended or self._stopped)
                if self._stopped:
                    raise _Stopped
                if not self._made:
                    break
                item = self._made.popleft()
                self._changed.notify_all()
            yield item
            del item  # a picture that waits for nothing is not kept
        if self._error is not None:
            raise self._error


class _Crew:
    """The threads of a map, and of the maps inside it."""

    def __init__(self, most: int) -> None:
        self.at_work = threading.Semaphore(most)
        self.stopped = threading.Event()
        self.error: BaseException | None = None
        """What stopped it."""

    def stop(self, error: BaseException) -> None:
        """Let nobody begin or go on; the first error is the one that counts."""
        if not self.stopped.is_set():
            self.error = error
            self.stopped.set()


class _OfThisThread(threading.local):
    crew: _Crew | None = None


_MINE: Final = _OfThisThread()


def map_in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], *, most: int
) -> Iterator[Result]:
    """What the function makes of each item, in order; several at once, each on one core.

    Torch gains little by giving small tensors to two cores, and waits ten times as long where
    another program has one of them. The function may itself use this: there are then no more
    items in work than ``most`` and the cores allow, whatever is inside what. The first error,
    Ctrl-C, or nobody wanting more ends all of it as soon as :func:`stop_if_told` is called.
    """
    outer = _MINE.crew
    crew = outer or _Crew(min(most, num_cores()))

    def work(item: Item) -> Result:
        _MINE.crew = crew
        with crew.at_work:
            stop_if_told()
            try:
                return function(item)
            except BaseException as error:
                crew.stop(error)
                raise

    num_threads = max(1, min(most, len(items), num_cores()))
    pool = ThreadPoolExecutor(num_threads, "dtsvibe worker")
    with shared_cores(num_cores()):
        if outer:
            outer.at_work.release()  # who waits does not work
        try:
            futures = deque(pool.submit(work, item) for item in items)
            while futures:
                yield futures.popleft().result()
        except GeneratorExit as left:
            if not outer:
                crew.stop(left)
            raise
        except _Stopped:
            if not outer and crew.error:
                raise crew.error from None
            raise
        except BaseException as error:
            crew.stop(error)
            raise
        finally:
            pool.shutdown(cancel_futures=True)
            if outer:
                outer.at_work.acquire()


def stop_if_told() -> None:
    """Unwind a thread of :func:`map_in_threads` whose work is not wanted any more."""
    if _MINE.crew and _MINE.crew.stopped.is_set():
        raise _Stopped


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def shared_cores(busy_threads: int) -> Iterator[None]:
    """Torch and OpenCV take their share of the cores while several threads compute at once."""
    import cv2
    import torch

    before = torch.get_num_threads(), cv2.getNumThreads()
    share = max(1, min(before[0], num_cores()) // busy_threads)
    torch.set_num_threads(share)
    cv2.setNumThreads(share)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
