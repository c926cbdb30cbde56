from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from fedsim.kernels.bits import high_product, leading_zeros, ones_of
from fedsim.kernels.blocks import (
    SPREAD,
    TOGETHER,
    bytes_of,
    cut,
    flip,
    gather,
    spread_over,
    together,
    words_of,
)
from fedsim.kernels.words import at_most

words = st.integers(0, 2**16 - 1)
longs = st.integers(0, 2**64 - 1)


@given(words, words)
def test_bits_under_a_mask_come_together_and_back(word: int, mask: int) -> None:
    places = [bit for bit in range(16) if mask >> bit & 1]
    close = sum((word >> bit & 1) << index for index, bit in enumerate(places))
    under = np.uint64(word & mask), np.uint64(mask)
    assert together(*under, TOGETHER) == close
    assert spread_over(np.uint64(close), np.uint64(mask), SPREAD) == word & mask


@given(longs.filter(bool), longs)
def test_instructions(word: int, other: int) -> None:
    assert _instructions(np.uint64(word), np.uint64(other)) == (
        64 - word.bit_length(),
        word.bit_count(),
        word * other >> 64,
    )


@njit
def _instructions(word, other):  # type: ignore[no-untyped-def]
    return leading_zeros(word), ones_of(word), high_product(word, other)


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**28), min_size=16, max_size=20), st.integers(0, 2**28 - 1))
def test_numbers_at_most_a_bound_are_counted(numbers: list[int], bound: int) -> None:
    start = len(numbers) - 16
    found = _at_most(np.array(numbers, np.uint32), np.uint64(start), np.uint32(bound))
    assert found == sum(number <= bound for number in numbers[start:])


@njit
def _at_most(values, start, bound):  # type: ignore[no-untyped-def]
    return at_most(values, start, bound)


def test_rows_are_cut_into_blocks_of_their_own() -> None:
    blocks = cut(np.array([5, 64, 20]), small=2)
    assert blocks.first.tolist() == [0, 1, 6, 9]
    assert blocks.size.tolist() == [5, 8, 8, 16, 16, 16, 8, 8, 4]
    assert blocks.at.tolist() == [0, 64, 72, 80, 96, 112, 128, 136, 144]
    assert cut(np.array([5, 64, 20])).size.tolist() == [5, 16, 16, 16, 16, 16, 4]


LENGTHS = ([33, 7], [64] * 3, [5, 130, 64, 320, 1, 1, 63])


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("small", [0, 1, 2])
@pytest.mark.parametrize("sort", [False, True])
def test_blocks_hold_the_bits_of_rows_in_order(lengths: list[int], small: int, sort: bool) -> None:
    rng, size = np.random.default_rng(0), sum(lengths)
    row, key = np.repeat(np.arange(len(lengths)), lengths), rng.integers(0, 9, size)
    order = np.lexsort((key, row)) if sort else np.arange(size)
    blocks = cut(np.array(lengths), key if sort else None, small)
    packed = np.packbits(rng.random((1, size)) < 0.5, axis=1, bitorder="little")
    found = np.empty(len(blocks.words.start), np.uint64)
    gather(words_of(packed)[0], blocks.words, found)
    bits = np.unpackbits(found.view(np.uint8), bitorder="little")
    read = [bits[at : at + size] for at, size in zip(blocks.at, blocks.size, strict=True)]
    wanted = np.unpackbits(packed, count=size, bitorder="little")[order]
    np.testing.assert_array_equal(np.concatenate(read), wanted)
    assert bits.sum() == wanted.sum()
    np.testing.assert_array_equal(blocks.of[order], np.repeat(np.arange(len(read)), blocks.size))
    back = np.zeros_like(words_of(packed)[0])
    flip(found, blocks.words, back)
    np.testing.assert_array_equal(back, words_of(packed)[0])


@given(st.integers(0, 3), st.integers(1, 20))
def test_words_hold_the_bytes_of_rows(rows: int, length: int) -> None:
    packed = np.random.default_rng(0).integers(0, 256, (rows, length), dtype=np.uint8)
    assert words_of(packed).shape == (rows, -(-length // 8))
    np.testing.assert_array_equal(bytes_of(words_of(packed), length), packed)
