from __future__ import annotations

import numpy as np
import pytest

from fedsim.kernels.network import WORD, backward, forward, routes


def bits_of(words: np.ndarray) -> np.ndarray:
    return np.unpackbits(words.view(np.uint8), bitorder="little")


@pytest.mark.parametrize("spans", [[1], [1] * 30, [2, 1, 8, 1, 4]])
def test_bits_of_rows_come_where_they_are_to(spans: list[int]) -> None:
    rng = np.random.default_rng(len(spans))
    source = np.concatenate([rng.permutation(WORD * span) for span in spans])
    words = rng.integers(0, 2**64, sum(spans), np.uint64)
    masks = routes(source, np.array(spans))
    assert masks.shape == (11 + 2 * int(np.log2(max(spans))), sum(spans))
    moved = words.copy()
    forward(moved, masks)
    first = np.repeat(WORD * (np.cumsum(spans) - spans), WORD * np.array(spans))
    np.testing.assert_array_equal(bits_of(moved), bits_of(words)[first + source])
    backward(moved, masks)
    np.testing.assert_array_equal(moved, words)


def test_bits_in_order_pass_no_swap() -> None:
    assert not routes(np.tile(np.arange(WORD), 3), np.array([1, 1, 1])).any()
