"""Exact sizes of the codecs whose length follows from the layout, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fedsim.codecs.base import Column
from fedsim.codecs.bitmask import Bitmask
from fedsim.codecs.csr import Csr
from fedsim.codecs.dense import Dense, DenseConfig
from fedsim.errors import WireError
from fedsim.plugins import Options
from tests.diets import CASER, SASREC, TINY, consecutive_diets


def test_dense_takes_32_or_16_bits_a_parameter() -> None:
    rows = np.zeros((2, 40_960), np.float32)
    column = Column("weights", "dense", SASREC)
    assert Dense(DenseConfig(), column).encode(rows).sizes.tolist() == [163_840, 163_840]
    assert Dense(DenseConfig(dtype="fp16"), column).encode(rows).sizes.tolist() == [81_920] * 2


@pytest.mark.parametrize(("layout", "size"), [(SASREC, 5_120), (CASER, 1_923)])
def test_bitmask_takes_one_bit_a_parameter(layout: object, size: int) -> None:
    column = Column("mask", "mask", layout)  # type: ignore[arg-type]
    rows = np.zeros((1, size), np.uint8)
    assert Bitmask(Options(), column).encode(rows).sizes.tolist() == [size]


def test_csr_takes_640_row_ends_and_one_byte_an_element() -> None:
    diets, _ = consecutive_diets(3)
    assert np.bitwise_count(diets).sum(axis=1).tolist() == [4_100] * 3  # 410 in ten layers
    mask = Csr(Options(), Column("mask", "mask", SASREC))
    assert mask.encode(diets).sizes.tolist() == [640 * 2 + 4_100] * 3
    weights = np.unpackbits(diets, axis=1, bitorder="little").astype(np.float32)
    dense = Csr(Options(), Column("weights", "dense", SASREC))
    assert dense.encode(weights).sizes.tolist() == [640 * 2 + 4_100 * 5] * 3


def test_fp16_rounds_once_and_refuses_what_it_cannot_hold() -> None:
    codec = Dense(DenseConfig(dtype="fp16"), Column("w", "dense", TINY))
    rows = np.linspace(-1, 1, TINY.size, dtype=np.float32)[None]
    rounded = codec.decode(codec.encode(rows))
    np.testing.assert_array_equal(rounded, rows.astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(codec.decode(codec.encode(rounded)), rounded)
    rows[0, 4] = 7e4
    with pytest.raises(WireError, match=r"value 70000.0 at 4 is beyond fp16 .*dtype to 'fp32'"):
        codec.encode(rows)
