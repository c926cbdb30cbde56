"""Spreads the rows of a batch over threads.

Kernels release the interpreter lock and treat every row alone, so the result is the same
whatever the number of threads; torch's own setting says how many to use.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

from fedsim.cores import one_thread

MIN_ROWS = 32
"""Fewer rows than this for a thread are not worth waking it."""


def over_rows(kernel: Callable[[int, int], None], rows: int) -> None:
    """Call ``kernel(start, stop)`` on parts that cover all rows, one part a thread."""
    parts = min(torch.get_num_threads(), max(1, rows // MIN_ROWS))
    if parts == 1:
        kernel(0, rows)
        return
    edges = [rows * part // parts for part in range(parts + 1)]
    list(_pool(parts).map(kernel, edges[:-1], edges[1:]))


def over_blocks(kernel: Callable[[int, int], None], rows: int, size: int) -> None:
    """Call ``kernel(start, stop)`` on blocks of at most `size` rows, several at a time.

    Each block's torch calls run on one thread.
    """
    threads = torch.get_num_threads()
    starts = range(0, rows, size)
    stops = [min(start + size, rows) for start in starts]
    if threads == 1 or len(starts) == 1:
        list(map(kernel, starts, stops))
        return
    with one_thread():
        list(_pool(threads).map(kernel, starts, stops))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="fedsim-kernel")
