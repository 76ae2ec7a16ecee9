"""How much memory a piece of work takes at its peak."""

import threading
import time
from types import TracebackType
from typing import Final

import psutil

SAMPLE_EVERY_S: Final = 0.02
CHILDREN_EVERY_S: Final = 1.0
"""Looking for child processes means reading the whole process table."""
_MIB: Final = 1024 * 1024


class PeakMemory:
    """Samples the resident memory of this process and its children while the block runs.

    Pages that children share with their parent are counted for each.
    """

    def __init__(self) -> None:
        self.peak_mib = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        own = psutil.Process()
        family: list[psutil.Process] = [own]
        looked_s = -CHILDREN_EVERY_S
        while True:
            done = self._done.is_set()  # one sample more after the work, so that none has none
            if time.monotonic() - looked_s >= CHILDREN_EVERY_S:
                family, looked_s = [own, *own.children(recursive=True)], time.monotonic()
            self.peak_mib = max(self.peak_mib, sum(map(_resident, family)) / _MIB)
            if done:
                return
            self._done.wait(SAMPLE_EVERY_S)


def _resident(process: psutil.Process) -> int:
    """Bytes; 0 of a process that has ended meanwhile."""
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
