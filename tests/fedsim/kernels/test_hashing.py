"""Hashes tell masks apart: by any single bit, and as the formula says."""

from __future__ import annotations

import numpy as np

from fedsim.kernels.hashing import hash_rows, keys, ones_of_rows

WORDS = 10


def test_the_hash_is_pair_multiply_shift() -> None:
    rows = np.random.default_rng(0).integers(0, 2**64, (5, WORDS), np.uint64)
    mixed = [int(key) for key in keys(WORDS)]
    assert len(set(mixed)) == 2 * WORDS
    for row, found in zip(rows.tolist(), hash_rows(rows, keys(WORDS)), strict=True):
        total = sum(
            (mixed[i] + (word >> 32)) * (mixed[WORDS + i] + (word & 0xFFFFFFFF))
            for i, word in enumerate(row)
        )
        assert found == total % 2**64 >> 32


def test_every_single_bit_changes_the_hash() -> None:
    row = np.random.default_rng(1).integers(0, 2**64, WORDS, np.uint64)
    flips = np.uint64(1) << np.arange(64, dtype=np.uint64)
    rows = np.concatenate([row[None], *(np.tile(row, (64, 1)) for _ in range(WORDS))])
    for word in range(WORDS):
        rows[1 + 64 * word : 65 + 64 * word, word] ^= flips
    assert len(set(hash_rows(rows, keys(WORDS)).tolist())) == 1 + 64 * WORDS


def test_ones_are_counted() -> None:
    rows = np.random.default_rng(2).integers(0, 2**64, (7, WORDS), np.uint64)
    np.testing.assert_array_equal(ones_of_rows(rows), np.bitwise_count(rows).sum(axis=1))
