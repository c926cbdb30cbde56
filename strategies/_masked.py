"""Learners with frozen weights of which only a part is kept, and one mask for everybody.

Notation: `B` edges, `H` upload length, `N` maskable parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedsim import rng
from fedsim.data.base import Streams
from fedsim.kernels.masked_linear import MaskedMatrix
from fedsim.kernels.select import kept_count, select
from fedsim.kernels.straight_through import masked_weights
from fedsim.models.base import Backbone, Weight, split_layers, xavier_normal
from fedsim.setting import Setting
from fedsim.training.fit import fit
from fedsim.training.learner import Learner


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

    def options(self) -> dict[str, object]:
        """Return what the cache must know and no tensor tells."""
        return {"kept": self.kept, "scale": self.scale}

    def layer_scores(
        self, uploads: Tensor, gen: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield for each layer its scores (B or 1, elements) and row weights (B, rows)."""
        raise NotImplementedError(f"{type(self).__name__} gives no scores")

    def weights(self, uploads: Tensor, gen: torch.Generator | None = None) -> Sequence[Weight]:
        """Return the kept weights; the gradient passes straight through to the scores."""
        frozen = split_layers(self.backbone.layout, self.frozen)
        layers = zip(self.layer_scores(uploads, gen), frozen, self.kept, strict=True)
        return [
            self._weight(scores, rows, weights[0], keep) for (scores, rows), weights, keep in layers
        ]

    def _weight(self, scores: Tensor, rows: Tensor | None, frozen: Tensor, keep: int) -> Weight:
        if len(scores) > 1:
            return MaskedMatrix(scores, rows, frozen, keep, self.scale)
        return masked_weights(scores, rows, frozen, keep, scale=self.scale)

    def masks(self, uploads: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return packed masks for uploads (B, H): uint8 (B or 1, packed bytes).

        Those of `layer_scores` but for rounding; a row does not depend on the others.
        """
        raise NotImplementedError(f"{type(self).__name__} answers nothing")


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

    def masks(self, uploads: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return the one mask, uint8 (1, packed bytes)."""
        layers = zip(self.scores, self.kept, strict=True)
        packed = [select(scores.detach().numpy(), None, keep) for scores, keep in layers]
        return np.concatenate(packed, axis=1)


def trained_mask(
    setting: Setting, channel: int, streams: Streams, frozen: Tensor, keep: float, scale: float
) -> GlobalMask:
    """Return one channel's global mask, trained on its streams."""
    place = setting.channels[channel]
    purpose = f"mask/{place.name}"
    gen = rng.torch_generator(setting.scenario.seed, f"{purpose}/start")
    learner = GlobalMask(setting.backbone, place.num_items, gen, frozen, keep, scale)
    fit(learner, streams, setting, purpose=purpose, options=learner.options())
    return learner


def frozen_weights(setting: Setting) -> Tensor:
    """Return Xavier-normal weights (N), the same for all channels and strategies of a seed."""
    gen = rng.torch_generator(setting.scenario.seed, "frozen")
    return setting.backbone.init_weights(gen)


def kept_scale(keep: float, scaled: bool) -> float:
    """Return the factor on kept weights: 1, or what keeps a layer's variance as it was."""
    return keep**-0.5 if scaled else 1.0
