"""Ranking metrics, by hand and against torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.retrieval import (
    retrieval_hit_rate,
    retrieval_normalized_dcg,
    retrieval_reciprocal_rank,
)

from fedsim.metrics import ranking_sums


def test_sums_by_hand() -> None:
    sums = ranking_sums(np.array([0, 1, 12]), np.array([0, 0, 2]), 3, [10])
    assert sums["hit_10"].tolist() == [2, 0, 0]
    assert sums["ndcg_10"] == pytest.approx([1 + 1 / np.log2(3), 0, 0])
    assert sums["mrr"] == pytest.approx([1.5, 0, 1 / 13])


@pytest.mark.parametrize("k", [1, 5, 10])
def test_metrics_equal_torchmetrics(k: int) -> None:
    gen = np.random.default_rng(5)
    scores = gen.random((20, 30))
    wanted = gen.integers(30, size=20)
    ranks = (scores > scores[np.arange(20), wanted][:, None]).sum(axis=1)
    sums = ranking_sums(ranks, np.arange(20), 20, [k])
    for row in range(20):
        target = torch.zeros(30, dtype=torch.bool)
        target[wanted[row]] = True
        line = torch.from_numpy(scores[row])
        hit = retrieval_hit_rate(line, target, top_k=k)
        assert sums[f"hit_{k}"][row] == pytest.approx(hit.item())
        ndcg = retrieval_normalized_dcg(line, target, top_k=k)
        assert sums[f"ndcg_{k}"][row] == pytest.approx(ndcg.item(), abs=1e-6)
        assert sums["mrr"][row] == pytest.approx(retrieval_reciprocal_rank(line, target).item())
