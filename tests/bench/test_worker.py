import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from dtsvibe_cli.bench.memory import PeakMemory
from dtsvibe_cli.bench.worker import Worker, WorkerEndedError
from dtsvibe_cli.errors import VideoError
from dtsvibe_cli.video import probe


def test_functions_run_in_another_process_that_stays() -> None:
    with Worker() as worker:
        first, second = worker.run(os.getpid), worker.run(os.getpid)
    assert first == second != os.getpid()


def test_errors_come_back_and_the_worker_goes_on(tmp_path: Path) -> None:
    with Worker() as worker:
        with pytest.raises(VideoError, match="does not exist"):
            worker.run(probe, tmp_path / "none.mp4")
        assert worker.run(sum, [1, 2]) == 3


def test_a_process_that_ends_is_told() -> None:
    with Worker() as worker, pytest.raises(WorkerEndedError, match=r"exit code 9.*memory"):
        worker.run(os._exit, 9)


def test_peak_memory_is_that_of_the_block() -> None:
    with PeakMemory() as before:
        pass
    with mmap.mmap(-1, 64 * 1024 * 1024) as block:  # never memory that was freed before
        block.write(b"x" * len(block))
        with PeakMemory() as during:
            pass
    assert before.peak_mib > 10
    assert during.peak_mib > before.peak_mib + 60


def test_children_are_counted() -> None:
    with PeakMemory() as alone:
        pass
    with Worker() as worker:
        worker.run(np.ones, 16)  # the child has numpy by now
        with PeakMemory() as both:
            pass
    assert both.peak_mib > alone.peak_mib + 10
