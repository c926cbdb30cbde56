"""The blocks codec: sizes worked out by hand, and every way its bits can be wrong."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from fedsim.codecs.base import Column, RowError
from fedsim.codecs.blocks import Blocks, BlocksConfig
from fedsim.layout import Layer, Layout
from fedsim.models.sasrec import SASRec, SASRecConfig
from fedsim.ragged import Ragged

SIX = SASRec(SASRecConfig(blocks=6)).layout
SMALL = Layout((Layer("a.x", 1, 2), Layer("a.y", 1, 1), Layer("b.x", 2, 1), Layer("c", 1, 1)))


def make(layout: Layout = SMALL, dtype: Literal["fp32", "fp16"] = "fp32") -> Blocks:
    return Blocks(BlocksConfig(dtype=dtype), Column("weights", "dense", layout))


def test_a_row_is_its_bits_and_the_floats_of_the_blocks_that_are_there() -> None:
    rows = np.array([[0, 0, 0, 1, 0, 0], [1, 2, 3, 0, 0, 4]], np.float32)
    data = make().encode(rows)
    assert data.row(0) == b"\x02" + np.array([1, 0], "<f4").tobytes()
    assert data.row(1) == b"\x05" + np.array([1, 2, 3, 4], "<f4").tobytes()


def test_an_answer_of_six_blocks_costs_what_it_assembles() -> None:
    rows = np.zeros((7, SIX.size), np.float32)
    for blocks in range(7):
        rows[blocks, : blocks * 20_480] = 0.5
    assert make(SIX, "fp16").encode(rows).sizes.tolist() == [1 + 2 * 20_480 * b for b in range(7)]
    assert make(SIX).encode(rows).sizes.tolist() == [1 + 4 * 20_480 * b for b in range(7)]


def test_more_than_eight_blocks_take_a_second_byte_of_bits() -> None:
    layout = Layout(tuple(Layer(f"block{i}.w", 1, 1) for i in range(9)))
    rows = np.zeros((1, 9), np.float32)
    rows[0, 8] = 1
    codec = make(layout)
    assert codec.encode(rows).row(0) == b"\0\1" + np.float32(1).tobytes()
    np.testing.assert_array_equal(codec.decode(codec.encode(rows)), rows)


def test_a_block_that_rounds_to_nothing_is_not_sent() -> None:
    rows = np.array([[1e-9, 0, 0, 1, 0, 0]], np.float32)
    codec = make(dtype="fp16")
    data = codec.encode(rows)
    assert data.sizes.tolist() == [1 + 2 * 2]
    np.testing.assert_array_equal(codec.decode(data), [[0, 0, 0, 1, 0, 0]])


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"", "is shorter than its 1 bytes of bits"),
        (b"\x0a" + bytes(8), "sets bits past the last of 3 blocks"),
        (b"\x02" + bytes(7), "has 8 bytes where its bits name blocks of 9"),
        (b"\x06" + bytes(8), "has 9 bytes where its bits name blocks of 13"),
        (b"\x00" + bytes(8), "has 9 bytes where its bits name blocks of 1"),
        (b"\x02" + bytes(8), "sends a block that is all zero, which its bit alone would say"),
    ],
)
def test_wrong_bits_are_told(bad: bytes, reason: str) -> None:
    codec = make()
    good = codec.encode(np.ones((1, 6), np.float32)).row(0)
    with pytest.raises(RowError, match=f"row 1: {reason}"):
        codec.decode(Ragged.of([good, bad]))
