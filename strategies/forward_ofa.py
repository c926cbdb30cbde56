"""Forward-OFA: the cloud answers with a network of an edge's own, both blocks and parameters.

Fu, Lv, Zhang, Wu, Kuang: Forward Once for All: Structural Parameterized Adaptation for
Efficient Cloud-coordinated On-device Recommendation. KDD 2025.
https://arxiv.org/abs/2501.02837

The conversation, top to bottom: an edge uploads recent items; the cloud's structure
controller decides for each block of the backbone whether to assemble it, its structural
mapper generates the parameters of the assembled blocks; the answer is one bit a block and
the dense parameters of those blocks; the edge runs them, with no training of its own.

Stated in the abstract and the captions, which is all that was read: a structure controller
made of a sequence extractor and a light layer; parallel components in the mapper and
structure-related parameters, so that blocks do not receive each other's gradients; parameters
from behaviours in one forward pass; a sparsity constraint with a coefficient λ; a six-layer
SASRec.

Ours, because the equations were not read:

- Each block's gate is drawn by a straight-through binary Gumbel-softmax in training and is
  on where its probability is above one half when answering. A block left out is an identity.
- The loss gets λ times the expected share of the blocks' MACs, which all cost the same.
- A component of the mapper is an extractor, a layer that also reads the gates, and a
  hypernetwork. A full hypernetwork from D numbers to 5 D² would hold 8 million parameters
  for six blocks of size 64; here each layer is a matrix that all edges share and a sum of
  `rank` rank-one matrices, of which the mapper generates the coefficients. What is sent are
  the dense parameters all the same, as in the paper's accounting.
- A warm start: first a dense model of all blocks is trained as `static` does; item embeddings,
  positions, norms and what a layer's matrices share start from it. Item embeddings, positions
  and norms train on with the rest and are provisioned once.
- An edge's memory caps the blocks of its answer: those of the lowest probability go, before
  the mapper reads the structure. An edge whose memory shrinks drops of what it holds the
  blocks that are the least likely over all edges.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from fedsim import plugins, rng
from fedsim.codecs.base import Column
from fedsim.data.base import Streams
from fedsim.errors import ConfigError
from fedsim.layout import Layout
from fedsim.models.base import Stack, split_layers
from fedsim.models.cost import FLOAT_BITS
from fedsim.plugins import CodecOptions, Options
from fedsim.setting import Arrays, Provision, Setting, Uploads
from fedsim.strategy import EdgeCloudStrategy, EdgeHalf, StrategyConfig
from fedsim.training.fit import fit
from fedsim.wire import seal
from strategies._dense import trained_base
from strategies._forward_ofa import ForwardOfaLearner, capped
from strategies._typical import typical_uploads

TYPICAL = 64
"""At most so many uploads stand for all in the first answer; an answer of six blocks is large."""


class ForwardOfaConfig(StrategyConfig):
    """Options of Forward-OFA; the number of blocks is the backbone's, `model.blocks`.

    A dense model trains first by the scenario's `train` section.
    """

    name: str = "forward_ofa"
    sparsity: Annotated[float, Field(ge=0)] = 0.01
    """λ: what the expected share of the MACs weighs in the loss."""
    upload: Annotated[int, Field(ge=1)] = 20
    """Items an edge uploads."""
    rank: Annotated[int, Field(ge=1)] = 16
    """Rank-one matrices whose coefficients are generated for a layer."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Of the relaxed gates, whose gradient the controller gets."""
    start: float = 1.0
    """First logit of every block's probability."""
    gain: Annotated[float, Field(gt=0)] = 0.3
    """Size of the first hypernetworks, relative to Xavier's."""
    epochs: Annotated[int, Field(ge=1)] = 5
    """Epochs of controller and mapper after the dense model, with a fresh optimiser and
    schedule."""
    targets_per_answer: Annotated[int, Field(ge=1)] = 4
    """Consecutive targets of an edge that one generated network serves in training."""
    codec: CodecOptions = Field(default={"name": "blocks", "dtype": "fp16"})
    """How networks travel."""


class ForwardOfaEdge(EdgeHalf):
    """Runs the blocks it was answered."""

    backbone: Stack

    @property
    def upload_length(self) -> int:
        return int(self.config.upload)

    def queries(self, channel: int, rows: Arrays, windows: NDArray[np.int32]) -> Tensor:
        flat = torch.from_numpy(np.require(rows["weights"], np.float32, "W"))
        ids = torch.from_numpy(windows).long()
        return self.backbone.forward(
            split_layers(self.backbone.layout, flat),
            self.small[channel],
            self.items[channel][ids],
            ids == 0,
            gates=torch.from_numpy(self.parts(channel, rows).astype(np.float32)),
        )

    def parts(self, channel: int, rows: Arrays) -> NDArray[np.bool_]:
        return assembled(rows["weights"], self.backbone.layout)

    def macs(self, channel: int, rows: Arrays) -> NDArray[np.int64]:
        return self.backbone.stacked_macs(self.parts(channel, rows))

    def paper_bits(self, channel: int, rows: Arrays) -> NDArray[np.int64]:
        """Return one bit a block and 32 a parameter that is there, int64 (B or 1)."""
        there, sizes = self.parts(channel, rows), self.backbone.layout.block_sizes
        return np.asarray(len(sizes) + FLOAT_BITS * (there @ sizes), np.int64)

    def shrink(self, channel: int, rows: Arrays, memory: NDArray[np.int64]) -> Arrays:
        usual = self.provision.channels[channel]["probabilities"].astype(np.float32)
        held = np.where(self.parts(channel, rows), usual, np.float32(-1))
        most = torch.from_numpy(room(self._sizes, memory))
        kept = capped(torch.from_numpy(held), most).numpy() > 0
        there = np.repeat(kept, self.backbone.layout.block_sizes, axis=1)
        return {"weights": np.where(there, rows["weights"], np.float32(0))}

    @cached_property
    def _sizes(self) -> NDArray[np.int64]:
        return record_sizes(self.config.codec, self.backbone.layout)


