"""User vector: the cloud answers a long upload with one vector, added to every position. Ours.

The cheap rival of `long_diet` (see `strategies.long_diet`): the same long upload, read in the
same way, but an answer of D floats (2,048 bits at D = 64, half of that in fp16) instead of one
bit a parameter. What it saves in answers it pays in the provision: the backbone is trained
densely and shipped whole for every channel, where diets share one frozen network.

1. A warm start. First the backbone is trained without vectors, as `static` does.
2. A long upload. From there on everything trains on, and the vector ``h U`` with
   ``h = tanh(Linear(decayed means of the last 100 items))`` is added to the window's scaled
   embeddings, which in SASRec is where the position embeddings are added; other backbones
   need no positions for it.

The vector costs the edge no multiply-accumulates beyond the backbone's.

Notation: `B` edges, `K` windows of an edge, `L` window length, `H` upload length, `D`
embedding size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from fedsim import rng
from fedsim.codecs.base import Column
from fedsim.data.base import Streams
from fedsim.layout import Layer, Layout
from fedsim.models.base import xavier_normal
from fedsim.setting import Arrays, Setting
from fedsim.training.learner import DenseLearner
from strategies._dense import ShippedEdge, trained_base
from strategies._generated import GeneratedConfig, GeneratedStrategy, GeneratingLearner
from strategies._long_upload import (
    LongUploadConfig,
    LongUploadEdge,
    UploadReader,
    fit_reader,
    read_history,
)

C = TypeVar("C", bound="UserVectorConfig")
L = TypeVar("L", bound="UserVectorLearner")


class UserVectorConfig(LongUploadConfig, GeneratedConfig):
    """Options of the user vector; the backbone trains first by the scenario's `train` section."""

    name: str = "user_vector"


class UserVectorEdge(LongUploadEdge, ShippedEdge):
    """Uploads its last 100 items; adds the vector it is answered to what it looks up."""

    def queries(self, channel: int, rows: Arrays, windows: NDArray[np.int32]) -> Tensor:
        ids = torch.from_numpy(windows).long()
        embedded = with_vector(self.items[channel][ids], self.vector(channel, rows))
        weights = self.weights(channel, rows)
        return self.backbone.forward(weights, self.small[channel], embedded, ids == 0)

    def vector(self, channel: int, rows: Arrays) -> Tensor:
        """Return what is added for answers (B or 1, n): float32 (B or 1, D)."""
        return torch.from_numpy(np.require(rows["vector"], np.float32, "W"))


class UserVector(GeneratedStrategy):
    """Trains a backbone per channel, then what reads uploads; answers with vectors."""

    Config = UserVectorConfig
    edge = UserVectorEdge
    config: UserVectorConfig

    def columns(self) -> tuple[Column, ...]:
        layout = Layout((Layer("vector", 1, self.setting.backbone.dim),))
        return (Column("vector", "dense", layout),)

    def fit(self, history: tuple[Streams, ...]) -> None:
        super().fit(read_history(self.config, self.setting, history))

    def trained(self, channel: int, streams: Streams) -> GeneratingLearner:
        return trained_reader(self.setting, channel, streams, self.config, UserVectorLearner)


class UserVectorLearner(GeneratingLearner):
    """A warm dense backbone, and what makes a vector of an upload."""

    def __init__(self, warm: DenseLearner, gen: torch.Generator, config: UserVectorConfig) -> None:
        dim = warm.backbone.dim
        super().__init__(warm.backbone, len(warm.items) - 1, gen)
        self.load_state_dict(warm.state_dict())
        self.upload_length, self.width = config.upload, dim
        self.weight_bits = config.weight_bits
        self.reader = UploadReader(warm.items, dim, gen, config)
        self.map = nn.Parameter(xavier_normal(dim, dim, gen))

    def forward(
        self,
        windows: Tensor,
        uploads: Tensor,
        *,
        dropout: float = 0.0,
        gen: torch.Generator | None = None,
    ) -> Tensor:
        """Return the queries of windows int64 (B, K, L): float32 (B, K, D)."""
        embedded = F.embedding(windows, self.items, padding_idx=0)
        return self.backbone.forward(
            self.weights(uploads, gen),
            dict(self.small),
            with_vector(embedded, self.generated(uploads, gen)),
            windows == 0,
            dropout=dropout,
            gen=gen,
        )

    def generated(self, uploads: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Return vectors for uploads int64 (B, H): float32 (B, D)."""
        vectors: Tensor = self.reader(uploads, self.items, gen) @ self.map
        return vectors


def trained_reader(
    setting: Setting,
    channel: int,
    streams: Streams,
    config: C,
    learner_type: Callable[[DenseLearner, torch.Generator, C], L],
    part: str = "",
) -> L:
    """Return a learner trained on a channel's streams after its backbone; `part` names another."""
    purpose = f"{config.name}/{setting.channels[channel].name}{part}"
    warm = trained_base(setting, channel, streams, part=part)
    gen = rng.torch_generator(setting.scenario.seed, f"{purpose}/start")
    learner = learner_type(warm, gen, config)
    fit_reader(
        learner,
        learner.reader,
        streams,
        setting,
        config,
        purpose=purpose,
        targets_per_answer=config.targets_per_answer,
    )
    return learner


def with_vector(embedded: Tensor, vector: Tensor) -> Tensor:
    """Return embeddings (B, K, L, D), which backbones scale by √D, with vectors (B or 1, D)."""
    return embedded + vector[:, None, None] / math.sqrt(embedded.shape[-1])
