"""Reorders the bits of the rows of a mask: swaps of bits at fixed distances (a Beneš network).

A row of one word passes eleven stages, which bring its 64 bits into any order: pairs of bits
that lie 1, 2, 4, 8, 16, 32, 16, 8, 4, 2 and 1 apart change places where a mask says so. Longer
rows pass two more stages for each doubling, with gaps of whole words between. The compiler
makes vector instructions of a stage, where moving one bit after the other is a loop of
unforeseeable length for every word.

Beneš: Optimal rearrangeable multistage connecting networks. Bell System Technical Journal
43(4), 1964. https://doi.org/10.1002/j.1538-7305.1964.tb04103.x
Swaps and masks are those of Knuth: The Art of Computer Programming 4A, 7.1.3.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

WORD = 64


def routes(source: NDArray[np.int64], spans: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the masks of the stages, (stages, words).

    `source` (64 · words) tells which bit of its row each place is to have, every bit once; a
    row takes as many words as its span says, a power of two.
    """
    levels = int(WORD * spans.max() - 1).bit_length()
    masks = np.zeros((2 * levels - 1, int(spans.sum())), np.uint64)
    _route(source, spans, masks)
    return masks


@njit(cache=True)
def _route(source, spans, masks):  # type: ignore[no-untyped-def]
    first = 0
    for span in spans:
        wanted = source[WORD * first : WORD * (first + span)].copy()
        side, place_of = np.empty(len(wanted), np.int64), np.empty(len(wanted), np.int64)
        gap, stage = 1, 0
        while gap < len(wanted):
            for place in range(len(wanted)):
                place_of[wanted[place]] = place
            _choose_sides(wanted, place_of, gap, side)
            for bit in range(len(wanted)):
                if not bit & gap:
                    mark, word = np.uint64(1) << np.uint64(bit % WORD), first + bit // WORD
                    masks[stage, word] |= mark * np.uint64(side[place_of[bit]])
                    masks[len(masks) - 1 - stage, word] |= mark * np.uint64(side[bit])
            wanted = _inside(wanted, gap, side)
            gap, stage = 2 * gap, stage + 1
        first += span


@njit(cache=True)
def _choose_sides(wanted, place_of, gap, side):  # type: ignore[no-untyped-def]
    """Choose for every place through which half its bit goes: the two of a pair differ.

    Pairs of places and pairs of bits make rings, along which the halves take turns.
    """
    side[:] = -1
    for first in range(len(wanted)):
        place, half = first, np.int64((first & gap) > 0)
        while side[place] < 0:
            other = place_of[wanted[place] ^ gap]
            side[place], side[other] = half, 1 - half
            place = other ^ gap


@njit(cache=True)
def _inside(wanted, gap, side):  # type: ignore[no-untyped-def]
    """Return what the stages between the two of this gap have to bring where."""
    inner = wanted.copy()
    for place in range(len(wanted)):
        half = gap * side[place]
        inner[(place & ~gap) | half] = (wanted[place] & ~gap) | half
    return inner


@njit(cache=True, error_model="numpy")
def forward(words, masks):  # type: ignore[no-untyped-def]
    """Bring the bits of words into their places."""
    for stage in range(len(masks)):
        _swap(words, masks[stage], min(stage, len(masks) - 1 - stage))


@njit(cache=True, error_model="numpy")
def backward(words, masks):  # type: ignore[no-untyped-def]
    """Undo `forward`."""
    for behind in range(len(masks)):
        stage = len(masks) - 1 - behind
        _swap(words, masks[stage], min(stage, behind))


@njit(cache=True, error_model="numpy")
def _swap(words, mask, level):  # type: ignore[no-untyped-def]
    if level < 6:
        gap = np.uint64(1 << level)
        for index in range(len(words)):
            word = words[index]
            moved = ((word >> gap) ^ word) & mask[index]
            words[index] = word ^ moved ^ (moved << gap)
    else:
        gap_words = 1 << (level - 6)
        for index in range(len(words) - gap_words):
            moved = (words[index] ^ words[index + gap_words]) & mask[index]
            words[index] ^= moved
            words[index + gap_words] ^= moved
