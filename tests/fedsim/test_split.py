from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedsim import split


@given(st.integers(1, 3000), st.integers(0, 2**32))
def test_ranks_are_a_permutation(total: int, seed: int) -> None:
    ranks = split.ranks(seed, "any", np.arange(total), total)
    assert np.array_equal(np.sort(ranks), np.arange(total))


@given(st.integers(1, 500), st.integers(0, 9), st.floats(0, 1))
def test_a_subset_has_exactly_its_size_and_each_edge_knows_alone(
    total: int, seed: int, fraction: float
) -> None:
    together = split.chosen(seed, "ood", np.arange(total), total, fraction)
    assert together.sum() == round(fraction * total)
    alone = split.chosen(seed, "ood", np.array([total - 1]), total, fraction)
    assert alone[0] == together[-1]


def test_purposes_and_seeds_shuffle_differently() -> None:
    edges = np.arange(1000)
    base = split.ranks(0, "a", edges, 1000)
    for other in (split.ranks(1, "a", edges, 1000), split.ranks(0, "b", edges, 1000)):
        assert (base == other).mean() < 0.01
        assert abs(np.corrcoef(base, other)[0, 1]) < 0.15


def test_a_billion_edges_are_no_matter() -> None:
    ranks = split.ranks(0, "a", np.array([0, 10**9 - 1]), 10**9)
    assert ((ranks >= 0) & (ranks < 10**9)).all()


def test_shares_are_kept_to_the_edge() -> None:
    classes = split.shares(2, "device", np.arange(100), 100, np.array([1.0, 2.0, 1.0]))
    assert np.bincount(classes).tolist() == [25, 50, 25]
