"""Fine-tuning on the device: every edge trains the model it was shipped, for itself alone.

What recommenders on the edge did before networks were generated for them, and what Lv et al.,
DUET (WWW 2023, https://arxiv.org/abs/2209.05227) and Fu et al., DIET (KDD 2024,
https://arxiv.org/abs/2406.08804) argue against: it costs no transfer, but the edge's own
computation, round by round, and a model of its own in every channel's store.

The conversation is short: Base is trained in the cloud and shipped once. In each round an edge
takes a few SGD steps on its latest items, from the weights it holds, before it ranks; it keeps
what comes of it, uploads nothing and is answered nothing.

Ours: how it is done. Item embeddings, positions and norms stay as provisioned, as in the
papers' accounting. Booked as `train_macs` are, for every target, three inferences (one
forward, two backward: towards the weights and towards the inputs) and two products of the
query with all items (the logits and their gradient).

Notation: `B` edges.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedsim.codecs.base import Column
from fedsim.data.base import Streams
from fedsim.plugins import CodecOptions
from fedsim.setting import Arrays, Provision, Uploads
from fedsim.strategy import EdgeCloudStrategy
from strategies._dense import dense_columns, dense_provision, trained_bases, weights_row
from strategies._local_sgd import LocalSgdConfig, LocalSgdEdge


class FinetuneConfig(LocalSgdConfig):
    """Options of fine-tuning."""

    name: str = "finetune"
    lr: Annotated[float, Field(gt=0)] = 0.03
    """Learning rate of the edges' SGD."""
    codec: CodecOptions = Field(default="dense")
    """How weights are shipped and stored."""


class FinetuneEdge(LocalSgdEdge):
    """Trains the weights it holds on its own items, and keeps them to itself."""

    asks = False
    adapts = True
    adapt = LocalSgdEdge.trained

    def adapt_macs(self, channel: int, known: NDArray[np.int64]) -> NDArray[np.int64]:
        scoring = (len(self.items[channel]) - 1) * self.backbone.dim
        each = 3 * int(self.backbone.macs()[0]) + 2 * scoring
        return self.examples(known).astype(np.int64) * each


class Finetune(EdgeCloudStrategy):
    """Trains one dense model per channel, which every edge trains on for itself."""

    Config = FinetuneConfig
    edge = FinetuneEdge
    config: FinetuneConfig

    def columns(self) -> tuple[Column, ...]:
        return dense_columns(self.setting.backbone)

    def fit(self, history: tuple[Streams, ...]) -> None:
        self._learners = trained_bases(self.setting, history)

    def provision(self) -> Provision:
        return dense_provision(self._learners)

    def initial(self, channel: int) -> Arrays:
        return weights_row(self._learners[channel].flat)

    def answer(self, channel: int, uploads: Uploads, round: int) -> Arrays:
        return self.initial(channel)
