"""Entropy coding of blocks of at most 16 bits, one step a block: tables, encoder, decoder.

All patterns of a block with the same number of ones get the same share of 2^28, so that a
step needs the block's number of ones, its rank among those patterns (two small tables) and
one row of a model. The coder is the range variant of asymmetric numeral systems, with a
state of 64 bits and 32 bits moved at a time. A message starts from a state of its own
choosing, and a decoder that ends anywhere else has read damaged bytes.

A model is an urn: the first bit is one with chance `mean`, and every bit drawn makes its
like more probable by `spread` (Pólya; the number of ones is beta-binomial). Models are
numbers of a fixed grid, and their shares come from exact integers and single IEEE
operations alone, so that every machine has the same ones.

Duda: Asymmetric numeral systems. 2013. https://arxiv.org/abs/1311.2540
"""

from __future__ import annotations

from math import comb, isqrt
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

BLOCK = 16
BITS = 28
TOTAL = 1 << BITS
LOW = 1 << 32
"""Least state of the coder."""
ROW, TABLE = BLOCK + 2, (BLOCK + 1) * (BLOCK + 2)
"""Shares of one size of block, and of one model."""

_ODDS = [isqrt(isqrt(1 << (96 + step))) for step in range(-56, 33)]
"""Odds of one against zero, times 2^24, a quarter of an octave apart."""
_SPREADS = [0, 1, 2, 3, 5, 7, 10, 13, 19, 26, 32, 42, 51, 58, 61]
"""Shares of 64."""
MODELS = len(_ODDS) * len(_SPREADS)


class Patterns(NamedTuple):
    """All blocks, ordered by number of ones and then by value."""

    ones: NDArray[np.uint8]
    """Number of ones of a block (65,536)."""
    rank: NDArray[np.uint16]
    """Place of a block among those with as many ones (65,536)."""
    first: NDArray[np.int64]
    """Where the blocks with so many ones start in `block` (18)."""
    block: NDArray[np.uint16]
    """All blocks in order (65,536)."""
    choose: NDArray[np.int64]
    """Binomial coefficients (17, 17)."""


class Shares(NamedTuple):
    """Models' shares of 2^28, flat: at TABLE · model + ROW · bits of the block + its ones."""

    start: NDArray[np.uint32]
    """Shares of all patterns with fewer ones."""
    each: NDArray[np.uint32]
    """Share of one pattern."""


def _patterns() -> Patterns:
    ones = np.bitwise_count(np.arange(1 << BLOCK, dtype=np.uint32))
    block = np.argsort(ones, kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(ones))])
    rank = np.empty(1 << BLOCK, np.uint16)
    rank[block] = np.arange(1 << BLOCK) - first[ones[block]]
    choose = [[comb(size, part) for part in range(BLOCK + 1)] for size in range(BLOCK + 1)]
    return Patterns(ones, rank, first, block.astype(np.uint16), np.array(choose))


PATTERNS = _patterns()


