"""Cuts the rows of a layout into blocks of at most 16 bits, and moves bits in and out.

Every row starts a word of 64 bits of its own, and its bits may be brought into another order,
so that like ones share blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fedsim.kernels.bits import ones_of
from fedsim.kernels.network import WORD, backward, forward, routes
from fedsim.kernels.urns import BLOCK


class Words(NamedTuple):
    """The words of the rows of a mask. A row takes a power of two of them."""

    first: NDArray[np.int64]
    """First word of every row, and the end (rows + 1)."""
    start: NDArray[np.int64]
    """First parameter of every word (words)."""
    kept: NDArray[np.uint64]
    """As many ones as the word has parameters (words)."""
    swaps: NDArray[np.uint64]
    """How bits are brought into order (stages, words); without stages they stay."""
    straight: bool
    """Whether they are the words of a packed mask, for all rows take whole ones."""


class Blocks(NamedTuple):
    """Where every block lies; no block holds bits of two rows."""

    words: Words
    first: NDArray[np.int64]
    """First block of every row, and the end (rows + 1)."""
    size: NDArray[np.uint8]
    """Bits of every block (blocks)."""
    at: NDArray[np.uint32]
    """64 · word + bit where every block starts (blocks)."""
    of: NDArray[np.int64]
    """Block of every parameter (N)."""


def cut(
    row_lengths: NDArray[np.int64], key: NDArray[np.integer] | None = None, small: int = 0
) -> Blocks:
    """Cut rows into blocks: `small` blocks of 8 bits first, the rest of 16.

    The parameters of a row are ordered by `key` (N), the least first, or left as they are.
    """
    rows, size_of = len(row_lengths), int(row_lengths.sum())
    spans = 1 << np.ceil(np.log2(-(-row_lengths // WORD))).astype(np.int64)
    first_word, first_bit = (_ends(lengths)[:-1] for lengths in (spans, row_lengths))
    row = np.repeat(np.arange(rows), row_lengths)
    order = np.arange(size_of) if key is None else np.lexsort((key, row))
    cuts = [_sizes(int(length), small) for length in row_lengths]
    first = _ends(np.array([len(sizes) for sizes in cuts]))
    size = np.concatenate(cuts)
    block_row = np.repeat(np.arange(rows), np.diff(first))
    place = _ends(size)[:-1] - first_bit[block_row]
    of = np.empty(size_of, np.int64)
    of[order] = np.repeat(np.arange(len(size)), size)
    return Blocks(
        _words(row_lengths, spans, None if key is None else order),
        first,
        size.astype(np.uint8),
        (WORD * first_word[block_row] + place).astype(np.uint32),
        of,
    )


def _ends(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where pieces of these lengths start, and the end."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def _sizes(length: int, small: int) -> NDArray[np.int64]:
    eights = min(small, -(-length // 8))
    rest = length - 8 * eights
    sizes = [8] * eights + [BLOCK] * -(-max(rest, 0) // BLOCK)
    sizes[-1] -= sum(sizes) - length
    return np.array(sizes)


def _words(
    row_lengths: NDArray[np.int64], spans: NDArray[np.int64], order: NDArray[np.int64] | None
) -> Words:
    first, first_bit = _ends(spans), _ends(row_lengths)[:-1]
    row = np.repeat(np.arange(len(spans)), spans)
    before = WORD * (np.arange(len(row)) - first[row])
    length = np.clip(row_lengths[row] - before, 0, WORD)
    kept = np.where(length > 0, np.uint64(2**64 - 1) >> (WORD - length).astype(np.uint64), 0)
    start = first_bit[row] + np.where(length > 0, before, 0)
    swaps = np.zeros((0, len(row)), np.uint64)
    if order is not None:
        source = np.arange(WORD * len(row)) - np.repeat(WORD * first[:-1], WORD * spans)
        bit_row = np.repeat(np.arange(len(spans)), row_lengths)
        bit = np.arange(len(order)) - first_bit[bit_row]
        source[WORD * first[bit_row] + bit] = order - first_bit[bit_row]
        swaps = routes(source, spans)
    straight = bool((length == WORD).all())
    return Words(first, start, kept.astype(np.uint64), swaps, straight)


def _under_masks() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the bits of bytes that lie under masks, moved together, and those spread back."""
    word, mask = np.indices((256, 256))
    together, spread, count = (np.zeros((256, 256), np.int64) for _ in range(3))
    for bit in range(8):
        under = mask >> bit & 1
        together |= (word >> bit & under) << count
        spread |= (word >> count & under) << bit
        count += under
    return together.astype(np.uint8), spread.astype(np.uint8)


