from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from fedsim import wire
from fedsim.codecs.base import Codec, Column, Rows
from fedsim.codecs.bitmask import Bitmask
from fedsim.codecs.csr import Csr
from fedsim.codecs.dense import Dense, DenseConfig
from fedsim.errors import DataError, WireError
from fedsim.kernels.crc import crc32_rows
from fedsim.layout import Layer, Layout
from fedsim.plugins import Options
from fedsim.ragged import Ragged
from tests.diets import CASER, TINY

VECTOR = Layout((Layer("user", 1, 4),))
MASK = Bitmask(Options(name="bitmask"), Column("mask", "mask", TINY))
USER = Dense(DenseConfig(name="dense"), Column("user", "dense", VECTOR))
BOTH: list[tuple[Column, Codec]] = [(MASK.column, MASK), (USER.column, USER)]
ONE: list[tuple[Column, Codec]] = [(MASK.column, MASK)]
ROWS: dict[str, Rows] = {
    "mask": np.array([[1, 2, 3, 4], [255, 0, 255, 31], [0, 0, 0, 0]], np.uint8),
    "user": np.arange(12, dtype=np.float32).reshape(3, 4),
}
EDGES = np.array([4, 17, 99])


def damaged(records: Ragged, record: bytes) -> Ragged:
    return Ragged.of([records.row(0), record, records.row(2)])


@given(st.lists(st.binary(max_size=70), max_size=5))
def test_crc_is_that_of_zlib(rows: list[bytes]) -> None:
    data = Ragged.of(rows)
    assert crc32_rows(data.buffer, data.offsets).tolist() == [zlib.crc32(row) for row in rows]


def test_a_record_is_header_and_payload_to_the_byte() -> None:
    record = wire.seal(ONE, ROWS).row(1)
    assert len(record) == 12 + 4
    assert record[0] == 2
    assert record[2:4] == (16).to_bytes(2, "little")
    assert record[4:8] == zlib.crc32(b"", TINY.fingerprint).to_bytes(4, "little")
    assert record[8:12] == zlib.crc32(record[:8] + record[12:]).to_bytes(4, "little")
    assert record[12:] == ROWS["mask"][1].tobytes()


def test_several_columns_travel_in_one_record() -> None:
    records = wire.seal(BOTH, ROWS)
    assert records.sizes.tolist() == [12 + 4 + 4 + 16] * 3
    answer = wire.open_records(BOTH, records)
    assert list(answer) == ["mask", "user"]
    for name, rows in ROWS.items():
        np.testing.assert_array_equal(answer[name], rows)


def test_no_edges_make_no_records() -> None:
    records = wire.seal(BOTH, {name: rows[:0] for name, rows in ROWS.items()})
    assert len(records) == 0
    assert wire.open_records(BOTH, records)["mask"].shape == (0, 4)


def test_a_missing_column_is_told() -> None:
    with pytest.raises(WireError, match=r"answer lacks column 'user'; it has \['mask'\]"):
        wire.seal(BOTH, {"mask": ROWS["mask"]})


@pytest.mark.parametrize(("keep", "told"), [(0, 0), (5, 5), (12, 12), (35, 35)])
def test_a_truncated_answer_names_its_edge(keep: int, told: int) -> None:
    records = wire.seal(BOTH, ROWS)
    with pytest.raises(WireError, match=f"answer of edge 17 is truncated: {told} bytes arrived"):
        wire.open_records(BOTH, damaged(records, records.row(1)[:keep]), edges=EDGES)


def test_every_single_flipped_bit_is_noticed() -> None:
    records = wire.seal(BOTH, ROWS)
    record = records.row(1)
    for bit in range(8 * len(record)):
        flipped = bytearray(record)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WireError, match=r"edge 17 is (bit-flipped|truncated).*ask again"):
            wire.open_records(BOTH, damaged(records, bytes(flipped)), edges=EDGES)


def resealed(record: bytes, at: int, value: int) -> bytes:
    """The record with another byte and a right checksum."""
    body = bytearray(record)
    body[at] = value
    body[8:12] = zlib.crc32(bytes(body[:8] + body[12:])).to_bytes(4, "little")
    return bytes(body)


def test_another_version_is_told() -> None:
    records = wire.seal(ONE, ROWS)
    data = damaged(records, resealed(records.row(1), 0, 9))
    with pytest.raises(
        WireError, match=r"edge 17 is of another version \(9, here 2\); use the same"
    ):
        wire.open_records(ONE, data, edges=EDGES)


def test_another_backbone_is_told() -> None:
    caser = Bitmask(Options(name="bitmask"), Column("mask", "mask", CASER))
    records = wire.seal([(caser.column, caser)], {"mask": np.zeros((1, 1923), np.uint8)})
    with pytest.raises(WireError, match=r"edge 5 is of another backbone .*provision the edge"):
        wire.open_records(ONE, records, edges=np.array([5]))


