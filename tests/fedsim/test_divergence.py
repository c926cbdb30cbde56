from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from fedsim.divergence import RECENT, interest_drift, jensen_shannon
from fedsim.slices import ChannelStreams

INTERESTS = np.array([[0, 0], [1, 0], [0, 1], [0.5, 0.5]], np.float32)


def test_divergence_of_known_histograms() -> None:
    # m = (3/4, 1/4): h(m) = 0.811278; (0 + 1) / 2 = 0.5.
    p, q = np.array([[4.0, 0.0]]), np.array([[1.0, 1.0]])
    assert jensen_shannon(p, q)[0] == pytest.approx(0.311278, abs=1e-6)


@given(st.lists(st.integers(0, 50), min_size=6, max_size=6))
def test_divergence_agrees_with_scipy(counts: list[int]) -> None:
    p, q = np.array(counts[:3], float), np.array(counts[3:], float)
    found = float(jensen_shannon(p[None], q[None])[0])
    if p.sum() == 0 or q.sum() == 0:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(jensenshannon(p, q, 2) ** 2, abs=1e-6)


def test_the_slice_is_compared_with_the_items_before() -> None:
    items = np.array([1, 1, 2, 1, 2, 3, 3], np.int32)
    streams = ChannelStreams(items, np.array([0, 3, 7, 7]), np.array([[2, 3], [2, 4], [0, 0]]))
    score = interest_drift(streams, INTERESTS, 1)
    assert score[:2].tolist() == [1.0, 0.0]
    assert np.isnan(score[2])


def test_only_recent_items_count() -> None:
    items = np.concatenate([np.full(99, 1), np.full(RECENT, 2), [2]]).astype(np.int32)
    streams = ChannelStreams(
        items, np.array([0, len(items)]), np.array([[99 + RECENT, len(items)]])
    )
    assert interest_drift(streams, INTERESTS, 1).tolist() == [0.0]