class ForwardOfa(EdgeCloudStrategy):
    """Trains a controller and a mapper per channel, and answers every upload with a network."""

    Config = ForwardOfaConfig
    edge = ForwardOfaEdge
    config: ForwardOfaConfig

    def __init__(self, config: ForwardOfaConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self.backbone = stacked(setting)

    @property
    def personalises(self) -> bool:
        return True

    def columns(self) -> tuple[Column, ...]:
        return (Column("weights", "dense", self.backbone.layout),)

    def fit(self, history: tuple[Streams, ...]) -> None:
        self._learners = [self._trained(c, streams) for c, streams in enumerate(history)]
        self._typical = [_few(typical_uploads(part, self.config.upload)) for part in history]

    def provision(self) -> Provision:
        parts = zip(self._learners, self._typical, strict=True)
        return Provision(
            channels=tuple(
                learner.small_arrays() | {"probabilities": learner.probabilities(uploads)}
                for learner, uploads in parts
            ),
            candidates=tuple(learner.candidates() for learner in self._learners),
        )

    def initial(self, channel: int) -> Arrays:
        uploads = self._typical[channel]
        return self.majority(channel, self.answer(channel, Uploads(np.arange(0), uploads), 0))

    def answer(self, channel: int, uploads: Uploads, round: int) -> Arrays:
        most = np.full(len(uploads.items), len(self.backbone.layout.block_sizes), np.int64)
        if uploads.memory is not None:
            most = room(self._sizes, uploads.memory)
        return {"weights": self._learners[channel].answers(uploads.items, most)}

    def majority(self, channel: int, rows: Arrays) -> Arrays:
        """Return the blocks that most edges assemble, with the mean of their parameters."""
        flat, sizes = rows["weights"], self.backbone.layout.block_sizes
        there = assembled(flat, self.backbone.layout)
        mean = flat.sum(0, dtype=np.float64) / np.repeat(np.maximum(there.sum(0), 1), sizes)
        kept = np.repeat(2 * there.sum(0) > len(there), sizes)
        return {"weights": np.where(kept, mean, 0.0).astype(np.float32)[None]}

    @cached_property
    def _sizes(self) -> NDArray[np.int64]:
        return record_sizes(self.config.codec, self.backbone.layout)

    def _trained(self, channel: int, streams: Streams) -> ForwardOfaLearner:
        setting, config = self.setting, self.config
        purpose = f"forward_ofa/{setting.channels[channel].name}"
        gen = rng.torch_generator(setting.scenario.seed, f"{purpose}/start")
        learner = ForwardOfaLearner(trained_base(setting, channel, streams), gen, config)
        fit(
            learner,
            streams,
            setting,
            purpose=purpose,
            options=config.model_dump(mode="json", exclude={"codec"}),
            targets_per_mask=config.targets_per_answer,
            epochs=config.epochs,
        )
        return learner


def stacked(setting: Setting) -> Stack:
    """Return the backbone, which must be made of blocks that can be left out.

    Raises
    ------
    ConfigError
        It is not; the error names those that are.
    """
    if isinstance(setting.backbone, Stack):
        return setting.backbone
    every = plugins.available("backbones")
    good = [f"'{name}'" for name in every if issubclass(plugins.load("backbones", name), Stack)]
    raise ConfigError(
        f"strategy 'forward_ofa' leaves out residual blocks, of which backbone "
        f"'{setting.scenario.model.name}' has none; set model.name to {' or '.join(good)}"
    )


def assembled(rows: NDArray[np.generic], layout: Layout) -> NDArray[np.bool_]:
    """Tell which blocks rows (B, N) hold, bool (B, blocks): those that are not all 0."""
    starts = np.cumsum(layout.block_sizes) - layout.block_sizes
    there: NDArray[np.bool_] = np.logical_or.reduceat(rows != 0, starts, axis=1)
    return there


def record_sizes(codec: Options, layout: Layout) -> NDArray[np.int64]:
    """Return the bytes of a stored answer with 0, 1, ... blocks, int64 (blocks + 1)."""
    column = Column("weights", "dense", layout)
    made = plugins.load("codecs", codec.name)(codec, column).at_rest
    count = len(layout.block_sizes)
    there = np.arange(count) < np.arange(count + 1)[:, None]
    rows = np.repeat(there, layout.block_sizes, axis=1).astype(np.float32)
    return seal([(column, made)], {"weights": rows}).sizes


def room(sizes: NDArray[np.int64], memory: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many blocks fit into bytes of memory (B), where so many take `sizes`; int64 (B).

    >>> room(np.array([13, 113, 213]), np.array([5, 13, 212, 213, 999])).tolist()
    [0, 0, 1, 2, 2]
    """
    return np.maximum(np.searchsorted(sizes, memory, side="right") - 1, 0)


def _few(uploads: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return an even choice of at most TYPICAL uploads."""
    return uploads[:: -(-len(uploads) // TYPICAL)].astype(np.int32)
