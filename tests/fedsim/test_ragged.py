from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedsim.ragged import Ragged

rows_of_bytes = st.lists(st.binary(max_size=9), max_size=6)


@given(rows_of_bytes)
def test_rows_come_back(rows: list[bytes]) -> None:
    data = Ragged.of(rows)
    assert len(data) == len(rows)
    assert data.sizes.tolist() == [len(row) for row in rows]
    assert [data.row(i) for i in range(len(data))] == rows


@given(rows_of_bytes, st.data())
def test_take_names_rows_in_any_order(rows: list[bytes], data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8)) if rows else []
    taken = Ragged.of(rows).take(np.array(places, np.int64))
    assert [taken.row(i) for i in range(len(taken))] == [rows[place] for place in places]


@given(st.lists(rows_of_bytes, max_size=4))
def test_concat_puts_parts_one_after_the_other(parts: list[list[bytes]]) -> None:
    whole = Ragged.concat([Ragged.of(rows) for rows in parts])
    assert [whole.row(i) for i in range(len(whole))] == [row for rows in parts for row in rows]


def test_fixed_and_empty() -> None:
    data = Ragged.fixed(np.array([[1, 2], [3, 4]], np.uint8))
    assert (data.row(0), data.row(1)) == (b"\1\2", b"\3\4")
    assert Ragged.empty(3).sizes.tolist() == [0, 0, 0]
    assert len(Ragged.fixed(np.zeros((0, 5), np.uint8))) == 0
