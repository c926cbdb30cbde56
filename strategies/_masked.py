"""Frozen weights of which each edge keeps its own part, in training, in answers, on edges.

What `diet`, `dieting` and `long_diet` share: the learner whose subclasses say where scores
come from, one learned mask for everybody, and the edge half, which unpacks a mask.

Notation: `B` edges, `H` upload length, `D` embedding size, `N` maskable parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedsim.data.base import Streams
from fedsim.kernels.select import kept_count, select_into
from fedsim.kernels.straight_through import masked_weights
from fedsim.layout import Layout
from fedsim.models.base import Backbone, split_layers, xavier_normal
from fedsim.setting import Arrays
from fedsim.strategy import EdgeHalf
from fedsim.training.learner import Learner
from fedsim.training.loop import one_thread
from fedsim.training.targets import windows

BATCH = 256
"""Uploads answered at a time."""
TYPICAL = 1024
"""At most so many edges' masks stand for all in a majority or a codec's prior."""


class MaskedLearner(Learner):
    """A backbone with frozen weights; of each layer the largest scores' weights are kept.

    Parameters
    ----------
    backbone, num_items, gen
        As for every learner.
    frozen
        float32 (N).
    keep
        Kept fraction of each layer.
    scale
        Factor on kept weights.
    """

    frozen: Tensor

    def __init__(
        self,
        backbone: Backbone,
        num_items: int,
        gen: torch.Generator,
        frozen: Tensor,
        keep: float,
        scale: float,
    ) -> None:
        super().__init__(backbone, num_items, gen)
        self.register_buffer("frozen", frozen)
        self.kept = [kept_count(layer.size, keep) for layer in backbone.layout.layers]
        self.scale = scale

    def layer_scores(
        self, uploads: Tensor, gen: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield for each layer its scores (B or 1, elements) and row weights (B, rows)."""
        raise NotImplementedError(f"{type(self).__name__} gives no scores")

    def weights(self, uploads: Tensor, gen: torch.Generator | None = None) -> Sequence[Tensor]:
        """Return the kept weights; the gradient passes straight through to the scores."""
        frozen = split_layers(self.backbone.layout, self.frozen)
        layers = zip(self.layer_scores(uploads, gen), frozen, self.kept, strict=True)
        return [
            masked_weights(scores, rows, weights[0], keep, scale=self.scale)
            for (scores, rows), weights, keep in layers
        ]

    @torch.no_grad()
    def masks(self, uploads: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return packed masks for uploads (B, H): uint8 (B or 1, packed bytes)."""
        ids = torch.from_numpy(np.asarray(uploads, np.int64))
        with one_thread():
            return np.concatenate([self._pack(part) for part in torch.split(ids, BATCH)])

    def _pack(self, uploads: Tensor) -> NDArray[np.uint8]:
        packed = []
        for (scores, rows), keep in zip(self.layer_scores(uploads), self.kept, strict=True):
            part = np.empty((len(scores), -(-scores.shape[1] // 8)), np.uint8)
            select_into(scores.numpy(), None if rows is None else rows.numpy(), keep, part)
            packed.append(part)
        return np.concatenate(packed, axis=1)


class GlobalMask(MaskedLearner):
    """One learned mask for everybody."""

    def __init__(
        self,
        backbone: Backbone,
        num_items: int,
        gen: torch.Generator,
        frozen: Tensor,
        keep: float,
        scale: float,
    ) -> None:
        super().__init__(backbone, num_items, gen, frozen, keep, scale)
        layers = backbone.layout.layers
        self.scores = nn.ParameterList(
            xavier_normal(layer.rows, layer.columns, gen).view(1, -1) for layer in layers
        )

    def layer_scores(
        self, uploads: Tensor, gen: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield the learned scores."""
        for scores in self.scores:
            yield scores, None

    @torch.no_grad()
    def masks(self, uploads: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return the one mask, uint8 (1, packed bytes)."""
        return self._pack(torch.empty(1, 0))


class MaskedEdge(EdgeHalf):
    """Runs the backbone on the frozen weights that its mask keeps."""

    @cached_property
    def frozen(self) -> NDArray[np.float32]:
        """Frozen weights as a kept one is used, float32 (N)."""
        flat = self.provision.shared["frozen"].astype(np.float32)
        return flat * np.float32(kept_scale(self.config.keep, self.config.scale))

    def weights(self, channel: int, rows: Arrays) -> Sequence[Tensor]:
        kept = self._bits(rows) * self.frozen
        return split_layers(self.backbone.layout, torch.from_numpy(kept))

    def macs(self, channel: int, rows: Arrays) -> NDArray[np.int64]:
        return self.backbone.macs(kept_rows(self.backbone.layout, self._bits(rows)))

    def _bits(self, rows: Arrays) -> NDArray[np.uint8]:
        size = self.backbone.layout.size
        packed = rows["mask"].astype(np.uint8, copy=False)
        return np.unpackbits(packed, axis=1, count=size, bitorder="little")


def kept_scale(keep: float, scaled: bool) -> float:
    """Return the factor on kept weights: 1, or what keeps a layer's variance as it was."""
    return keep**-0.5 if scaled else 1.0


def kept_rows(layout: Layout, bits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how many rows of each layer keep an element; bits (B, N) to int64 (B, layers)."""
    starts = np.cumsum(layout.row_lengths) - layout.row_lengths
    alive = np.bitwise_or.reduceat(bits, starts, axis=1)
    rows = np.cumsum([0, *(layer.rows for layer in layout.layers)])[:-1]
    counts: NDArray[np.int64] = np.add.reduceat(alive, rows, axis=1, dtype=np.int64)
    return counts


def typical_masks(learner: MaskedLearner, streams: Streams) -> NDArray[np.uint8]:
    """Return the masks of an even sample of edges at the end of their history."""
    count = min(len(streams), TYPICAL)
    edges = np.arange(count) * len(streams) // max(count, 1)
    if not count:
        return learner.masks(np.zeros((1, learner.upload_length), np.int64))
    return learner.masks(windows(streams, edges, streams.lengths[edges], learner.upload_length))


def majority(layout: Layout, kept: Sequence[int], masks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the mask (1, packed bytes) of what most masks keep, as much of each layer."""
    votes = np.unpackbits(masks, axis=1, count=layout.size, bitorder="little")
    share = votes.mean(axis=0, dtype=np.float32)[None]
    parts = []
    for layer, keep, first in zip(layout.layers, kept, layout.offsets, strict=False):
        part = np.empty((1, -(-layer.size // 8)), np.uint8)
        select_into(share[:, first : first + layer.size], None, keep, part)
        parts.append(part)
    return np.concatenate(parts, axis=1)
