"""Memory of freed arrays goes back to the system."""

import subprocess
import sys

import pytest

from dtsvibe_cli.allocation import tune_allocator

_HELD_AFTER_FREEING = """
import sys
import numpy as np, psutil
from dtsvibe_cli.allocation import tune_allocator
if sys.argv[1] == "told":
    tune_allocator()
np.ones(30 << 20, np.uint8)  # from now on glibc by itself takes such blocks from the heap
before = psutil.Process().memory_info().rss
large, small = [], []
for _ in range(4):
    large.append(np.ones(20 << 20, np.uint8))
    small.append(bytearray(100_000))  # lies above it and keeps the heap from shrinking
large.clear()
print((psutil.Process().memory_info().rss - before) >> 20)
"""


def _printed(script: str, told: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", script, told],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(not tune_allocator(), reason="the C library is not glibc")
def test_large_arrays_are_given_back() -> None:
    assert _printed(_HELD_AFTER_FREEING, "told") < 10
    assert _printed(_HELD_AFTER_FREEING, "by itself") > 40, (
        "glibc does it by itself now: the call can go"
    )


_HELD_BETWEEN_SMALL_BLOCKS = """
import sys
import psutil
from dtsvibe_cli.allocation import give_freed_memory_back
process = psutil.Process()
before = process.memory_info().rss
blocks = [bytearray(100_000) for _ in range(500)]
small = [bytearray(100_000) for _ in range(500)][::50]  # some stay, all over the heap
del blocks
if sys.argv[1] == "told":
    give_freed_memory_back()
print((process.memory_info().rss - before) >> 20)
"""


@pytest.mark.skipif(not tune_allocator(), reason="the C library is not glibc")
def test_memory_freed_between_small_blocks_is_given_back() -> None:
    assert _printed(_HELD_BETWEEN_SMALL_BLOCKS, "told") < 10
    by_itself = _printed(_HELD_BETWEEN_SMALL_BLOCKS, "by itself")
    assert by_itself > 40, "glibc does it by itself now: the call can go"


_FAULTS_OF_FRAMES = """
import resource, sys
import numpy as np
from dtsvibe_cli.allocation import tune_allocator
if sys.argv[1] == "told":
    tune_allocator()
else:  # what the first freed large array does not change any more
    import ctypes
    ctypes.CDLL(None).mallopt(-3, 8 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(200):
    np.ones(3 << 20, np.uint8)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 1000)
"""


@pytest.mark.skipif(not tune_allocator(), reason="the C library is not glibc")
def test_memory_of_one_frame_serves_the_next() -> None:
    assert _printed(_FAULTS_OF_FRAMES, "told") < 10
    assert _printed(_FAULTS_OF_FRAMES, "by itself") > 100
