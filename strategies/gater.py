"""Gater: a second network looks at the input and opens or shuts each filter of the first.

Chen, Li, Bengio, Si: You Look Twice: GaterNet for Dynamic Filter Selection in CNNs. CVPR
2019. https://arxiv.org/abs/1811.11205 (section 3)

The gater reads the upload: extractor, bottleneck, one logit g a row of the backbone. In
training noise is added to g, and by improved semantic hashing half of the edges multiply a
row's output by the saturating sigmoid max(0, min(1, 1.2 sigmoid(g) - 0.1)), the other half
by 1 where g > 0, whose gradient is the sigmoid's; afterwards a row is open where g > 0. The
mean of the gates, times `penalty`, joins the loss; both networks train together.

In Table 3 of Fu et al., DIET: Customized Slimming for Incompatible Networks in Sequential
Recommendation (KDD 2024, https://arxiv.org/abs/2406.08804), Param follows from FLOPs: 64
bits for every weight of the rows that are multiplied (in three of SASRec's four columns
within 0.2 %; Amazon-CD's two figures disagree). So the cloud runs the gater and sends each
edge the open rows. How many stay open is found, not set; there too the start and the penalty
steer it.

Ours: the extractor is a GRU over the window as in DIET; no pretraining, and no batch
normalisation in the bottleneck.

Notation: `B` edges, `H` upload length, `D` embedding size, `R` rows of all layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from fedsim import rng
from fedsim.codecs.base import Column
from fedsim.cores import one_thread
from fedsim.data.base import Streams
from fedsim.kernels.gru import whole_blocks
from fedsim.models.base import Backbone, Weight, split_layers, xavier_normal
from fedsim.plugins import CodecOptions
from fedsim.setting import Arrays, Provision, Uploads
from fedsim.strategy import EdgeCloudStrategy, StrategyConfig
from fedsim.training.fit import fit
from fedsim.training.learner import DenseLearner
from strategies._dense import dense_columns, dense_provision
from strategies._generator import Extractors
from strategies._pruned import SparseEdge
from strategies._typical import typical_uploads


class GaterConfig(StrategyConfig):
    """Options of Gater."""

    name: str = "gater"
    penalty: Annotated[float, Field(ge=0)] = 0.1
    """What the mean of the gates adds to the loss."""
    start: float = 1.0
    """Logit of every gate at first."""
    targets_per_gate: Annotated[int, Field(ge=1)] = 4
    """Consecutive targets of an edge that one set of gates serves in training."""
    codec: CodecOptions = Field(default="csr")
    """How open rows travel."""


class GaterEdge(SparseEdge):
    """Uploads its window; runs the rows it is answered."""


class Gater(EdgeCloudStrategy):
    """Trains a backbone and its gater per channel and answers with the open rows."""

    Config = GaterConfig
    edge = GaterEdge
    config: GaterConfig

    @property
    def personalises(self) -> bool:
        return True

    def columns(self) -> tuple[Column, ...]:
        return dense_columns(self.setting.backbone)

    def fit(self, history: tuple[Streams, ...]) -> None:
        self._learners = [self._trained(c, streams) for c, streams in enumerate(history)]
        self._initial = [
            learner.usual(typical_uploads(streams, learner.upload_length))
            for learner, streams in zip(self._learners, history, strict=True)
        ]

    def _trained(self, channel: int, streams: Streams) -> GatedLearner:
        setting, config, place = self.setting, self.config, self.setting.channels[channel]
        purpose = f"gater/{place.name}"
        gen = rng.torch_generator(setting.scenario.seed, f"{purpose}/start")
        learner = GatedLearner(setting.backbone, place.num_items, gen, config.start, config.penalty)
        fit(
            learner,
            streams,
            setting,
            purpose=purpose,
            options={"penalty": config.penalty},
            targets_per_mask=config.targets_per_gate,
        )
        return learner

    def provision(self) -> Provision:
        return dense_provision(self._learners)

    def initial(self, channel: int) -> Arrays:
        return {"weights": self._initial[channel]}

    def answer(self, channel: int, uploads: Uploads, round: int) -> Arrays:
        learner = self._learners[channel]
        return {"weights": learner.open_rows(learner.gates(uploads.items))}


@dataclass(frozen=True, slots=True)
class Gated:
    """One layer's weights (rows, columns) of B edges, whose outputs `gates` (B, rows) scale."""

    matrix: Tensor
    gates: Tensor

    def linear(self, values: Tensor) -> Tensor:
        """Return the products of values (B, M, columns) with the weights: (B, M, rows)."""
        return F.linear(values, self.matrix) * self.gates[:, None]


