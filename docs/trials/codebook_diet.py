"""Masks out of a book: every layer's mask is one of a few learned ones that were shipped once.

An answer names a mask for each layer, in `bits` bits: 40 bits in all for SASRec, of whose
layers each has 2^4 masks. The scores of a layer's masks start as the global mask's plus noise;
the cloud chooses by the largest of as many linear maps of ``h``, what `long_diet` reads in a
long upload. In training the gradient passes straight through the choice to its softmax (Bengio,
Léonard, Courville. 2013. https://arxiv.org/abs/1308.3432), and through the chosen mask to its
scores.

Notation: `B` edges, `H` upload length, `W` layers, `K` masks of a layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from docs.trials._after_mask import AfterMask, DecodedEdge, packed_masks, with_arrays
from fedsim.codecs.base import Column
from fedsim.layout import Layer, Layout
from fedsim.models.base import xavier_normal
from fedsim.setting import Arrays, Provision
from strategies._generated import in_batches
from strategies._levels import packed, unpacked
from strategies._masked import GlobalMask
from strategies.long_diet import LongDietConfig, LongDietLearner


class CodebookDietConfig(LongDietConfig):
    """Options of diets out of a book."""

    name: str = "docs.trials.codebook_diet:CodebookDiet"
    bits: Annotated[int, Field(ge=1, le=8)] = 4
    """Bits that name one of a layer's masks."""
    noise: Annotated[float, Field(gt=0)] = 0.05
    """Standard deviation of what is added to a mask's first scores."""
    gain: Annotated[float, Field(gt=0)] = 1.0
    """Size of the first maps that masks are chosen by, relative to Xavier's."""


class CodebookDietEdge(DecodedEdge):
    """Looks the masks up that its answer names, and runs what they keep."""

    def decoded(self, channel: int, packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
        layout = self.backbone.layout
        names = unpacked(packed, len(layout.layers), self.config.bits)
        book = self.provision.channels[channel]["masks"].astype(np.uint8)
        ends = -(-layout.offsets // 8)
        parts = zip(names.T, ends[:-1], ends[1:], strict=True)
        return np.concatenate([book[of, start:stop] for of, start, stop in parts], axis=1)


class CodebookDiet(AfterMask):
    """Trains a mask for everybody, then a book of masks and what chooses in it."""

    Config = CodebookDietConfig
    edge = CodebookDietEdge
    config: CodebookDietConfig

    def columns(self) -> tuple[Column, ...]:
        layers = len(self.setting.backbone.layout.layers)
        rows = (Layer(f"bit{bit}", 1, layers) for bit in range(self.config.bits))
        return (Column("mask", "mask", Layout(tuple(rows))),)

    def learner(self, warm: GlobalMask, gen: torch.Generator) -> LongDietLearner:
        return CodebookLearner(warm, gen, self.config)

    def provision(self) -> Provision:
        books = (
            packed_masks(learner.get_submodule("scores").parameters(), learner.kept)
            for learner in self._learners
        )
        return with_arrays(super().provision(), "masks", books)

    def majority(self, channel: int, rows: Arrays) -> Arrays:
        """Return for each layer the mask that is named most often."""
        choice = unpacked(rows["mask"], len(self.setting.backbone.layout.layers), self.config.bits)
        most = np.array([[np.bincount(names).argmax() for names in choice.T]], np.uint8)
        return {"mask": packed(most, self.config.bits)}


class CodebookLearner(LongDietLearner):
    """A book of scores for each layer, float32 (K, elements), and what chooses in it."""

    def __init__(self, warm: GlobalMask, gen: torch.Generator, config: CodebookDietConfig) -> None:
        super().__init__(warm, gen, config)
        self.bits, count, dim = config.bits, 2**config.bits, warm.backbone.dim
        self.scores = nn.ParameterList(
            each.detach() + config.noise * torch.randn(count, each.shape[1], generator=gen)
            for each in warm.scores
        )
        self.maps = nn.ParameterList(
            config.gain * xavier_normal(dim, count, gen) for _ in warm.scores
        )

    def logits(self, uploads: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Return what masks are chosen by for uploads (B, H): float32 (W, B, K)."""
        return torch.bmm(self._states(uploads, gen), torch.stack(list(self.maps)))

    def layer_scores(
        self, uploads: Tensor, gen: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, None]]:
        """Yield the scores (B, elements) of the masks that are chosen, without row weights."""
        for logits, scores in zip(self.logits(uploads, gen), self.scores, strict=True):
            soft = logits.softmax(1)
            hard = F.one_hot(logits.argmax(1), len(scores)).float()
            yield (hard + (soft - soft.detach())) @ scores, None

    def masks(self, uploads: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return which masks answer uploads (B, H), packed: uint8 (B, W bits / 8)."""
        names = in_batches(lambda ids: self.logits(ids).argmax(2).T, uploads, len(self.maps))
        return packed(names.astype(np.uint8), self.bits)
