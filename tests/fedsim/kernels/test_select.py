"""Selection is exact, ties go to the lowest index, and both backends give the same bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from fedsim.errors import DataError
from fedsim.kernels.select import kept_count, select, select_into

FLOATS = st.floats(-(2.0**120), 2.0**120, width=32)  # times a row's weight, still finite
FEW = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, 1e-45])


def reference(
    scores: NDArray[np.float32], row_weights: NDArray[np.float32] | None, keep: int
) -> NDArray[np.uint8]:
    weights = np.ones((len(scores), 1), np.float32) if row_weights is None else row_weights
    size = np.abs(scores * np.repeat(weights, scores.shape[1] // weights.shape[1], axis=1))
    order = np.argsort(-size, axis=1, kind="stable")[:, :keep]
    mask = np.zeros(scores.shape, bool)
    np.put_along_axis(mask, order, True, axis=1)
    return np.packbits(mask, axis=1, bitorder="little")


@settings(deadline=None)
@given(data=st.data(), elements=st.sampled_from([FLOATS, FEW]), weighed=st.booleans())
def test_both_backends_equal_a_stable_sort(
    data: st.DataObject, elements: st.SearchStrategy[float], weighed: bool
) -> None:
    batch, rows, columns = (data.draw(st.integers(1, high)) for high in (3, 5, 9))
    scores = data.draw(arrays(np.float32, (batch, rows * columns), elements=elements))
    weights = data.draw(arrays(np.float32, (batch, rows), elements=st.floats(0, 4, width=32)))
    keep = data.draw(st.integers(0, rows * columns))
    wanted = reference(scores, weights if weighed else None, keep)
    for backend in ("numba", "torch"):
        found = select(scores, weights if weighed else None, keep, backend=backend)
        np.testing.assert_array_equal(found, wanted, err_msg=backend)


def test_a_large_batch_is_exact_on_any_number_of_threads() -> None:
    gen = np.random.default_rng(0)
    scores = gen.standard_normal((200, 4096)).astype(np.float32)
    scores[::7] = np.round(scores[::7])  # rows full of ties
    scores[3], scores[5] = 0, 1
    weights = gen.random((200, 64)).astype(np.float32)
    wanted = reference(scores, weights, 410)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            np.testing.assert_array_equal(select(scores, weights, 410), wanted)
    finally:
        torch.set_num_threads(threads)


def test_ties_keep_the_lowest_index() -> None:
    scores = np.array([[0, 1, -1, 1, 0, 1]], np.float32)
    assert select(scores, None, 2).tolist() == [[0b000110]]
    assert select(np.zeros((1, 20), np.float32), None, 9).tolist() == [[255, 1, 0]]


def test_packs_into_a_slice_of_wider_rows() -> None:
    packed = np.zeros((2, 6), np.uint8)
    select_into(np.eye(2, 16, dtype=np.float32), None, 1, packed[:, 2:4])
    assert packed.tolist() == [[0, 0, 1, 0, 0, 0], [0, 0, 2, 0, 0, 0]]


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_nan_names_its_row(backend: str) -> None:
    scores = np.ones((5, 8), np.float32)
    scores[3, 2] = np.nan
    with pytest.raises(DataError, match="score of row 3 of the batch is nan"):
        select(scores, None, 2, backend=backend)  # type: ignore[arg-type]
    scores[3, 2] = np.inf
    assert select(scores, None, 1, backend=backend)[3].tolist() == [4]  # type: ignore[arg-type]


def test_keep_out_of_range() -> None:
    with pytest.raises(DataError, match="keep = 9 of 8 elements"):
        select(np.ones((1, 8), np.float32), None, 9)


def test_a_kept_fraction_is_at_least_one_element() -> None:
    assert [kept_count(4096, 0.1), kept_count(20, 0.3), kept_count(20, 0.001)] == [410, 6, 1]
