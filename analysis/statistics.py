"""Bootstrap over edges of ratios of sums, for many series at once.

An accuracy is a ratio of sums over edges (hits over targets), a mean over seeds of such
ratios, or a difference of two of them. All series are resampled with the same edges, so
differences are paired. Same intervals as ``scipy.stats.bootstrap(method="percentile")``,
which takes one statistic at a time and no weights.

Efron, Tibshirani: An Introduction to the Bootstrap. Chapman & Hall, 1993.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedsim.rng import generator

MINUS, NONE = "\u2212", "\u2013"
"""The minus sign, and the dash that stands for no value."""

Floats = NDArray[np.float64]

DRAWS = 2000
"""Resamples; fewer (at least 200) for populations so large that this many take minutes."""

_WORK = 100_000_000
_CHUNK = 2_000_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside of the interval."""
        return self.low > 0 or self.high < 0

    def text(self, digits: int = 4, sign: bool = False) -> str:
        """Return ``value [low, high]``.

        >>> Estimate(0.12345, 0.1, 0.15).text(3), Estimate(0.5, 0.25, 1).text(2, sign=True)
        ('0.123 [0.100, 0.150]', '+0.50 [+0.25, +1.00]')
        """
        if np.isnan(self.value):
            return NONE
        parts = [f"{v:{'+' if sign else ''}.{digits}f}" for v in (self.value, self.low, self.high)]
        value, low, high = (part.replace("-", MINUS) for part in parts)
        return f"{value} [{low}, {high}]"


class Bootstrap:
    """Ratios of sums and their resamples.

    Parameters
    ----------
    sums, counts
        Of every edge in every series, float (edges, S); zero where an edge is not in it.
    draws
        Number of resamples.
    """

    def __init__(self, sums: Floats, counts: Floats, draws: int = DRAWS, seed: int = 0) -> None:
        sums, counts = np.asarray(sums, float), np.asarray(counts, float)
        draws = max(min(draws, _WORK // max(len(sums), 1)), min(draws, 200))
        with np.errstate(invalid="ignore", divide="ignore"):
            self.values: Floats = sums.sum(0) / counts.sum(0)
            self.draws: Floats = _resample(np.hstack([sums, counts]), draws, seed)

    @classmethod
    def beside(cls, parts: Sequence[tuple[Sequence[int], Bootstrap]], width: int) -> Bootstrap:
        """Return one bootstrap of `width` series from parts and the series each stands for."""
        draws = min((len(part.draws) for _, part in parts), default=1)
        made = cls.__new__(cls)
        made.values, made.draws = np.full(width, np.nan), np.full((draws, width), np.nan)
        for series, part in parts:
            made.values[list(series)] = part.values
            made.draws[:, list(series)] = part.draws[:draws]
        return made

    def mean(self, series: Sequence[int]) -> Estimate:
        """Return the mean of some series (the seeds of one method)."""
        columns = list(series)
        return _estimate(self.values[columns].mean(), self.draws[:, columns].mean(1))

    def difference(self, series: Sequence[int], other: Sequence[int]) -> Estimate:
        """Return the mean of some series minus that of others, over the same edges."""
        a, b = list(series), list(other)
        value = self.values[a].mean() - self.values[b].mean()
        return _estimate(value, self.draws[:, a].mean(1) - self.draws[:, b].mean(1))


def _estimate(value: np.float64, draws: Floats) -> Estimate:
    kept = draws[np.isfinite(draws)]
    if not np.isfinite(value) or not len(kept):
        return Estimate(float("nan"), float("nan"), float("nan"))
    low, high = np.percentile(kept, [2.5, 97.5])
    return Estimate(float(value), float(low), float(high))


def _resample(table: Floats, draws: int, seed: int) -> Floats:
    """Return ratios of resampled sums, (draws, S), from columns of S sums and S counts."""
    edges, width = table.shape
    rng = generator(seed, "bootstrap")
    chunk = max(_CHUNK // max(edges, 1), 1)
    scale = _scale(table)
    whole = np.rint(table * scale).astype(np.int64)
    out = np.empty((draws, width))
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        picks = rng.integers(edges, size=(size, edges)) + edges * np.arange(size)[:, None]
        times = np.bincount(picks.ravel(), minlength=size * edges).reshape(size, edges)
        out[start : start + size] = (times @ whole) / scale
    return out[:, : width // 2] / out[:, width // 2 :]


def _scale(table: Floats) -> Floats:
    """Return what makes columns whole numbers, as fine as sums of them fit into 63 bits, (2 S).

    A sum of whole numbers is the same in any order: so a resample depends neither on how many are
    taken at once, nor on the columns beside it, nor on the processor.
    """
    largest = np.abs(table).max(axis=0, initial=0.0) * max(len(table), 1)
    scale: Floats = np.exp2(np.floor(62 - np.log2(np.maximum(largest, 1.0))))
    return scale
