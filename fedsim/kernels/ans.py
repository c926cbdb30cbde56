"""The entropy coder: steps of known shares of 2^28 (`fedsim.kernels.urns`) as bytes, and back.

It is the range variant of asymmetric numeral systems, with a state of 64 bits and 32 bits
moved at a time. A message starts from a state of its own choosing, and a decoder that ends
anywhere else has read damaged bytes. A step has to wait for the one before it, so that
several messages are coded side by side, in lanes; their bytes do not depend on that.

Duda: Asymmetric numeral systems. 2013. https://arxiv.org/abs/1311.2540
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fedsim.kernels.bits import high_product
from fedsim.kernels.urns import BITS, BLOCK, ROW, TOTAL
from fedsim.kernels.words import at_most

LOW = 1 << 32
"""Least state of the coder."""
LANES = 4
"""Messages coded side by side."""
STATE, USED, SO_FAR = 0, 1, 2
"""Columns of a lane: the coder's state, words written or read, and what a model goes by."""


class Lanes(NamedTuple):
    """Where the coding of some messages stands."""

    now: NDArray[np.uint64]
    """STATE, USED and SO_FAR of every message, close together (LANES, 3)."""
    words: NDArray[np.uint32]
    """Words of every message (LANES, room)."""


@njit(cache=True, error_model="numpy")
def new_lanes(steps):  # type: ignore[no-untyped-def]
    """Return lanes with room for messages of so many steps."""
    return Lanes(np.zeros((LANES, 3), np.uint64), np.zeros((LANES, steps + 1), np.uint32))


@njit(cache=True, error_model="numpy", forceinline=True)
def inverse_of(size):  # type: ignore[no-untyped-def]
    """Return what `put` takes to divide by a share."""
    return np.uint64(0xFFFFFFFFFFFFFFFF) // np.uint64(size)


@njit(cache=True, error_model="numpy", forceinline=True)
def share_of(place, shares):  # type: ignore[no-untyped-def]
    """Return start and size of the first share of a place, ROW · row + ones, and its inverse."""
    at = np.uint64(2) * place
    both = shares.steps[at]
    return np.uint32(both), np.uint32(both >> np.uint64(32)), shares.steps[at + np.uint64(1)]


@njit(cache=True, error_model="numpy", forceinline=True)
def put(state, start, size, inverse):  # type: ignore[no-untyped-def]
    """Return the state before a step given by start and size of its share, and words shed.

    The low 32 bits of the state are the word that is shed: the caller writes them whether
    they are or not, for numba counts references to an array that is used in one branch only,
    which costs more than all the rest.
    """
    share = np.uint64(size)
    full = reaches(state >> np.uint64(64 - BITS), share)
    state >>= full & np.uint64(32)
    quotient = high_product(state, inverse)
    rest = state - quotient * share
    # The quotient may be one too small.
    missed = reaches(rest, share) & (np.uint64(TOTAL) - share)
    coded = (quotient << np.uint64(BITS)) + rest + np.uint64(start) + missed
    return coded, full & np.uint64(1)


@njit(cache=True, error_model="numpy", forceinline=True)
def reaches(number, bound):  # type: ignore[no-untyped-def]
    """Return 64 ones if a number below 2^63 is at least the bound, else 64 zeros.

    What is as well a comparison, the compiler makes a branch of, and a hard one to foresee.
    """
    return np.uint64(np.int64(bound - np.uint64(1) - number) >> np.int64(63))


@njit(cache=True, error_model="numpy")
def emit(place, rank, first, last, many, shares, lanes):  # type: ignore[no-untyped-def]
    """Encode the steps of `many` messages, the last first, from where decoders are to end.

    A step is the place of its share and the rank of its pattern, (LANES, steps).
    """
    now, words = lanes
    for behind in range(last - first):
        step = np.uint64(last - 1 - behind)
        for index in range(many):
            lane = np.uint64(index)
            state, used = now[lane, STATE], now[lane, USED]
            start, size, inverse = share_of(np.uint64(place[lane, step]), shares)
            words[lane, used] = np.uint32(state & np.uint64(0xFFFFFFFF))
            state, shed = put(state, start + rank[lane, step] * size, size, inverse)
            now[lane, STATE], now[lane, USED] = state, used + shed


