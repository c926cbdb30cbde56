from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis import statistics
from analysis.statistics import Bootstrap, Estimate


@pytest.fixture
def table() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    talent = rng.normal(0.3, 0.1, 300)
    sums = np.stack(
        [talent + rng.normal(0, 0.02, 300), talent + 0.01 + rng.normal(0, 0.02, 300)], 1
    )
    return sums * 4, np.full((300, 2), 4.0)


def test_intervals_are_those_of_scipy(table: tuple[np.ndarray, np.ndarray]) -> None:
    sums, counts = table
    mine = Bootstrap(sums, counts, draws=4000).mean([0])
    theirs = stats.bootstrap(
        (sums[:, 0], counts[:, 0]),
        lambda s, c, axis: s.sum(axis=axis) / c.sum(axis=axis),
        paired=True, method="percentile", n_resamples=4000, rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert mine.value == pytest.approx(sums[:, 0].sum() / 1200)
    assert mine.low == pytest.approx(theirs.low, abs=5e-4)
    assert mine.high == pytest.approx(theirs.high, abs=5e-4)


def test_differences_are_paired(table: tuple[np.ndarray, np.ndarray]) -> None:
    boot = Bootstrap(*table)
    gap = boot.difference([1], [0])
    assert gap.value == pytest.approx(boot.mean([1]).value - boot.mean([0]).value)
    assert gap.excludes_zero
    assert gap.high - gap.low < 0.5 * (boot.mean([0]).high - boot.mean([0]).low)


def test_same_seed_same_interval_whatever_the_chunks(
    table: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Bootstrap(*table, draws=100)
    monkeypatch.setattr(statistics, "_CHUNK", 7 * 300)
    assert np.array_equal(first.draws, Bootstrap(*table, draws=100).draws)
    assert not np.array_equal(first.draws, Bootstrap(*table, draws=100, seed=1).draws)


def test_a_series_has_the_same_draws_in_any_company(table: tuple[np.ndarray, np.ndarray]) -> None:
    sums, counts = table
    both = Bootstrap(sums, counts, draws=100).draws
    for series in (0, 1):
        alone = Bootstrap(sums[:, [series]], counts[:, [series]], draws=100).draws
        assert np.array_equal(alone[:, 0], both[:, series])


def test_a_mean_over_seeds_weighs_seeds_alike() -> None:
    sums, counts = np.array([[1.0, 30.0]]), np.array([[2.0, 40.0]])
    assert Bootstrap(sums, counts, draws=50).mean([0, 1]).value == pytest.approx(0.625)


def test_edges_that_a_series_lacks_do_not_count() -> None:
    sums, counts = np.array([[1.0, 1.0], [1.0, 0.0]]), np.array([[4.0, 2.0], [4.0, 0.0]])
    boot = Bootstrap(sums, counts, draws=500)
    assert boot.mean([1]).value == 0.5
    assert (boot.mean([1]).low, boot.mean([1]).high) == (0.5, 0.5)


def test_nothing_measured_is_no_number() -> None:
    empty = Bootstrap(np.zeros((2, 1)), np.zeros((2, 1)), draws=10).mean([0])
    assert np.isnan(empty.value)
    assert empty.text() == "\u2013"
    assert not empty.excludes_zero


def test_large_populations_get_fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "_WORK", 10_000)
    assert Bootstrap(np.ones((20, 1)), np.ones((20, 1)), draws=800).draws.shape == (500, 1)
    assert Bootstrap(np.ones((99, 1)), np.ones((99, 1)), draws=800).draws.shape == (200, 1)


def test_minus_signs_are_typeset() -> None:
    assert Estimate(-0.5, -1, 0.25).text(2, sign=True) == "\u22120.50 [\u22121.00, +0.25]"
