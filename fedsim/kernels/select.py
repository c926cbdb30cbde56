"""Which elements of a layer a diet keeps: the top of |score x row weight|, as packed bits.

Exact on float32, ties by lowest index, little end first (see `fedsim.layout`). The bits of
a non-negative float order as the float does, so the threshold lies between two 31-bit
integers that keep too many and too few. The search starts at the threshold of the row
before and interpolates, counting the row at each step, until a count is right. Where the
search starts changes how fast it is and never what it finds.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from fedsim.errors import DataError
from fedsim.kernels.bits import ones_of
from fedsim.kernels.threads import over_rows
from fedsim.kernels.words import LANES, at_least, first_ones

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


class Work(NamedTuple):
    """What a selection works in, for one thread; made by `make_work`."""

    size: NDArray[np.float32]
    """|score x row weight| of a layer, padded with -1 to a multiple of 64."""
    words: NDArray[np.uint64]
    """The kept elements' bits."""
    near: NDArray[np.int64]
    """About where the last threshold was, and how far apart neighbours were there."""


@njit(cache=True, nogil=True)
def _select(scores, weights, keep, packed, bad, start, stop):  # type: ignore[no-untyped-def]
    work = make_work(scores.shape[1])
    for b in range(start, stop):
        weigh(scores[b], weights[b], work.size)
        if keep_words(work, keep):
            packed[b] = work.words.view(np.uint8)[: packed.shape[1]]
        else:
            bad[0] = b


@njit(cache=True)
def make_work(elements):  # type: ignore[no-untyped-def]
    """Return what rows of so many elements are selected in."""
    count = -(-elements // LANES)
    return Work(
        np.full(count * LANES, -1.0, np.float32),
        np.empty(count, np.uint64),
        np.array([0, 1 << 13]),
    )


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
def keep_words(work, keep):  # type: ignore[no-untyped-def]
    """Set the bits of the `keep` largest of ``work.size``; return False if one is NaN."""
    bits, words, nan = work.size.view(np.int32), work.words, np.uint64(0)
    low, above = _threshold(bits, keep, work.near)
    due = keep - above
    sure = low + 1 if due > 0 else low
    for i in range(len(words)):
        at = i * LANES
        words[i] = at_least(bits, at, np.int32(sure))
        nan |= at_least(bits, at, np.int32(INFINITY + 1))
        if due > 0:
            equal = first_ones(at_least(bits, at, np.int32(low)) & ~words[i], due)
            words[i] |= equal
            due -= ones_of(equal)
    return nan == 0


@njit(cache=True)
def _threshold(bits, keep, near):  # type: ignore[no-untyped-def]
    """Return t and `keep`, where so many are >= t, or else t and the too few that are > t.

    `bits` are those of non-negative floats (int32; -1 never counts). `near` remembers the
    last threshold and about how far neighbours were apart there.
    """
    low, many = 0, len(bits)
    high, few = np.int64(INFINITY) + 1, 0
    middle, tries = near[0], 0
    while high - low > 1:
        if middle <= low or middle >= high:
            middle = low + (high - low) // 2
        above = _count(bits, np.int32(middle))
        if above == keep:
            near[0] = middle
            return middle, keep
        if above > keep:
            low, many = middle, above
        else:
            high, few = middle, above
        tries += 1
        if many < len(bits) and few > 0 and tries % 4:
            gap = (high - low) // (many - few)
            middle = low + gap * (many - keep)
            near[1] += (gap - near[1]) // 8
        else:
            middle = middle + (above - keep) * near[1] * 5 // 4 if tries < 4 else -1
    near[0] = low
    return low, few


@njit(cache=True)
def _count(bits, low):  # type: ignore[no-untyped-def]
    above = 0
    for i in range(0, len(bits), LANES):
        above += ones_of(at_least(bits, i, low))
    return above
