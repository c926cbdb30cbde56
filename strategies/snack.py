"""Snack: the cloud answers a long upload with a code of a few bits for one dense network. Ours.

Why: `strategies.long_diet` answers a long upload with a bit a parameter, `strategies.user_vector`
with 64 floats. About a tenth of the floats' bytes serves as well (docs/front.md): W numbers of b
bits (128 bits in all at W = 64, b = 2), which the edge looks up in a codebook it was given once:

1. A warm start. First the backbone is trained without codes, as `static` does.
2. A long upload. From there on everything trains on with the vector ``c U`` added to the
   window's scaled embeddings, as in `user_vector`, where the code ``c`` is
   ``tanh(Linear(decayed means of the last 100 items))``, each of its W entries rounded to one
   of 2^b levels between -1 and 1, and the codebook ``U`` is W by D. In training the gradient
   passes straight through the rounding (Bengio, Léonard, Courville: Estimating or Propagating
   Gradients Through Stochastic Neurons. 2013. https://arxiv.org/abs/1308.3432).

A code travels and is stored as b rows of W bits, the lowest first, by any codec of masks.
Looking it up costs the edge W times D multiply-accumulates an answer, not an inference.

Notation: `B` edges, `H` upload length, `W` entries of a code, `D` embedding size.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from fedsim.codecs.base import Column
from fedsim.data.base import Streams
from fedsim.layout import Layer, Layout
from fedsim.models.base import xavier_normal
from fedsim.plugins import CodecOptions
from fedsim.setting import Arrays, Provision
from fedsim.training.learner import DenseLearner
from strategies._levels import packed, unpacked
from strategies._long_upload import UploadReader
from strategies._rounding import loaded, stored, trained_rounded
from strategies.user_vector import (
    UserVector,
    UserVectorConfig,
    UserVectorEdge,
    UserVectorLearner,
    trained_reader,
)


class SnackConfig(UserVectorConfig):
    """Options of the snack; the backbone trains first by the scenario's `train` section."""

    name: str = "snack"
    width: Annotated[int, Field(ge=1)] = 64
    """Entries of a code."""
    bits: Annotated[int, Field(ge=1, le=8)] = 2
    """Bits of an entry."""
    epochs: Annotated[int, Field(ge=1)] = 10
    """Epochs after the first training's best one, with a fresh optimiser and schedule."""
    codec: CodecOptions = Field(default="bitmask")
    """How codes travel."""


class SnackEdge(UserVectorEdge):
    """Uploads its last 100 items; looks the code it is answered up in its codebook."""

    def vector(self, channel: int, rows: Arrays) -> Tensor:
        levels = unpacked(rows["code"], self.config.width, self.config.bits)
        return between(torch.from_numpy(levels).float(), self.config.bits) @ self.codebooks[channel]

    @cached_property
    def codebooks(self) -> list[Tensor]:
        """For each channel its codebook, float32 (W, D)."""
        layout = codebook_layout(self.config.width, self.backbone.dim)
        return [
            loaded("codebook", arrays, layout, self.config.weight_bits).view(self.config.width, -1)
            for arrays in self.provision.channels
        ]


class Snack(UserVector):
    """Trains a backbone per channel, then what reads uploads; answers with codes."""

    Config = SnackConfig
    edge = SnackEdge
    config: SnackConfig

    def columns(self) -> tuple[Column, ...]:
        rows = (Layer(f"bit{bit}", 1, self.config.width) for bit in range(self.config.bits))
        return (Column("code", "mask", Layout(tuple(rows))),)

    def trained(self, channel: int, streams: Streams) -> SnackLearner:
        return trained_reader(self.setting, channel, streams, self.config, SnackLearner)

    def provision(self) -> Provision:
        whole = super().provision()
        layout = codebook_layout(self.config.width, self.setting.backbone.dim)
        channels = tuple(
            {
                **arrays,
                **stored("codebook", learner.state_dict()["map"], layout, self.config.weight_bits),
            }
            for arrays, learner in zip(whole.channels, self._learners, strict=True)
        )
        return replace(whole, channels=channels)

    def majority(self, channel: int, rows: Arrays) -> Arrays:
        """Return the code of mean levels, rounded."""
        levels = unpacked(rows["code"], self.config.width, self.config.bits)
        return self._named(levels.mean(axis=0, keepdims=True, dtype=np.float64))

    def _named(self, rows: NDArray[np.floating]) -> Arrays:
        return {"code": packed(np.rint(rows).astype(np.uint8), self.config.bits)}


class SnackLearner(UserVectorLearner):
    """A warm dense backbone, and what makes a code of an upload."""

    def __init__(self, warm: DenseLearner, gen: torch.Generator, config: SnackConfig) -> None:
        super().__init__(warm, gen, config)
        self.width, self.bits = config.width, config.bits
        self.reader = UploadReader(warm.items, config.width, gen, config)
        self.map = nn.Parameter(xavier_normal(config.width, warm.backbone.dim, gen))

    def generated(self, uploads: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Return vectors for uploads int64 (B, H): float32 (B, D)."""
        exact: Tensor = self.reader(uploads, self.items, gen)
        code = exact + (between(levels_of(exact, self.bits), self.bits) - exact).detach()
        layout = codebook_layout(*self.map.shape)
        vectors: Tensor = code @ trained_rounded(self.map, layout, self.weight_bits)
        return vectors

    def sent(self, uploads: Tensor) -> Tensor:
        """Return the levels of codes for uploads int64 (B, H): float32 (B, W), whole numbers."""
        return levels_of(self.reader(uploads, self.items), self.bits)


def codebook_layout(width: int, dim: int) -> Layout:
    """Return the layout of a codebook, a row an entry of a code."""
    return Layout((Layer("codebook", width, dim),))


def levels_of(exact: Tensor, bits: int) -> Tensor:
    """Return the levels 0..2^bits - 1 nearest to numbers between -1 and 1."""
    levels: Tensor = ((exact + 1) / 2 * (2**bits - 1)).round()
    return levels


def between(levels: Tensor, bits: int) -> Tensor:
    """Return levels 0..2^bits - 1 as numbers between -1 and 1, evenly spaced."""
    numbers: Tensor = levels / (2**bits - 1) * 2 - 1
    return numbers