def shares(models: NDArray[np.integer]) -> Shares:
    """Return the shares of urns given by number, 0..MODELS - 1."""
    used, which = np.unique(models, return_inverse=True)
    odds = np.array(_ODDS, np.float64)[used // len(_SPREADS)]
    spread = np.array(_SPREADS, np.float64)[used % len(_SPREADS)] / 64
    mean = odds / (odds + float(1 << 24))
    chance = np.zeros((len(used), BLOCK + 1, BLOCK + 2))
    chance[:, 0, 0] = 1
    for size in range(1, BLOCK + 1):
        whole = (1 - spread) + spread * (size - 1)
        for ones in range(size):
            zero = (1 - mean) * (1 - spread) + spread * (size - 1 - ones)
            chance[:, size, ones] = chance[:, size - 1, ones] * zero / whole
        one = mean * (1 - spread) + spread * (size - 1)
        chance[:, size, size] = chance[:, size - 1, size - 1] * one / whole
    each = np.floor(chance * (TOTAL - (1 << BLOCK))).astype(np.int64) + 1
    return stack_shares(each[which])


def stack_shares(each: NDArray[np.int64]) -> Shares:
    """Return shares from the share of one pattern, int64 (models, 17, 18)."""
    size, ones = np.indices(each.shape[1:])
    each = np.where(ones <= size, each, 0)
    choose = np.pad(PATTERNS.choose, ((0, 0), (0, 1)))
    ends = np.cumsum(each * choose, axis=2)
    start = ends - each * choose
    return Shares(start.astype(np.uint32).reshape(-1), each.astype(np.uint32).reshape(-1))


def best_models(counts: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Return the urns under which counted blocks take the fewest bits, uint16 (contexts).

    `counts` is (contexts, TABLE): blocks seen by size and number of ones.
    """
    bits = np.log2(np.maximum(shares(np.arange(MODELS)).each, 1)).reshape(MODELS, -1)
    best: NDArray[np.uint16] = np.argmax(counts @ bits.T, axis=1).astype(np.uint16)
    return best


@njit(cache=True, error_model="numpy")
def emit(starts, sizes, count, check, words, out, at):  # type: ignore[no-untyped-def]
    """Encode `count` steps given by start and size of their share; return the end in `out`.

    `check` (32 bits) is where the decoder must end. The state comes first, in 5 to 8 bytes,
    then words of 4 bytes; the length tells how many bytes the state takes.
    """
    state = np.uint64(LOW) + np.uint64(check)
    used = np.uint64(0)
    for behind in range(count):
        step = np.uint64(count - 1 - behind)
        size = np.uint64(sizes[step])
        if state >= size << np.uint64(64 - BITS):
            words[used] = np.uint32(state & np.uint64(0xFFFFFFFF))
            used += np.uint64(1)
            state >>= np.uint64(32)
        quotient = state // size
        rest = state - quotient * size
        state = (quotient << np.uint64(BITS)) + rest + np.uint64(starts[step])
    while state:
        out[at] = np.uint8(state & np.uint64(0xFF))
        state >>= np.uint64(8)
        at += 1
    for behind in range(used):
        word = words[used - np.uint64(1 + behind)]
        for byte in range(4):
            out[at + byte] = np.uint8((word >> np.uint32(8 * byte)) & np.uint32(0xFF))
        at += 4
    return at


@njit(cache=True, error_model="numpy")
def begin(data, start, stop):  # type: ignore[no-untyped-def]
    """Return the decoder's first state and where its words start; state 0 if too short."""
    if stop - start < 5:
        return np.uint64(0), start
    length = 5 + (stop - start - 5) % 4
    state = np.uint64(0)
    for byte in range(length):
        state |= np.uint64(data[start + byte]) << np.uint64(8 * byte)
    return state, start + length


@njit(cache=True, error_model="numpy", forceinline=True)
def advance(state, start, size):  # type: ignore[no-untyped-def]
    """Return the state after a step whose share was found; below LOW it wants a word.

    The caller reads that word itself: numba counts references to an array that is used in
    one branch only, which costs more than all the rest.
    """
    slot = state & np.uint64(TOTAL - 1)
    return np.uint64(size) * (state >> np.uint64(BITS)) + slot - np.uint64(start)


@njit(cache=True, error_model="numpy", forceinline=True)
def refill(state, data, at):  # type: ignore[no-untyped-def]
    """Return the state with a word of 4 bytes read into it."""
    place = np.uint64(at)
    word = (
        np.uint64(data[place])
        | (np.uint64(data[place + np.uint64(1)]) << np.uint64(8))
        | (np.uint64(data[place + np.uint64(2)]) << np.uint64(16))
        | (np.uint64(data[place + np.uint64(3)]) << np.uint64(24))
    )
    return (state << np.uint64(32)) | word


@njit(cache=True, error_model="numpy", forceinline=True)
def push(starts, sizes, step, place, rank, start, each):  # type: ignore[no-untyped-def]
    """Set one step to the share of the pattern of that rank; `place` is where shares lie."""
    at = np.uint64(place)
    share = each[at]
    starts[step] = start[at] + np.uint32(rank) * share
    sizes[step] = share


@njit(cache=True, error_model="numpy", forceinline=True)
def find(slot, size, row, start, each, first, by_ones):  # type: ignore[no-untyped-def]
    """Return the block of `size` bits whose share holds the slot, its ones, and the share."""
    place, last = np.uint64(row), np.uint64(row + size)
    while place < last and slot >= start[place + np.uint64(1)]:
        place += np.uint64(1)
    ones = place - np.uint64(row)
    share = max(each[place], np.uint32(1))
    begins = start[place]
    rank = np.uint32(0)
    if slot >= begins + share:
        rank = np.uint32((slot - begins) // share)
    where = min(np.uint64(first[ones]) + np.uint64(rank), np.uint64(0xFFFF))
    return np.int64(by_ones[where]), np.int64(ones), begins + np.uint32(rank * share), share
