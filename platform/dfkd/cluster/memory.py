"""How a training process asks for memory."""

from __future__ import annotations

import ctypes

# Numbers of <malloc.h>, the GNU C library's.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGEST_FROM_HEAP = 32 << 20  # bytes; the library's own maximum on 64 bits
KEPT = 1 << 30  # bytes at the heap's end


def keep_freed_memory() -> bool:
    """Have the GNU C library keep up to 1 GiB of what is freed for what is asked for next; other libraries do nothing.

    A training step frees what the next one asks for again, and by default every tensor above some megabytes, and the
    end of the heap, go back to the system each time: the next step then pays for fresh pages, one fault for 4 KiB
    (docs/findings.md has what that costs). The process keeps its peak, as it does on a GPU. In a thread
    other than the first a training run kept less, unless the process was started with ``MALLOC_ARENA_MAX=1``.

    Returns:
        Whether the library took it.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl and Windows have none
        return False
    return bool(mallopt(TRIM_THRESHOLD, KEPT)) and bool(mallopt(MMAP_THRESHOLD, LARGEST_FROM_HEAP))
