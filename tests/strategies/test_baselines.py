"""Popularity and co-occurrence, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fedsim.data.base import Streams
from strategies.cooccurrence import follow_table
from tests.strategies.fitted import fitted


def test_popularity_ranks_by_count() -> None:
    made = fitted("popularity")
    counts = np.bincount(made.history[0].items, minlength=61)
    scores = made.half.scores(0, {}, np.zeros((2, 3, 4), np.int32))
    assert scores.shape == (2, 3, 61)
    np.testing.assert_array_equal(scores[1, 2].numpy(), counts)


def dense(streams: Streams, reach: int) -> np.ndarray:
    table = follow_table(streams, 4, reach)
    out = np.zeros((5, 5))
    for item in range(5):
        part = slice(table["starts"][item], table["starts"][item + 1])
        out[item, table["follows"][part]] = table["values"][part]
    return out


@pytest.mark.parametrize("reach", [1, 2, 9])
def test_the_table_counts_followers_within_reach(reach: int) -> None:
    rows = [[1, 2, 3], [2, 3, 1, 2], [4]]
    streams = Streams(
        np.concatenate(rows).astype(np.int32), np.cumsum([0, *map(len, rows)]).astype(np.int64)
    )
    counts = np.zeros((5, 5))
    for row in rows:
        for i, item in enumerate(row):
            for later in row[i + 1 : i + 1 + reach]:
                counts[item, later] += 1
    norm = np.sqrt(np.outer(counts.sum(1), counts.sum(0)))
    wanted = np.divide(counts, norm, out=np.zeros_like(counts), where=norm > 0)
    np.testing.assert_allclose(dense(streams, reach), wanted, rtol=1e-6)


def test_scores_add_up_the_windows_items() -> None:
    made = fitted("cooccurrence")
    window = np.array([[[0, 0, 3, 5]]], np.int32)
    alone = [made.half.scores(0, {}, np.full((1, 1, 1), i, np.int32)) for i in (3, 5)]
    np.testing.assert_allclose(made.half.scores(0, {}, window), alone[0] + alone[1])


def test_an_empty_history_scores_nothing() -> None:
    table = follow_table(Streams(np.zeros(0, np.int32), np.zeros(1, np.int64)), 4, 3)
    assert table["starts"].tolist() == [0] * 6
