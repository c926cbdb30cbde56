"""Blocks as changes of those held: bytes by hand, and what cannot be."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from fedsim.codecs.base import Column, RowError, Rows
from fedsim.codecs.blockdelta import BlockDelta, BlockDeltaConfig
from fedsim.errors import WireError
from fedsim.layout import Layer, Layout
from fedsim.ragged import Ragged

SIZES = (2, 3, 1, 4)
LAYOUT = Layout(tuple(Layer(f"part{i}", 1, size) for i, size in enumerate(SIZES)))


def codec(dtype: str = "fp32") -> BlockDelta:
    config = BlockDeltaConfig(name="blockdelta", dtype=dtype)
    return BlockDelta(config, Column("table", "dense", LAYOUT))


def row(*blocks: float) -> Rows:
    """One row whose blocks hold one value each."""
    return np.repeat(np.array(blocks, np.float32), SIZES)[None]


def test_only_new_blocks_are_sent() -> None:
    held, new = row(1, 0, 3, 4), row(1, 2, 0, 5)
    (data,) = [codec().encode(new, held)]
    check = zlib.crc32(held.tobytes()).to_bytes(4, "little")
    sent = np.array([2, 2, 2, 5, 5, 5, 5], "<f4").tobytes()
    assert data.row(0) == bytes([0b1011]) + check + bytes([0b1010]) + sent
    np.testing.assert_array_equal(codec().decode(data, held), new)


def test_what_is_dropped_or_stays_costs_no_floats() -> None:
    held = row(1, 2, 3, 4)
    for new in (held, row(0, 2, 0, 0), row(0, 0, 0, 0)):
        data = codec().encode(new, held)
        assert data.sizes.tolist() == [1 + 4 + 1]
        np.testing.assert_array_equal(codec().decode(data, held), new)


def test_with_nothing_held_it_is_the_row_alone() -> None:
    data = codec("fp16").encode(row(1, 0, 3, 4))
    assert data.row(0)[:6] == bytes([0b1101, 0, 0, 0, 0, 0b1101])
    assert data.sizes.tolist() == [6 + 2 * (2 + 1 + 4)]
    assert codec("fp16").encode(row(1, 0, 3, 4), row(0, 0, 0, 0)).row(0) == data.row(0)


def test_half_precision_compares_what_was_rounded() -> None:
    thirds, half = row(1 / 3, 2, 3, 4), codec("fp16")
    held = half.decode(half.encode(thirds))
    assert half.encode(thirds, held).sizes.tolist() == [6]


def test_one_row_serves_edges_that_hold_different_ones() -> None:
    held = np.concatenate([row(1, 2, 3, 4), row(0, 2, 3, 4), row(9, 9, 9, 9)])
    data = codec().encode(row(1, 2, 3, 4), held)
    assert data.sizes.tolist() == [6, 6 + 8, 6 + 40]
    np.testing.assert_array_equal(codec().decode(data, held), row(1, 2, 3, 4).repeat(3, 0))
    with pytest.raises(WireError, match="column 'table': 2 rows held for 3"):
        codec().decode(data, held[:2])


def test_rows_that_cannot_be_are_told() -> None:
    held, new = row(1, 2, 3, 4), row(1, 2, 3, 5)
    good = codec().encode(new, held).row(0)
    with pytest.raises(RowError, match="row 0: keeps blocks held, and none are held"):
        codec().decode(Ragged.of([good]))
    with pytest.raises(RowError, match="row 0: keeps blocks of another row than the one held"):
        codec().decode(Ragged.of([good]), row(1, 2, 3.5, 4))
    cases = {
        "sets bits past the last of 4 blocks": bytes([good[0] | 0x10]) + good[1:],
        "sends a block that it says is not there": bytes([good[0] & 0b0111]) + good[1:],
        "is shorter than its head of 5 bytes": good[:4],
        "has 21 bytes where its bits name blocks of 17": good + b"\0\0\0\0",
    }
    for reason, bad in cases.items():
        with pytest.raises(RowError, match=f"row 1: {reason}"):
            codec().decode(Ragged.of([good, bad]), held.repeat(2, 0))
    zeros = bytearray(codec().encode(row(0, 2, 0, 0)).row(0))
    zeros[1] = 7
    with pytest.raises(RowError, match="row 0: keeps blocks of another row"):
        codec().decode(Ragged.of([bytes(zeros)]))
