"""Cuts the rows of a layout into blocks of at most 16 bits, and moves bits in and out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fedsim.kernels.ans import BLOCK
from fedsim.kernels.bits import ones_of, trailing_zeros


class Blocks(NamedTuple):
    """Where every parameter's bit lies among blocks; no block holds bits of two rows."""

    first: NDArray[np.int64]
    """First block of every row, and the end (rows + 1)."""
    size: NDArray[np.int64]
    """Bits of every block (blocks)."""
    place: NDArray[np.int32]
    """16 · block + bit of every parameter (N)."""
    source: NDArray[np.int32]
    """Parameter at every 16 · block + bit, 0 where there is none (16 · blocks)."""


def cut(row_lengths: NDArray[np.int64], order: NDArray[np.int64], small: int = 0) -> Blocks:
    """Cut rows into blocks: `small` blocks of 8 bits first, the rest of 16.

    `order` names the parameters row by row, in the order in which a row is to be cut.
    """
    cuts = [_sizes(int(length), small) for length in row_lengths]
    size = np.array([bits for row in cuts for bits in row], np.int64)
    first = np.cumsum([0, *map(len, cuts)])
    block = np.repeat(np.arange(len(size)), size)
    bit = np.arange(len(block)) - np.repeat(np.cumsum(size) - size, size)
    slots = BLOCK * block + bit
    place = np.empty(len(slots), np.int32)
    place[order] = slots
    source = np.zeros(BLOCK * len(size), np.int32)
    source[slots] = order
    return Blocks(first, size, place, source)


def _sizes(length: int, small: int) -> list[int]:
    eights = min(small, -(-length // 8))
    rest = length - 8 * eights
    sizes = [8] * eights + [BLOCK] * -(-max(rest, 0) // BLOCK)
    sizes[-1] -= sum(sizes) - length
    return sizes


def _select() -> NDArray[np.uint8]:
    """Return where each one of every byte is, and then where its zeros are, uint8 (256, 8)."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    return np.argsort(1 - bits, axis=1, kind="stable").astype(np.uint8)


SELECT = _select()


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


@njit(cache=True, error_model="numpy", forceinline=True)
def gather(words, place, blocks):  # type: ignore[no-untyped-def]
    """Fill the blocks of one mask."""
    blocks[:] = 0
    for index in range(len(words)):
        rest = words[np.uint64(index)]
        while rest:
            slot = np.uint32(place[np.uint64(64 * index + trailing_zeros(rest))])
            blocks[slot >> np.uint32(4)] |= np.uint16(np.uint32(1) << (slot & np.uint32(15)))
            rest &= rest - np.uint64(1)


@njit(cache=True, error_model="numpy", forceinline=True)
def scatter(word, block, source, words):  # type: ignore[no-untyped-def]
    """Flip the bits of one block in a mask."""
    rest = np.uint64(word)
    while rest:
        at = np.uint32(source[np.uint64(16 * block + trailing_zeros(rest))])
        words[at >> np.uint32(6)] ^= np.uint64(1) << np.uint64(at & np.uint32(63))
        rest &= rest - np.uint64(1)


@njit(cache=True, error_model="numpy", forceinline=True)
def rank_among(word, mask, choose):  # type: ignore[no-untyped-def]
    """Return the rank of a word that has ones only where the mask has, were those together."""
    rank, index = np.int64(0), np.uint64(1)
    while word:
        low = word & -word
        below = ones_of(np.uint64(mask & (low - 1)))
        rank += choose[np.uint64(below), index]
        index += np.uint64(1)
        word ^= low
    return rank


@njit(cache=True, error_model="numpy", forceinline=True)
def spread_over(word, mask, select):  # type: ignore[no-untyped-def]
    """Return the bits of a word at the ones of a mask of 16 bits."""
    out, rest = np.int64(0), np.uint64(word)
    low = np.uint64(mask & 0xFF)
    low_ones = ones_of(low)
    while rest:
        which = trailing_zeros(rest)
        if which < low_ones:
            out |= np.int64(1) << np.int64(select[low, np.uint64(which)])
        else:
            place = select[np.uint64(mask >> 8), np.uint64((which - low_ones) & 7)]
            out |= np.int64(256) << np.int64(place)
        rest &= rest - np.uint64(1)
    return out
