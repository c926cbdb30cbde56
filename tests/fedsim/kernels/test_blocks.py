from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from fedsim.kernels.ans import PATTERNS
from fedsim.kernels.bits import leading_zeros, ones_of, trailing_zeros
from fedsim.kernels.blocks import (
    SELECT,
    bytes_of,
    cut,
    gather,
    rank_among,
    spread_over,
    words_of,
)

words = st.integers(0, 2**16 - 1)


@given(words, words)
def test_bits_are_ranked_among_those_of_a_mask_and_come_back(word: int, mask: int) -> None:
    places = [bit for bit in range(16) if mask >> bit & 1]
    close = sum((word >> bit & 1) << index for index, bit in enumerate(places))
    assert rank_among(word & mask, mask, PATTERNS.choose) == PATTERNS.rank[close]
    assert spread_over(close, mask, SELECT) == word & mask


@given(st.integers(1, 2**64 - 1))
def test_instructions(word: int) -> None:
    assert _instructions(np.uint64(word)) == (
        (word & -word).bit_length() - 1,
        64 - word.bit_length(),
        word.bit_count(),
    )


@njit
def _instructions(word):  # type: ignore[no-untyped-def]
    return trailing_zeros(word), leading_zeros(word), ones_of(word)


def test_rows_are_cut_into_blocks_of_their_own() -> None:
    blocks = cut(np.array([5, 64, 20]), np.arange(89), small=2)
    assert blocks.first.tolist() == [0, 1, 6, 9]
    assert blocks.size.tolist() == [5, 8, 8, 16, 16, 16, 8, 8, 4]
    assert cut(np.array([5, 64, 20]), np.arange(89)).size.tolist() == [5, 16, 16, 16, 16, 16, 4]


def test_every_bit_has_a_place_of_its_own() -> None:
    rng = np.random.default_rng(0)
    order = np.concatenate([rng.permutation(33), 33 + rng.permutation(7)])
    blocks = cut(np.array([33, 7]), order, small=1)
    assert len(set(blocks.place.tolist())) == 40
    np.testing.assert_array_equal(blocks.source[blocks.place], np.arange(40))
    packed = np.packbits(rng.random((1, 40)) < 0.5, axis=1, bitorder="little")
    found = np.empty(len(blocks.size), np.uint16)
    gather(words_of(packed)[0], blocks.place, found)
    bits = np.unpackbits(packed, bitorder="little")
    for place in range(40):
        slot = int(blocks.place[place])
        assert found[slot // 16] >> (slot % 16) & 1 == bits[place]


@given(st.integers(0, 3), st.integers(1, 20))
def test_words_hold_the_bytes_of_rows(rows: int, length: int) -> None:
    packed = np.random.default_rng(0).integers(0, 256, (rows, length), dtype=np.uint8)
    assert words_of(packed).shape == (rows, -(-length // 8))
    np.testing.assert_array_equal(bytes_of(words_of(packed), length), packed)