@njit(cache=True, error_model="numpy")
def finish(lane, lanes, out, at):  # type: ignore[no-untyped-def]
    """Write the message of one lane; return its end in `out`.

    The state comes first, in 5 to 8 bytes, then words of 4 bytes; the length tells how many
    bytes the state takes.
    """
    place, state, used = np.uint64(at), lanes.now[lane, STATE], lanes.now[lane, USED]
    while state:
        out[place] = np.uint8(state & np.uint64(0xFF))
        state >>= np.uint64(8)
        place += np.uint64(1)
    for behind in range(used):
        word = lanes.words[lane, used - np.uint64(1 + behind)]
        for byte in range(4):
            out[place + np.uint64(byte)] = np.uint8(word >> np.uint32(8 * byte))
        place += np.uint64(4)
    return np.int64(place)


@njit(cache=True, error_model="numpy")
def begin(data, start, stop, words):  # type: ignore[no-untyped-def]
    """Read the words of a message; return the decoder's first state and their number.

    The state is 0 if the message is too short, there is no room for so many words, or the
    state's highest byte is 0, which is never written.
    """
    count = (stop - start - 5) // 4
    length = stop - start - 4 * count
    if count < 0 or count > len(words) or data[start + length - 1] == 0:
        return np.uint64(0), np.uint64(0)
    at, state = np.uint64(start), np.uint64(0)
    for byte in range(length):
        state |= np.uint64(data[at]) << np.uint64(8 * byte)
        at += np.uint64(1)
    for index in range(count):
        word = np.uint32(0)
        for byte in range(4):
            word |= np.uint32(data[at + np.uint64(byte)]) << np.uint32(8 * byte)
        words[index] = word
        at += np.uint64(4)
    return state, np.uint64(count)


@njit(cache=True, error_model="numpy", forceinline=True)
def find(slot, row, shares, patterns):  # type: ignore[no-untyped-def]
    """Return the block whose share of a row holds the slot, its ones, and that share."""
    ones = at_most(shares.above, row * np.uint64(BLOCK), slot)
    start, size, inverse = share_of(row * np.uint64(ROW) + ones, shares)
    # Exact, for the slot has 28 bits.
    rank = high_product(np.uint64(slot - start) + np.uint64(1), inverse)
    which = (np.uint64(patterns.first[ones]) + rank) & np.uint64(0xFFFF)
    return np.uint64(patterns.block[which]), ones, start + np.uint32(rank) * size, size


@njit(cache=True, error_model="numpy", forceinline=True)
def advance(state, start, size, word):  # type: ignore[no-untyped-def]
    """Return the state after a step whose share was found, and words taken: undo `put`."""
    slot = state & np.uint64(TOTAL - 1)
    state = np.uint64(size) * (state >> np.uint64(BITS)) + slot - np.uint64(start)
    low = state < np.uint64(LOW)
    fed = (state << np.uint64(32)) | np.uint64(word)
    return fed if low else state, np.uint64(low)


@njit(cache=True, error_model="numpy", forceinline=True)
def take(row, lane, shares, patterns, lanes):  # type: ignore[no-untyped-def]
    """Decode one step of one lane; return the block and its ones."""
    state, used = lanes.now[lane, STATE], lanes.now[lane, USED]
    slot = np.uint32(state & np.uint64(TOTAL - 1))
    word, ones, begins, share = find(slot, row, shares, patterns)
    state, taken = advance(state, begins, share, lanes.words[lane, used])
    lanes.now[lane, STATE], lanes.now[lane, USED] = state, used + taken
    return word, ones