def test_another_network_of_the_same_layout_is_told() -> None:
    other = Bitmask(Options(name="bitmask"), replace(MASK.column, salt=7))
    records = wire.seal([(other.column, other)], ROWS)
    with pytest.raises(WireError, match=r"is of another backbone .*provision the edge"):
        wire.open_records(ONE, records)


def test_another_codec_is_told() -> None:
    csr = Csr(Options(name="csr"), MASK.column)
    records = wire.seal([(csr.column, csr)], ROWS)
    with pytest.raises(WireError, match=r"edge 0 was encoded by another codec .*same scenario"):
        wire.open_records(ONE, records)


def test_lengths_beyond_the_record_are_told() -> None:
    records = wire.seal(BOTH, ROWS)
    data = damaged(records, resealed(records.row(1), 15, 255))
    with pytest.raises(WireError, match="edge 17 does not hold the lengths of its columns"):
        wire.open_records(BOTH, data, edges=EDGES)


def test_a_payload_its_codec_cannot_read_names_edge_and_column() -> None:
    records = wire.seal(ONE, ROWS)
    data = damaged(records, resealed(records.row(1), 15, 255))
    with pytest.raises(WireError, match="edge 17: column 'mask' sets bits past the last of 29"):
        wire.open_records(ONE, data, edges=EDGES)


WINDOWS = np.array([[0, 0, 0, 9, 5], [1, 2, 3, 4, 927], [0, 0, 0, 0, 0]], np.int32)


def test_uploads_send_no_padding() -> None:
    uploads = wire.encode_items(WINDOWS, 927)
    assert uploads.sizes.tolist() == [6 + 4, 6 + 10, 6]
    assert uploads.row(0)[:2] == b"\2\0"
    assert uploads.row(0)[6:] == b"\x09\0\5\0"
    np.testing.assert_array_equal(wire.decode_items(uploads, 927, 5), WINDOWS)
    np.testing.assert_array_equal(wire.decode_items(uploads, 927, 7)[:, 2:], WINDOWS)


@pytest.mark.parametrize(("num_items", "width"), [(65_535, 2), (65_536, 4), (10_000_000, 4)])
def test_ids_take_two_or_four_bytes(num_items: int, width: int) -> None:
    windows = np.array([[0, num_items]])
    uploads = wire.encode_items(windows, num_items)
    assert uploads.sizes.tolist() == [6 + width]
    assert wire.decode_items(uploads, num_items, 2).tolist() == [[0, num_items]]


@given(
    hnp.arrays(
        np.int32, st.tuples(st.integers(0, 4), st.integers(1, 9)), elements=st.integers(1, 70_000)
    ),
    st.data(),
)
def test_any_windows_come_back(windows: NDArray[np.int32], data: st.DataObject) -> None:
    for row in windows:
        row[: data.draw(st.integers(0, len(row)))] = 0
    uploads = wire.encode_items(windows, 70_000)
    np.testing.assert_array_equal(wire.decode_items(uploads, 70_000, windows.shape[1]), windows)


@pytest.mark.parametrize(
    ("window", "told"),
    [
        ([0, 0, 928], "item id 928; ids are whole numbers from 1 to 927"),
        ([0, -3, 5], "item id -3;"),
        ([0, float("nan"), 5], "item id nan;"),
        ([0, 2.5, 5], "item id 2.5;"),
        ([0, float("inf"), 5], "item id inf;"),
        ([4, 0, 5], "item id 0; .* 0 only pads on the left"),
    ],
)
def test_a_bad_item_names_edge_and_value(window: list[float], told: str) -> None:
    windows = np.array([[0, 1, 2], window])
    with pytest.raises(DataError, match=f"upload of edge 17 holds {told}"):
        wire.encode_items(windows, 927, edges=np.array([4, 17]))


def test_whole_floats_are_items() -> None:
    uploads = wire.encode_items(np.array([[0.0, 3.0]]), 927)
    assert wire.decode_items(uploads, 927, 2).tolist() == [[0, 3]]


def test_windows_of_no_rows_or_too_long_are_told() -> None:
    with pytest.raises(DataError, match="at most 65,535 ids"):
        wire.encode_items(np.zeros((1, 70_000), np.int32), 9)


def test_damaged_uploads_name_their_edge() -> None:
    uploads = wire.encode_items(WINDOWS, 927)
    record = uploads.row(1)
    for cut in range(len(record)):
        with pytest.raises(WireError, match="edge 17 is truncated"):
            wire.decode_items(damaged(uploads, record[:cut]), 927, 5, EDGES)
    for bit in range(16, 8 * len(record)):
        flipped = bytearray(record)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WireError, match="edge 17 is bit-flipped"):
            wire.decode_items(damaged(uploads, bytes(flipped)), 927, 5, EDGES)


def test_the_cloud_checks_ids_and_lengths_itself() -> None:
    uploads = wire.encode_items(np.array([[1, 2, 950]]), 1000)
    with pytest.raises(WireError, match=r"upload of edge 0 holds item id 950; .*; send it again"):
        wire.decode_items(uploads, 927, 3)
    with pytest.raises(WireError, match="holds 3 items where at most 2 are read"):
        wire.decode_items(uploads, 1000, 2)
