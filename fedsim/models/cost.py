"""What methods cost an edge: parameters, bits of an answer, bits stored, MACs.

The accounting of Fu et al., DIET (KDD 2024), https://arxiv.org/abs/2406.08804: only
maskable parameters count; a float is 32 bits, a pruned model in CSR form 64 bits (value and
index) a kept element, a diet one bit a parameter. Item embeddings, norms, biases and
positions are outside; what an edge really stores and receives, to the byte, is in the
ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fedsim.layout import Layout
from fedsim.models.base import Backbone, largest_layer

FLOAT_BITS = 32
CSR_BITS = 64
MEGA = 1e6


@dataclass(frozen=True, slots=True)
class BackboneCost:
    """One backbone: parameters, bits of each form of an answer, MACs of one inference."""

    backbone: str
    maskable: int
    largest_layer: int
    dense_bits: int
    diet_bits: int
    csr_bits: int
    """Pruned to a kept fraction: 64 keep N."""
    macs: int

    @property
    def row(self) -> dict[str, str]:
        """The figures as the papers print them: Mbit and millions of MACs."""
        return {
            "backbone": self.backbone,
            "maskable parameters": f"{self.maskable:,}",
            "dense Mbit": f"{self.dense_bits / MEGA:.4f}",
            "diet Mbit": f"{self.diet_bits / MEGA:.4f}",
            "pruned (CSR) Mbit": f"{self.csr_bits / MEGA:.4f}",
            "MACs (M)": f"{self.macs / MEGA:.4f}",
        }


@dataclass(frozen=True, slots=True)
class StorageCost:
    """What an edge with `channels` channels stores, in bits."""

    channels: int
    base_bits: int
    """A dense model for every channel: 32 N C."""
    diet_bits: int
    """One frozen model and a mask for every channel: 32 N + N C."""
    dieting_bits: int
    """One frozen layer and a mask for every channel: 32 max_layer + N C."""


def backbone_cost(backbone: Backbone, keep: float = 0.1) -> BackboneCost:
    """Return what one inference and one answer cost with a backbone.

    >>> from fedsim.models.sasrec import SASRec, SASRecConfig
    >>> backbone_cost(SASRec(SASRecConfig())).row["MACs (M)"]
    '0.2086'
    """
    layout = backbone.layout
    return BackboneCost(
        backbone=backbone.config.name,
        maskable=layout.size,
        largest_layer=largest_layer(layout),
        dense_bits=FLOAT_BITS * layout.size,
        diet_bits=layout.size,
        csr_bits=round(CSR_BITS * keep * layout.size),
        macs=int(backbone.macs()[0]),
    )


def storage_cost(layout: Layout, channels: int) -> StorageCost:
    """Return what an edge with so many channels stores with Base, DIET and DIETING."""
    masks = layout.size * channels
    return StorageCost(
        channels=channels,
        base_bits=FLOAT_BITS * layout.size * channels,
        diet_bits=FLOAT_BITS * layout.size + masks,
        dieting_bits=FLOAT_BITS * largest_layer(layout) + masks,
    )


def storage_costs(layout: Layout, most: int) -> Iterator[StorageCost]:
    """Yield the storage of 1, 2, ..., `most` channels."""
    return (storage_cost(layout, channels) for channels in range(1, most + 1))


def kept_rows(layout: Layout, packed: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count the rows of each layer that keep an element, from packed masks.

    Parameters
    ----------
    layout
        Whose masks they are.
    packed
        uint8 (B, N / 8 rounded up).

    Returns
    -------
    ndarray
        int64 (B, layers), what `Backbone.macs` takes.
    """
    shapes = np.array([(layer.rows, layer.columns) for layer in layout.layers], np.int64)
    counts = np.zeros((len(packed), len(shapes)), np.int64)
    _kept_rows(np.ascontiguousarray(packed), shapes, counts)
    return counts


@njit(cache=True, nogil=True)
def _kept_rows(packed, shapes, counts):  # type: ignore[no-untyped-def]
    for b in range(len(packed)):
        bit = 0
        for layer in range(len(shapes)):
            rows, columns = shapes[layer]
            for _ in range(rows):
                counts[b, layer] += _any_bit(packed[b], bit, bit + columns)
                bit += columns


@njit(cache=True)
def _any_bit(packed, start, stop):  # type: ignore[no-untyped-def]
    """Return 1 if a bit from start to stop - 1 is set; whole bytes at a time."""
    while start < stop:
        inside = min(8 - start % 8, stop - start)
        if packed[start // 8] >> (start % 8) & ((1 << inside) - 1):
            return 1
        start += inside
    return 0
