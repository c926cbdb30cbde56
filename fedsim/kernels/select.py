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
    weights = _all_ones(len(scores)) if row_weights is None else np.ascontiguousarray(row_weights)
    bad = np.full(1, -1, np.int64)
    over_rows(lambda a, z: _select(scores, weights, keep, packed, bad, a, z), len(scores))
    if bad[0] >= 0:
        raise _not_a_number(int(bad[0]))


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
        raise _not_a_number(int(nan.int().argmax()))
    order = size.sort(dim=1, descending=True, stable=True).indices[:, :keep]
    return torch.zeros_like(size, dtype=torch.bool).scatter_(1, order, True)


def _not_a_number(row: int) -> DataError:
    return DataError(
        f"score of row {row} of the batch is nan, which has no order; "
        "look for diverged training (a smaller train.lr) or a damaged upload"
    )


def _all_ones(rows: int) -> NDArray[np.float32]:
    return np.ones((rows, 1), np.float32)


@njit(cache=True, nogil=True)
def _select(scores, weights, keep, packed, bad, start, stop):  # type: ignore[no-untyped-def]
    columns = scores.shape[1] // weights.shape[1]
    size = np.full(-(-scores.shape[1] // 8) * 8, -1.0, np.float32)
    flags = np.empty(len(size), np.uint8)
    guess = np.int32(0)
    for b in range(start, stop):
        for row in range(weights.shape[1]):
            first = row * columns
            weigh(scores[b, first : first + columns], weights[b, row], size[first:])
        guess = threshold(size.view(np.int32), np.int32(keep), guess)
        if guess > INFINITY:
            bad[0], guess = b, np.int32(0)
            continue
        mark(size.view(np.int32), guess, keep, flags)
        pack(flags, packed[b])


@njit(cache=True, inline="always")
def weigh(scores, weight, out):  # type: ignore[no-untyped-def]
    """Write |scores x weight| to the start of `out`."""
    for j in range(len(scores)):
        out[j] = abs(scores[j] * weight)


@njit(cache=True)
def count_from(bits, low):  # type: ignore[no-untyped-def]
    """Count the elements of int32 (n) that are at least `low`."""
    count = np.int32(0)
    for i in range(len(bits)):
        count = np.int32(count + np.int32(bits[i] >= low))
    return count


@njit(cache=True)
def threshold(bits, keep, guess):  # type: ignore[no-untyped-def]
    """Return a t with `keep` elements >= t, or the largest t with more where equals tie there.

    `bits` are the bits of non-negative floats (int32; -1 never counts), of which at least
    `keep` count. Returns a number above INFINITY where one is not a number.
    """
    top = np.int32(-1)
    for i in range(len(bits)):
        top = max(top, bits[i])
    if top > INFINITY:
        return top
    if keep == 0:
        return INFINITY
    low, high = np.int32(0), np.int32(top + 1)  # count(low) >= keep > count(high)
    middle = guess
    while high - low > 1:
        if middle <= low or middle >= high:
            middle = np.int32(low + (high - low) // 2)
        found = count_from(bits, middle)
        if found == keep:
            return middle
        if found > keep:
            low = middle
        else:
            high = middle
        middle = np.int32(low + (high - low) // 2)
    return low


@njit(cache=True)
def mark(bits, low, keep, flags):  # type: ignore[no-untyped-def]
    """Write 1 for the kept elements: all above `low`, those equal to it while any is due."""
    total = 0
    for i in range(len(bits)):
        flags[i] = bits[i] >= low
        total += flags[i]
    spare = total - keep
    i = len(bits) - 1
    while spare > 0:
        if bits[i] == low:
            flags[i] = 0
            spare -= 1
        i -= 1


@njit(cache=True)
def pack(flags, out):  # type: ignore[no-untyped-def]
    """Pack bytes of 0 and 1 into bits, little end first; eight bytes at a time."""
    words = flags.view(np.uint64)
    for i in range(len(words)):
        out[i] = np.uint8((words[i] * np.uint64(0x0102040810204080)) >> np.uint64(56))
