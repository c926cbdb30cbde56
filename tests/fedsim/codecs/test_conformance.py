"""What every codec must do; codecs are found by themselves, a new one needs no line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedsim import wire
from fedsim.codecs.base import Codec, Column, RowError, Rows
from fedsim.errors import ConfigError, WireError
from fedsim.layout import Layer, Layout
from fedsim.plugins import available, load, options
from fedsim.ragged import Ragged
from tests.diets import CASER, SASREC, TINY, consecutive_diets

LAYOUTS = {
    "sasrec": SASREC,
    "caser": CASER,
    "tiny": TINY,
    "one": Layout((Layer("bit", 1, 1),)),
    "wide": Layout((Layer("row", 2, 300), Layer("column", 40, 1))),
}
CASES = [
    pytest.param(name, kind, id=f"{name}-{kind}")
    for name in available("codecs")
    for kind in sorted(load("codecs", name).kinds)
]
KINDS = {name: load("codecs", name).kinds for name in available("codecs")}
every_codec = pytest.mark.parametrize(("name", "kind"), CASES)
every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


def make(name: str, kind: Any, layout: Layout = TINY) -> Codec:
    codec: Codec = load("codecs", name)(options("codecs", name), Column("answer", kind, layout))
    return codec


def sample(rng: np.random.Generator, kind: str, layout: Layout, rows: int) -> Rows:
    """Rows from empty to full."""
    density = np.linspace(0, 1, rows)[:, None] ** 2
    bits = rng.random((rows, layout.size)) < density
    if kind == "mask":
        return np.packbits(bits, axis=1, bitorder="little")
    return (bits * rng.normal(size=bits.shape)).astype(np.float32)


def held_for(codec: Codec, rows: Rows) -> Rows | None:
    return np.ascontiguousarray(rows[::-1]) if codec.needs_held else None


def check_round_trip(codec: Codec, rows: Rows, held: Rows | None = None) -> Ragged:
    data = codec.encode(rows, held)
    assert len(data) == len(rows)
    back = codec.decode(data, held)
    assert back.dtype == rows.dtype
    np.testing.assert_array_equal(back, rows)
    return data


@every_codec
@every_layout
def test_round_trip_from_empty_to_full(name: str, kind: str, layout: Layout) -> None:
    codec = make(name, kind, layout)
    rows = sample(np.random.default_rng(1), kind, layout, 9)
    check_round_trip(codec, rows, held_for(codec, rows))
    check_round_trip(codec, rows)


@every_codec
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_round_trip_of_any_rows(name: str, kind: str, data: st.DataObject) -> None:
    shapes = st.tuples(st.integers(1, 4), st.integers(1, 40))
    layers = data.draw(st.lists(shapes, min_size=1, max_size=3))
    layout = Layout(tuple(Layer(f"l{i}", *shape) for i, shape in enumerate(layers)))
    batch = (data.draw(st.integers(0, 4)), layout.size)
    codec = make(name, kind, layout)

    def draw() -> Rows:
        if kind == "mask":
            bits = data.draw(hnp.arrays(np.bool_, batch))
            return np.packbits(bits, axis=1, bitorder="little")
        return data.draw(hnp.arrays(np.float32, batch, elements=st.floats(width=32)))

    rows = draw()
    check_round_trip(codec, rows, draw() if codec.needs_held else None)


@every_codec
def test_a_fitted_codec_decodes_on_a_fresh_instance(name: str, kind: str) -> None:
    rng = np.random.default_rng(3)
    rows, later = sample(rng, kind, SASREC, 40), sample(rng, kind, SASREC, 7)
    if kind == "mask":
        rows, later = consecutive_diets(40)[0], consecutive_diets(7, seed=5)[0]
    cloud, edge = make(name, kind, SASREC), make(name, kind, SASREC)
    cloud.fit(rows)
    edge.load(cloud.side_information())
    assert edge.side_information() == cloud.side_information()
    for held in {None: None, "held": held_for(cloud, later)}.values():
        data = cloud.encode(later, held)
        np.testing.assert_array_equal(edge.decode(data, held), later)
        np.testing.assert_array_equal(edge.encode(later, held).buffer, data.buffer)


@every_codec
def test_no_rows(name: str, kind: str) -> None:
    codec = make(name, kind, CASER)
    rows = sample(np.random.default_rng(0), kind, CASER, 0)
    check_round_trip(codec, rows, held_for(codec, rows))


@every_codec
def test_a_row_is_coded_alike_alone_and_among_others(name: str, kind: str) -> None:
    codec = make(name, kind, CASER)
    rows = sample(np.random.default_rng(2), kind, CASER, 6)
    held = held_for(codec, rows)
    together = check_round_trip(codec, rows, held)
    again = check_round_trip(make(name, kind, CASER), rows, held)
    np.testing.assert_array_equal(again.buffer, together.buffer)
    for row in range(len(rows)):
        one = slice(row, row + 1)
        alone = codec.encode(rows[one], None if held is None else held[one])
        assert alone.row(0) == together.row(row)


@every_codec
def test_lengths_that_cannot_be_are_told(name: str, kind: str) -> None:
    codec = make(name, kind, SASREC)
    rows = sample(np.random.default_rng(4), kind, SASREC, 3)
    good = [codec.encode(rows).row(i) for i in range(3)]
    for bad in (b"", good[1][:-1], good[1] + b"\0"):
        with pytest.raises(RowError, match="row 1: "):
            codec.decode(Ragged.of([good[0], bad, good[2]]))


@every_codec
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_flipped_or_cut_record_is_never_taken(name: str, kind: str, data: st.DataObject) -> None:
    codec = make(name, kind, TINY)
    columns = [(codec.column, codec)]
    rows: Mapping[str, Rows] = {"answer": sample(np.random.default_rng(6), kind, TINY, 3)}
    records = wire.seal(columns, rows)
    place = data.draw(st.integers(int(records.offsets[1]), int(records.offsets[2]) - 1))
    good = [records.row(i) for i in range(3)]
    at = place - int(records.offsets[1])
    flipped = bytearray(good[1])
    flipped[at] ^= 1 << data.draw(st.integers(0, 7))
    for bad in (bytes(flipped), good[1][:at]):
        with pytest.raises(WireError, match=r"edge 17 is (bit-flipped|truncated)"):
            wire.open_records(
                columns, Ragged.of([good[0], bad, good[2]]), edges=np.array([3, 17, 20])
            )


@every_codec
def test_wrong_shapes_and_kinds_are_told(name: str, kind: str) -> None:
    codec = make(name, kind, TINY)
    with pytest.raises(WireError, match="column 'answer' wants"):
        codec.encode(np.zeros((2, 999), codec.column.dtype))
    with pytest.raises(WireError, match="column 'answer' wants"):
        codec.encode(np.zeros((2, codec.column.width), np.float64))
    other = "dense" if kind == "mask" else "mask"
    if other not in KINDS[name]:
        with pytest.raises(ConfigError, match=f"codec '{name}' takes columns of kind {kind}"):
            make(name, other)


@pytest.mark.parametrize("name", [name for name, kinds in KINDS.items() if "mask" in kinds])
def test_bits_past_the_last_parameter_are_told(name: str) -> None:
    rows = np.zeros((2, TINY.packed_bytes), np.uint8)
    rows[1, -1] = 0x80
    with pytest.raises(RowError, match="row 1: sets bits past the last of 29 parameters"):
        make(name, "mask").encode(rows)
