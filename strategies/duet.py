"""DUET: the cloud generates the dense parameters of a model's last layers from recent items.

Lv, Zhang, Zhang, Kuang, Wang, Wang, Chen, Shen, Yang, Ooi, Wu: DUET: A Tuning-Free
Device-Cloud Collaborative Parameters Generation Framework for Efficient Device Model
Generalization. WWW 2023. https://doi.org/10.1145/3543507.3583451
https://arxiv.org/abs/2209.05227

The conversation, top to bottom: an edge uploads its recent items; the cloud reads them with a
GRU, and a hypernetwork makes of its last state the weights and biases of the edge's head; the
edge runs the backbone it was shipped once and, on what that asks, the head it was answered.

Generated are, for every backbone, the output layers: a head of `layers` linear layers as wide
as an item embedding, with biases and tanh in between, on top of the query; the query of the
last one meets the item embeddings. That is the head of the authors' public code for SASRec
(two layers of width 32 there: 2,112 floats or 8,448 bytes). The whole backbone (SASRec's
blocks, Caser's filters and its output layer, item embeddings) is trained together with the
hypernetwork and shipped once.

Ours: Xavier-normal starts; full softmax and no layers of their own for the target item, as
for all strategies here; the stable weight adapter, which averages generators over training,
is left out, as early stopping takes its place.

Notation: `B` edges, `K` windows of an edge, `H` upload length, `D` embedding size.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from fedsim import rng
from fedsim.codecs.base import Column
from fedsim.data.base import Streams
from fedsim.layout import Layer, Layout
from fedsim.models.base import Backbone, apply_linear, split_layers, xavier_normal
from fedsim.setting import Arrays
from fedsim.training.fit import fit
from strategies._dense import ShippedEdge
from strategies._generated import (
    GeneratedConfig,
    GeneratedStrategy,
    GeneratingLearner,
)
from strategies._generator import Extractors


class DuetConfig(GeneratedConfig):
    """Options of DUET."""

    name: str = "duet"
    layers: Annotated[int, Field(ge=1)] = 2
    """Generated layers of the head."""
    upload: Annotated[int, Field(ge=1)] | None = None
    """Items an edge uploads; the backbone's window when unset."""

    def length(self, backbone: Backbone) -> int:
        """Return the number of items an edge uploads."""
        return self.upload or backbone.window


class DuetEdge(ShippedEdge):
    """Runs the backbone it was shipped and the head it was answered."""

    @property
    def upload_length(self) -> int:
        return int(self.config.length(self.backbone))

    def queries(self, channel: int, rows: Arrays, windows: NDArray[np.int32]) -> Tensor:
        head = torch.from_numpy(np.require(rows["head"], np.float32, "W"))
        asked = super().queries(channel, rows, windows)
        return through_head(asked, head, head_layout(self.backbone.dim, self.config.layers))

    def macs(self, channel: int, rows: Arrays) -> NDArray[np.int64]:
        head = int(self.config.layers) * self.backbone.dim**2
        return np.asarray(super().macs(channel, rows) + head, np.int64)


class Duet(GeneratedStrategy):
    """Trains a backbone and a hypernetwork per channel; answers every upload with a head."""

    Config = DuetConfig
    edge = DuetEdge
    config: DuetConfig

    def columns(self) -> tuple[Column, ...]:
        layout = head_layout(self.setting.backbone.dim, self.config.layers)
        return (Column("head", "dense", layout),)

    def trained(self, channel: int, streams: Streams) -> GeneratingLearner:
        setting, config = self.setting, self.config
        purpose = f"duet/{setting.channels[channel].name}"
        gen = rng.torch_generator(setting.scenario.seed, f"{purpose}/start")
        num_items = setting.channels[channel].num_items
        learner = DuetLearner(setting.backbone, num_items, gen, config)
        fit(
            learner,
            streams,
            setting,
            purpose=purpose,
            options=config.model_dump(mode="json", exclude={"codec"}),
            targets_per_mask=config.targets_per_answer,
        )
        return learner


class DuetLearner(GeneratingLearner):
    """A dense backbone, and a GRU and hypernetworks that make each edge's head."""

    def __init__(
        self, backbone: Backbone, num_items: int, gen: torch.Generator, config: DuetConfig
    ) -> None:
        super().__init__(backbone, num_items, gen)
        dim = backbone.dim
        self.upload_length = config.length(backbone)
        self.head = head_layout(dim, config.layers)
        self.width, self.weight_bits = self.head.size, config.weight_bits
        self.extractor = Extractors(1, dim, gen)
        self.mix = nn.Parameter(xavier_normal(dim, dim, gen))
        self.mix_bias = nn.Parameter(torch.zeros(dim))
        layers = self.head.layers
        maps = [xavier_normal(dim, layer.size, gen) for layer in layers]
        self.hyper = nn.Parameter(torch.cat(maps, 1))
        start = [F.pad(xavier_normal(dim, dim, gen), (0, 1)).flatten() for _ in layers]
        self.hyper_bias = nn.Parameter(torch.cat(start))

    def forward(
        self,
        windows: Tensor,
        uploads: Tensor,
        *,
        dropout: float = 0.0,
        gen: torch.Generator | None = None,
    ) -> Tensor:
        """Return the queries of windows int64 (B, K, L): float32 (B, K, D)."""
        asked = super().forward(windows, uploads, dropout=dropout, gen=gen)
        return through_head(asked, self.generated(uploads, gen), self.head)

    def generated(self, uploads: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Return heads for uploads int64 (B, H): float32 (B, floats of a head)."""
        embedded = F.embedding(uploads, self.items, padding_idx=0) * self.backbone.dim**0.5
        state = torch.addmm(self.mix_bias, self.extractor(embedded)[0], self.mix)
        return torch.addmm(self.hyper_bias, torch.tanh(state), self.hyper)


def head_layout(dim: int, layers: int) -> Layout:
    """Return the layers of a head: weights, and biases as the last column.

    >>> head_layout(32, 2).size
    2112
    """
    return Layout(tuple(Layer(f"head{n}", dim, dim + 1) for n in range(layers)))


def through_head(queries: Tensor, head: Tensor, layout: Layout) -> Tensor:
    """Return what heads (B or 1, floats) make of queries (B, K, D): float32 (B, K, D)."""
    for number, layer in enumerate(split_layers(layout, head)):
        given = torch.tanh(queries) if number else queries
        queries = apply_linear(F.pad(given, (0, 1), value=1.0), layer)
    return queries
