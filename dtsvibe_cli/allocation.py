"""How the C library's allocator treats large arrays, so that memory stays flat over long videos."""

import ctypes
import sys
from typing import Final

LARGE_BYTES: Final = 8 << 20
"""More than a frame of usual video, which is allocated again and again and best kept."""

KEPT_BYTES: Final = 64 << 20
"""Free memory at the end of a heap up to which it is kept for what comes next."""

NUM_HEAPS: Final = 1
"""All threads share one. By itself glibc gives every thread a heap of its own, up to eight a core,
and each keeps what its thread needed at the most, though threads seldom need it together."""

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8


def tune_allocator() -> bool:
    """Let glibc return every large array to the system as soon as it is freed, and only those.

    By itself it returns them only until the first one is freed: from then on arrays of up to that
    size (at most 32 MiB) come from a heap that later, smaller ones keep from shrinking. An hour's
    poses, filtered and written, would be held several times over.

    What is smaller is kept for the next frame: glibc, once told of the one, no longer finds out by
    itself that the end of its heap is wanted again and again, and the system would have to clear
    every page anew, which took a sixth of all the time.

    Returns:
        Whether this C library was told: others, and other systems, are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        tell = ctypes.CDLL(None).mallopt
        wishes = {
            _M_MMAP_THRESHOLD: LARGE_BYTES,
            _M_TRIM_THRESHOLD: KEPT_BYTES,
            _M_ARENA_MAX: NUM_HEAPS,
        }
        told = [bool(tell(parameter, value)) for parameter, value in wishes.items()]
        return all(told)
    except (AttributeError, OSError):  # musl has no mallopt
        return False


def give_freed_memory_back() -> bool:
    """Let glibc return what is free between the blocks in use.

    By itself it does so at the end of its heaps only, where something small always stays. Takes
    some milliseconds; worth it between stages that need memory for different things.

    Returns:
        Whether there was something to give back.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (AttributeError, OSError):  # musl has no malloc_trim
        return False
