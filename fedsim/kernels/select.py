"""Which elements of a layer a diet keeps: the top of |score x row weight|, as packed bits.

Exact on float32, ties by lowest index, little end first (see `fedsim.layout`). The bits of
a non-negative float order as the float does, so the threshold is found by searching the
31-bit integers between two that are known to keep too many and too few; each step counts a
row, which compiles to a few vector instructions. The search starts near the threshold of
the row before and interpolates, which changes how fast it is and never what it finds.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from fedsim.errors import DataError
from fedsim.kernels.threads import over_rows

INFINITY = np.int32(0x7F800000)


def kept_count(size: int, keep: float) -> int:
    """Return how many of a layer's elements a kept fraction means, at least one.

    >>> kept_count(4096, 0.1)
    410
    """
    return max(1, round(size * keep))


def select(
    scores: NDArray[np.float32],
    row_weights: NDArray[np.float32] | None,
    keep: int,
    *,
    backend: Literal["numba", "torch"] = "numba",
) -> NDArray[np.uint8]:
    """Return the `keep` largest of |scores x row weights| of every row, as packed bits.

    Parameters
    ----------
    scores
        float32 (B, n): a layer's elements, row-major.
    row_weights
        float32 (B, rows), each weighing n / rows elements in a row; None means all 1.
    keep
        Elements kept, 0 <= keep <= n. Equal ones are kept by lowest index.
    backend
        Both give the same bits.

    Returns
    -------
    ndarray
        uint8 (B, n / 8 rounded up); bits past the last element are zero.

    Raises
    ------
    DataError
        A score is not a number, or `keep` is out of range.
    """
    count, size = scores.shape
    if not 0 <= keep <= size:
        raise DataError(f"keep = {keep} of {size} elements; give 0 <= keep <= {size}")
    packed = np.empty((count, -(-size // 8)), np.uint8)
    if backend == "torch":
        mask = top_mask(
            torch.from_numpy(scores),
            None if row_weights is None else torch.from_numpy(row_weights),
            keep,
        )
        return np.packbits(mask.numpy(), axis=1, bitorder="little")
    select_into(scores, row_weights, keep, packed)
    return packed


def select_into(
    scores: NDArray[np.float32],
    row_weights: NDArray[np.float32] | None,
    keep: int,
    packed: NDArray[np.uint8],
) -> None:
    """Like `select`, written into `packed`, which may be a slice of wider rows."""
    scores = np.ascontiguousarray(scores, np.float32)
    weights = all_ones(len(scores)) if row_weights is None else np.ascontiguousarray(row_weights)
    bad = np.full(1, -1, np.int64)
    over_rows(lambda a, z: _select(scores, weights, keep, packed, bad, a, z), len(scores))
    check_numbers(bad)


def top_mask(scores: torch.Tensor, row_weights: torch.Tensor | None, keep: int) -> torch.Tensor:
    """Return the selection as bool (B, n), by torch alone; on any device.

    Raises
    ------
    DataError
        A score is not a number.
    """
    size = scores.detach().abs()
    if row_weights is not None:
        by_row = scores.detach().view(*row_weights.shape, -1)
        size = (by_row * row_weights.detach()[..., None]).abs().flatten(1)
    nan = size.isnan().any(1)
    if bool(nan.any()):
        check_numbers(nan.nonzero()[0].numpy())
    order = size.sort(dim=1, descending=True, stable=True).indices[:, :keep]
    return torch.zeros_like(size, dtype=torch.bool).scatter_(1, order, True)


def check_numbers(bad: NDArray[np.int64]) -> None:
    """Raise where ``bad[0]`` names a row of the batch that holds a NaN."""
    if bad[0] >= 0:
        raise DataError(
            f"score of row {bad[0]} of the batch is nan, which has no order; "
            "look for diverged training (lower train.lr) or damaged weights"
        )


def all_ones(rows: int) -> NDArray[np.float32]:
    """Return row weights that weigh nothing: one row of weight 1 for each of the batch."""
    return np.ones((rows, 1), np.float32)


@njit(cache=True, nogil=True)
def _select(scores, weights, keep, packed, bad, start, stop):  # type: ignore[no-untyped-def]
    size, flags, near = scratch(scores.shape[1])
    for b in range(start, stop):
        weigh(scores[b], weights[b], size)
        if keep_flags(size, keep, flags, near):
            pack(flags, packed[b])
        else:
            bad[0] = b


@njit(cache=True)
def scratch(size):  # type: ignore[no-untyped-def]
    """Return what `keep_flags` works in: sizes, flags, and where the last search ended."""
    rounded = -(-size // 8) * 8
    return np.full(rounded, -1.0, np.float32), np.empty(rounded, np.uint8), np.array([0, 1 << 13])


@njit(cache=True)
def weigh(scores, weights, size):  # type: ignore[no-untyped-def]
    """Write |score x row weight| of one row of the batch to `size`."""
    columns = len(scores) // len(weights)
    for row in range(len(weights)):
        part = scores[row * columns : (row + 1) * columns]
        into = size[row * columns : (row + 1) * columns]
        weight = weights[row]
        for j in range(len(part)):
            into[j] = abs(part[j] * weight)


@njit(cache=True)
def keep_flags(size, keep, flags, near):  # type: ignore[no-untyped-def]
    """Write 1 to `flags` for the `keep` largest of `size`; return False if one is NaN."""
    bits = size.view(np.int32)
    top = np.int32(-1)
    for i in range(len(bits)):
        top = max(top, bits[i])
    if top > INFINITY:
        return False
    low, spare = threshold(bits, keep, top, near)
    for i in range(len(bits)):
        flags[i] = bits[i] >= low
    i = len(bits)
    while spare > 0:
        i -= 1
        if bits[i] == low:
            flags[i] = 0
            spare -= 1
    return True


@njit(cache=True)
def count_from(bits, low):  # type: ignore[no-untyped-def]
    """Count the elements of int32 (n) that are at least `low`."""
    count = np.int32(0)
    for i in range(len(bits)):
        count = np.int32(count + np.int32(bits[i] >= low))
    return int(count)


@njit(cache=True)
def threshold(bits, keep, top, near):  # type: ignore[no-untyped-def]
    """Return t and how many elements >= t are too many: 0 unless equals tie at t.

    `bits` are the bits of non-negative floats (int32; -1 never counts), `top` the largest;
    `near` holds the last threshold and about how many integers lie between neighbours.
    """
    if keep == 0:
        return np.int32(top + 1), 0
    low, many = 0, len(bits)
    high, few = np.int64(top) + 1, 0
    middle, tries = near[0], 0
    while high - low > 1:
        if middle <= low or middle >= high:
            middle = low + (high - low) // 2
        found = count_from(bits, np.int32(middle))
        if found == keep:
            near[0] = middle
            return np.int32(middle), 0
        if found > keep:
            low, many = middle, found
        else:
            high, few = middle, found
        tries += 1
        if many < len(bits) and few > 0 and tries % 4:
            gap = (high - low) // (many - few)
            middle = low + gap * (many - keep)
            near[1] += (gap - near[1]) // 8
        else:
            middle = middle + (found - keep) * near[1] * 5 // 4 if tries < 4 else -1
    near[0] = low
    return np.int32(low), count_from(bits, np.int32(low)) - keep


@njit(cache=True)
def pack(flags, out):  # type: ignore[no-untyped-def]
    """Pack bytes of 0 and 1 into bits, little end first; eight bytes at a time."""
    words = flags.view(np.uint64)
    for i in range(len(words)):
        out[i] = np.uint8((words[i] * np.uint64(0x0102040810204080)) >> np.uint64(56))
