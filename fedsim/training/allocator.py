"""Lets a training keep the memory it frees, because its next step takes as much again.

glibc hands large blocks back to the system at once and has them filled with zeros anew. A step
of training takes and frees hundreds of megabytes, so a sixth of its time goes there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
"""glibc's names for them in malloc.h, without ``M_``."""

KEEPING = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 2**26}
"""No block is mapped by itself, nothing is handed back, and the heap grows by 64 MiB."""

DEFAULTS = {MMAP_MAX: 65_536, TRIM_THRESHOLD: 2**17, TOP_PAD: 2**17}
"""What glibc begins with."""


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep freed memory in the process, and hand it back at the end; only glibc can.

    It changes no result.
    """
    libc = ctypes.CDLL(None)
    if not (hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim")):
        yield
        return
    _set(libc, KEEPING)
    try:
        yield
    finally:
        _set(libc, DEFAULTS)
        libc.malloc_trim(0)


def _set(libc: ctypes.CDLL, options: dict[int, int]) -> None:
    for option, value in options.items():
        libc.mallopt(option, value)
