"""An item embedding table cut into blocks, and users and items put into groups.

Notation: `B` rows, `V` items, `D` embedding size, `C` item clusters, `S` slices of the
embedding; block ``c S + s`` is slice s of the items of cluster c.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fedsim.layout import Layer, Layout

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Grid:
    """How a table of V items is cut: into clusters of equal size (but for one item) and slices.

    Items stand in the order of their clusters: those of cluster c are ``bounds[c]`` to
    ``bounds[c + 1] - 1``. A catalogue of fewer items than clusters has a cluster an item.
    """

    items: int
    dim: int
    most_clusters: int
    slices: int

    @property
    def clusters(self) -> int:
        """Number of clusters C."""
        return min(self.most_clusters, self.items)

    @property
    def blocks(self) -> int:
        """Number of blocks C S."""
        return self.clusters * self.slices

    @cached_property
    def bounds(self) -> Ints:
        """Where each cluster starts in the order of items, and the end; int64 (C + 1)."""
        return np.arange(self.clusters + 1) * self.items // self.clusters

    @cached_property
    def layout(self) -> Layout:
        """One layer a block, so that codecs can leave any block out."""
        width = self.dim // self.slices
        return Layout(
            tuple(
                Layer(f"cluster{cluster}slice{part}", int(size), width)
                for cluster, size in enumerate(np.diff(self.bounds))
                for part in range(self.slices)
            )
        )

    def fold(self, table: Floats) -> Floats:
        """Return a table (B, V, D), items in order, as rows of blocks (B, V D)."""
        return self._turned(table.reshape(len(table), -1), (-1, self.slices))

    def unfold(self, rows: Floats) -> Floats:
        """Return rows of blocks (B, V D) as tables (B, V, D), items in order."""
        return self._turned(rows, (self.slices, -1)).reshape(len(rows), self.items, self.dim)

    def _turned(self, rows: Floats, shape: tuple[int, int]) -> Floats:
        """Swap items and slices within each cluster."""
        width = self.dim // self.slices
        out = np.empty(rows.shape, rows.dtype)
        for start, stop in pairwise(self.bounds * self.dim):
            part = rows[:, start:stop].reshape(len(rows), *shape, width)
            out[:, start:stop] = part.swapaxes(1, 2).reshape(len(rows), -1)
        return out

    def there(self, rows: Floats) -> NDArray[np.bool_]:
        """Tell which blocks of rows (B, V D) are not all zero, bool (B, C S)."""
        starts = self.layout.offsets[:-1]
        return np.asarray(np.logical_or.reduceat(rows != 0, starts, axis=1), np.bool_)

    def only(self, rows: Floats, kept: NDArray[np.bool_]) -> Floats:
        """Return rows (B, V D) of which only the kept blocks, bool (B, C S), are not zero."""
        wide = np.repeat(kept, self.layout.block_sizes, axis=1)
        return np.where(wide, rows, np.float32(0))


def kept_first(weights: Floats, counts: Ints) -> NDArray[np.bool_]:
    """Tell which blocks are among the `counts` (B) of largest weight, bool (B, blocks).

    Ties go to the first block.

    >>> kept_first(np.array([[0.1, 0.9, 0.5]], np.float32), np.array([2])).tolist()
    [[False, True, True]]
    """
    order = np.argsort(-weights, axis=1, kind="stable")
    kept = np.zeros(weights.shape, np.bool_)
    np.put_along_axis(kept, order, np.arange(weights.shape[1]) < counts[:, None], axis=1)
    return kept


def kmeans_centres(points: Floats, count: int, seed: int) -> Floats:
    """Return at most `count` centres of points (n, D), float32 (k, D); one zero if no points.

    Lloyd: Least Squares Quantization in PCM. IEEE Transactions on Information Theory 28(2),
    1982. Repeatable: one thread, seeded.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    if not len(points):
        return np.zeros((1, points.shape[1]), np.float32)
    count = min(count, len(np.unique(points, axis=0)))
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(count, n_init=5, random_state=seed).fit(points.astype(np.float64))
    return np.asarray(found.cluster_centers_, np.float32)


def nearest_centre(points: Floats, centres: Floats) -> Ints:
    """Return the nearest centre of every point, int64 (n); ties go to the first."""
    return np.asarray(_distances(points, centres).argmin(axis=1), np.int64)


def clustered_order(table: Floats, grid: Grid, seed: int) -> Ints:
    """Return the items 0..V-1 of a table (V, D) in the order of their clusters, int64 (V).

    Every item goes to the nearest of the k-means centres that still has room; of those that
    want the same one, the closest go first.
    """
    centres = kmeans_centres(table, grid.clusters, seed)
    distances = _distances(table, centres)
    room = np.diff(grid.bounds).copy()
    missing = np.full((grid.items, grid.clusters - len(centres)), np.finfo(np.float32).max)
    distances = np.concatenate([distances, missing], axis=1)
    cluster = np.full(grid.items, -1)
    while (cluster < 0).any():
        left = np.flatnonzero(cluster < 0)
        wanted = np.where(room > 0, distances[left], np.inf)
        choice = wanted.argmin(axis=1)
        for c in np.unique(choice):
            mine = left[choice == c]
            near = mine[np.argsort(distances[mine, c], kind="stable")][: room[c]]
            cluster[near] = c
            room[c] -= len(near)
    return np.argsort(cluster, kind="stable")


def _distances(points: Floats, centres: Floats) -> Floats:
    """Return squared distances (n, k), each from its own row alone."""
    return np.stack([np.square(points - centre).sum(axis=1) for centre in centres], axis=1)
