"""The best items against a stable sort."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from fedsim.kernels.topk import top_items

SCORES = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, max_side=30),
    elements=st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 0.5, 2.0, 3.0]),
)


@settings(deadline=None)
@given(scores=SCORES, count=st.integers(1, 12))
def test_best_first_ties_by_id(scores: NDArray[np.float32], count: int) -> None:
    found = top_items(scores, count)
    for line, ids in zip(scores, found, strict=True):
        shown = [i for i in range(1, len(line)) if line[i] > -np.inf]
        wanted = sorted(shown, key=lambda i: (-line[i], i))[:count]
        assert ids.tolist() == wanted + [0] * (count - len(wanted))


def test_nan_is_never_shown() -> None:
    scores = np.array([[9, np.nan, 1, np.nan, 2]], np.float32)
    assert top_items(scores, 3).tolist() == [[4, 2, 0]]
