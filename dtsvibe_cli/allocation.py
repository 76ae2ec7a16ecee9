"""How the C library's allocator treats large arrays, so that memory stays flat over long videos."""

import ctypes
import sys
from typing import Final

LARGE_BYTES: Final = 8 << 20
"""More than a frame of usual video, which is allocated again and again and best kept."""

_M_MMAP_THRESHOLD: Final = -3


def give_large_arrays_back() -> bool:
    """Let glibc return every large array to the system as soon as it is freed.

    By itself glibc does so only until the first one is freed: from then on arrays of up to that
    size (at most 32 MiB) come from a heap that later, smaller ones keep from shrinking. An hour's
    poses, filtered and written, would be held several times over.

    Returns:
        Whether this C library was told: others, and other systems, are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES))
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
