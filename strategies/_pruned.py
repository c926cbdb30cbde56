"""Pruned models: what `random_prune`, `lth`, `snip` and `rare_gem` share.

Each finds a mask in the cloud, trains the weights it keeps and ships these once, the same
for every edge. Of Table 3 of Fu et al., DIET: Customized Slimming for Incompatible Networks
in Sequential Recommendation (KDD 2024, https://arxiv.org/abs/2406.08804):

- Param: a kept weight is 64 bits, place and value. The digits tell how many are kept: a
  fraction of each layer (Random, LTH, GEM-MINER) or of all weights together (SNIP).
- FLOPs: rows that keep nothing are skipped. Random on Caser shows it: two of the four
  vertical filters are empty where two of their twenty weights are kept.

Stated there: weights start Xavier-normal, a fraction `keep` stays (0.1; SASRec on ML-1M 0.3,
Caser on Amazon-CD 0.2). Ours: the start is Base's own; early stopping on validation.

Notation: `B` edges, `N` maskable parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from fedsim import rng
from fedsim.codecs.base import Column
from fedsim.data.base import Streams
from fedsim.kernels.select import kept_count, top_mask
from fedsim.layout import Layout
from fedsim.models.base import Backbone, Weight, split_layers
from fedsim.models.cost import CSR_BITS, kept_rows
from fedsim.plugins import CodecOptions
from fedsim.setting import Arrays, Provision, Uploads
from fedsim.strategy import EdgeCloudStrategy, StrategyConfig
from fedsim.training.fit import fit
from fedsim.training.learner import DenseLearner
from strategies._dense import DenseEdge, dense_columns, dense_provision, weights_row


class PrunedConfig(StrategyConfig):
    """Options of every pruned model."""

    keep: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Kept fraction of the weights."""
    codec: CodecOptions = Field(default="csr")
    """How kept weights travel."""


class SparseEdge(DenseEdge):
    """Runs the backbone on weights most of which are zero; skips rows of zeros."""

    def paper_bits(self, channel: int, rows: Arrays) -> NDArray[np.int64]:
        return np.asarray(CSR_BITS * np.count_nonzero(rows["weights"], axis=1), np.int64)

    def macs(self, channel: int, rows: Arrays) -> NDArray[np.int64]:
        packed = np.packbits(rows["weights"] != 0, axis=1, bitorder="little")
        return self.backbone.macs(kept_rows(self.backbone.layout, packed))


class PrunedEdge(SparseEdge):
    """Ranks with the pruned weights it was provisioned with, and asks for nothing."""

    asks = False


class PrunedLearner(DenseLearner):
    """Trains the weights that `kept`, bool (N), leaves; at first it leaves all."""

    kept: Tensor

    def __init__(self, backbone: Backbone, num_items: int, gen: torch.Generator) -> None:
        super().__init__(backbone, num_items, gen)
        self.register_buffer("kept", torch.ones(backbone.layout.size, dtype=torch.bool))

    def kept_weights(self) -> Tensor:
        """Return the weights, +0 where they are pruned: float32 (N)."""
        return torch.where(self.kept, self.flat, 0.0)

    def weights(self, uploads: Tensor, gen: torch.Generator | None = None) -> list[Weight]:
        """Return the kept weights, the same for everybody."""
        return [*split_layers(self.backbone.layout, self.kept_weights())]


class Pruned(EdgeCloudStrategy):
    """Prunes and trains a model a channel and ships it once; see `pruned`."""

    Config = PrunedConfig
    edge = PrunedEdge
    config: PrunedConfig

    def pruned(self, channel: int, streams: Streams) -> PrunedLearner:
        """Return a channel's learner, pruned and trained on its streams."""
        raise NotImplementedError(f"{type(self).__name__} prunes nothing")

    def untrained(self, channel: int) -> PrunedLearner:
        """Return a channel's learner before any training: that of Base."""
        place = self.setting.channels[channel]
        gen = rng.torch_generator(self.setting.scenario.seed, f"base/{place.name}/start")
        return PrunedLearner(self.setting.backbone, place.num_items, gen)

    def purpose(self, channel: int, part: str = "") -> str:
        """Return the name of a channel's training, or of a part of it."""
        return f"{self.config.name}/{self.setting.channels[channel].name}{part}"

    def train(
        self,
        learner: DenseLearner,
        channel: int,
        streams: Streams,
        part: str = "",
        epochs: int | None = None,
        options: Mapping[str, object] | None = None,
    ) -> None:
        """Train a learner in place; `part` names a training that is not the last one.

        `options` are what changes it and is not in the learner's state.
        """
        purpose = self.purpose(channel, part)
        fit(learner, streams, self.setting, purpose=purpose, epochs=epochs, options=options)

    def columns(self) -> tuple[Column, ...]:
        return dense_columns(self.setting.backbone)

    def fit(self, history: tuple[Streams, ...]) -> None:
        self._learners = [self.pruned(c, streams) for c, streams in enumerate(history)]

    def provision(self) -> Provision:
        return dense_provision(self._learners)

    def initial(self, channel: int) -> Arrays:
        return weights_row(self._learners[channel].kept_weights())

    def answer(self, channel: int, uploads: Uploads, round: int) -> Arrays:
        return self.initial(channel)


def largest(layout: Layout, sizes: Tensor, keep: float) -> Tensor:
    """Return where each layer's largest |sizes| (N) are, a fraction `keep` of it: bool (N)."""
    layers = torch.split(sizes, [layer.size for layer in layout.layers])
    return torch.cat([largest_of_all(layer, keep) for layer in layers])


def largest_of_all(sizes: Tensor, keep: float) -> Tensor:
    """Return where the largest |sizes| (N) are, a fraction `keep` of all: bool (N)."""
    return top_mask(sizes[None], None, kept_count(len(sizes), keep))[0]