class GatedLearner(DenseLearner):
    """A backbone whose rows a gater opens, and the gater."""

    def __init__(
        self, backbone: Backbone, num_items: int, gen: torch.Generator, start: float, penalty: float
    ) -> None:
        super().__init__(backbone, num_items, gen)
        self.upload_length, self.factor, dim = backbone.window, penalty, backbone.dim
        self.rows = [layer.rows for layer in backbone.layout.layers]
        self.extractor = Extractors(1, dim, gen)
        self.bottleneck = nn.Parameter(xavier_normal(dim, dim, gen))
        self.bottleneck_bias = nn.Parameter(torch.zeros(dim))
        self.gate_map = nn.Parameter(xavier_normal(dim, sum(self.rows), gen))
        self.gate_bias = nn.Parameter(torch.full((sum(self.rows),), start))

    def logits(self, uploads: Tensor) -> Tensor:
        """Return what opens the rows where it is above 0, of uploads (B, H): float32 (B, R)."""
        embedded = F.embedding(uploads, self.items, padding_idx=0) * self.backbone.dim**0.5
        hidden = torch.addmm(self.bottleneck_bias, self.extractor(embedded)[0], self.bottleneck)
        return torch.addmm(self.gate_bias, F.relu(hidden), self.gate_map)

    def weights(self, uploads: Tensor, gen: torch.Generator | None = None) -> Sequence[Weight]:
        """Return the gated weights, their gates hashed in training and hard otherwise."""
        logits = self.logits(uploads)
        gates = (logits > 0).float() if gen is None else semantic_hash(logits, gen)
        self.penalty = self.factor * gates.mean()
        matrices = split_layers(self.backbone.layout, self.flat)
        parts = torch.split(gates, self.rows, dim=1)
        return [Gated(matrix[0], part) for matrix, part in zip(matrices, parts, strict=True)]

    def gates(self, uploads: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Return which rows uploads (B, H) open, bool (B, R); one edge's not by the others'."""
        ids = torch.from_numpy(whole_blocks(uploads).astype(np.int64))
        with one_thread(), torch.inference_mode():
            opened: NDArray[np.bool_] = (self.logits(ids) > 0).numpy()
        return opened[: len(uploads)]

    def usual(self, uploads: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the weights of the rows that most of the uploads (B, H) open: (1, N)."""
        return self.open_rows(self.gates(uploads).mean(axis=0, keepdims=True) > 0.5)

    def open_rows(self, gates: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the weights with +0 in the rows that are shut, float32 (B, N)."""
        there = np.repeat(gates, self.backbone.layout.row_lengths, axis=1)
        return np.where(there, self.flat.detach().numpy(), np.float32(0))


def semantic_hash(logits: Tensor, gen: torch.Generator) -> Tensor:
    """Return training gates (B, R) of noisy logits: for half of the edges soft, for half hard.

    Kaiser, Bengio: Discrete Autoencoders for Sequence Models. 2018.
    https://arxiv.org/abs/1801.09797
    """
    noisy = logits + torch.randn(logits.shape, generator=gen)
    soft = (1.2 * torch.sigmoid(noisy) - 0.1).clamp(0.0, 1.0)
    hard = soft + ((noisy > 0).float() - soft).detach()
    return torch.where(torch.rand(len(logits), 1, generator=gen) < 0.5, soft, hard)
