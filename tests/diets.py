"""Diets like those of a trained generator, for tests and benchmarks of codecs.

A position's score has a part all edges share, a part of its row and low-rank parts of the
edge, one for positions and one for rows; each layer keeps its top tenth. The parts are
weighed so that diets look like those of a DIET trained on MovieLens 100K: about half of the
rows are empty, the ideal codes take 11,500 bits by rows and 13,000 by positions (there
10,200 and 11,400), and 1,300 bits change from one interaction to the next (there 1,400).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedsim.layout import Layer, Layout

SASREC = Layout(tuple(Layer(f"layer{i}", 64, 64) for i in range(10)))
CASER = Layout(
    (*(Layer(f"horizontal{h}", 16, 64 * h) for h in range(1, 6)), Layer("vertical", 4, 5))
)
TINY = Layout((Layer("a", 3, 5), Layer("b", 2, 7)))


def top_tenth(scores: NDArray[np.float32], layout: Layout) -> NDArray[np.uint8]:
    """Return packed masks that keep the largest tenth of each layer."""
    bits = np.zeros(scores.shape, np.bool_)
    for start, layer in zip(layout.offsets, layout.layers, strict=False):
        part = scores[:, start : start + layer.size]
        keep = max(1, round(0.1 * layer.size))
        best = np.argpartition(-part, keep - 1, axis=1)[:, :keep]
        np.put_along_axis(bits[:, start : start + layer.size], best, True, axis=1)
    return np.packbits(bits, axis=1, bitorder="little")


def consecutive_diets(
    edges: int, layout: Layout = SASREC, *, seed: int = 0, step: float = 0.3
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the diets of edges, and those `step` of the personal part later."""
    model = np.random.default_rng(12345)
    shared = model.normal(size=layout.size) * 0.8
    rows = np.repeat(model.normal(size=len(layout.row_lengths)), layout.row_lengths)
    taste = model.normal(size=(16, layout.size)).astype(np.float32) * 0.15
    row_taste = np.repeat(
        model.normal(size=(16, len(layout.row_lengths))) * 0.3, layout.row_lengths, axis=1
    )
    rng = np.random.default_rng(seed)
    now = rng.normal(size=(edges, 16)).astype(np.float32)
    later = np.sqrt(1 - step**2) * now + step * rng.normal(size=now.shape)
    return tuple(  # type: ignore[return-value]
        top_tenth((shared + rows + who @ (taste + row_taste)).astype(np.float32), layout)
        for who in (now, later)
    )