TOGETHER, SPREAD = _under_masks()
"""What `together` and `spread_over` make of bytes, uint8 (word, mask)."""


def words_of(packed: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return packed masks as words of 64 bits, (rows, words)."""
    rows, length = packed.shape
    whole = packed
    if length % 8:
        whole = np.zeros((rows, length + 8 - length % 8), np.uint8)
        whole[:, :length] = packed
    return np.ascontiguousarray(whole).view("<u8").astype(np.uint64, copy=False)


def bytes_of(words: NDArray[np.uint64], length: int) -> NDArray[np.uint8]:
    """Return words as packed masks of `length` bytes a row."""
    return np.ascontiguousarray(words.astype("<u8", copy=False).view(np.uint8)[:, :length])


@njit(cache=True, error_model="numpy")
def gather(mask, words, out):  # type: ignore[no-untyped-def]
    """Fill the words of rows from one mask."""
    if words.straight:
        out[:] = mask
    else:
        last = len(mask) - 1
        for index in range(len(out)):
            at, shift = words.start[index] >> 6, np.uint64(words.start[index] & 63)
            # The upper part in two steps: a shift by 64 does nothing.
            high = (mask[min(at + 1, last)] << np.uint64(1)) << (np.uint64(63) - shift)
            out[index] = ((mask[at] >> shift) | high) & words.kept[index]
    forward(out, words.swaps)


@njit(cache=True, error_model="numpy")
def flip(found, words, mask):  # type: ignore[no-untyped-def]
    """Flip those bits of one mask that are ones in the words of rows, which are used up."""
    backward(found, words.swaps)
    if words.straight:
        mask ^= found
    else:
        last = len(mask) - 1
        for index in range(len(found)):
            at, shift = words.start[index] >> 6, np.uint64(words.start[index] & 63)
            mask[at] ^= found[index] << shift
            high = (found[index] >> np.uint64(1)) >> (np.uint64(63) - shift)
            mask[min(at + 1, last)] ^= high


@njit(cache=True, error_model="numpy", forceinline=True)
def bits_at(words, at, size):  # type: ignore[no-untyped-def]
    """Return `size` bits of words, from 64 · word + bit on."""
    ones = (np.uint64(1) << np.uint64(size)) - np.uint64(1)
    return (words[np.uint64(at) >> np.uint64(6)] >> (np.uint64(at) & np.uint64(63))) & ones


@njit(cache=True, error_model="numpy", forceinline=True)
def together(word, mask, table):  # type: ignore[no-untyped-def]
    """Return the bits of a word of 16 bits that lie under a mask, moved together."""
    byte = np.uint64(0xFF)
    low, high = mask & byte, mask >> np.uint64(8)
    moved = np.uint64(table[word & byte, low])
    return moved | np.uint64(table[word >> np.uint64(8), high]) << np.uint64(ones_of(low))


@njit(cache=True, error_model="numpy", forceinline=True)
def spread_over(word, mask, table):  # type: ignore[no-untyped-def]
    """Undo `together`."""
    byte = np.uint64(0xFF)
    low, high = mask & byte, mask >> np.uint64(8)
    rest = (word >> np.uint64(ones_of(low))) & byte
    return np.uint64(table[word & byte, low]) | np.uint64(table[rest, high]) << np.uint64(8)
