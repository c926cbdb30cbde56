"""Long diet: DIET's masks generated from a long upload, on top of a global mask. Ours.

Why: DIET (Fu et al., KDD 2024, https://arxiv.org/abs/2406.08804) generates a mask from the
same few items that the backbone reads anyway. Two changes make the answer worth sending, at
the same bits and the same cost on the edge:

1. A warm start. First one global mask is learned: one score for every frozen weight.
2. A long upload. From there on the scores of layer l are ``S_l + h_l H_l`` with
   ``h = tanh(Linear(decayed means))``: the cloud looks at the last 100 items, as four means
   whose older items fade at different speed, in an item table of its own; there are no row
   weights.

The backbone on the edge still reads its window, and the edge half is DIET's but for the
length of the upload.

Notation: `B` edges, `H` upload length, `D` embedding size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from fedsim import rng
from fedsim.cores import one_thread
from fedsim.data.base import Streams
from fedsim.kernels.generate import Head, masks_of
from fedsim.kernels.gru import whole_blocks
from fedsim.models.base import xavier_normal
from strategies._long_upload import (
    LongUploadConfig,
    LongUploadEdge,
    UploadReader,
    fit_reader,
    read_history,
)
from strategies._mask_answers import GeneratedMaskConfig, MaskEdge, MaskStrategy
from strategies._masked import GlobalMask, MaskedLearner, kept_scale, trained_mask


class LongDietConfig(LongUploadConfig, GeneratedMaskConfig):
    """Options of the long diet; the global mask trains by the scenario's `train` section."""

    name: str = "long_diet"
    gain: Annotated[float, Field(gt=0)] = 0.3
    """Size of the first hypernetworks, relative to Xavier's."""


class LongDietEdge(LongUploadEdge, MaskEdge):
    """Uploads its last 100 items; keeps the mask it is answered and runs what that leaves."""


class LongDiet(MaskStrategy):
    """Trains a global mask, then a generator of what each edge's scores add to it."""

    Config = LongDietConfig
    edge = LongDietEdge
    config: LongDietConfig

    def fit(self, history: tuple[Streams, ...]) -> None:
        super().fit(read_history(self.config, self.setting, history))

    def trained(self, channel: int, streams: Streams) -> MaskedLearner:
        setting, config = self.setting, self.config
        scale = kept_scale(config.keep, config.scale)
        warm = trained_mask(setting, channel, streams, self.frozen(), config.keep, scale)
        purpose = f"long/{setting.channels[channel].name}"
        gen = rng.torch_generator(setting.scenario.seed, f"{purpose}/start")
        learner = LongDietLearner(warm, gen, config)
        fit_reader(
            learner,
            learner.reader,
            streams,
            setting,
            config,
            purpose=purpose,
            targets_per_answer=config.targets_per_mask,
        )
        return learner


class LongDietLearner(MaskedLearner):
    """Generates what is added to the scores of a warm global mask."""

    decays: Tensor

    def __init__(self, warm: GlobalMask, gen: torch.Generator, config: LongDietConfig) -> None:
        backbone, num_items = warm.backbone, len(warm.items) - 1
        super().__init__(backbone, num_items, gen, warm.frozen, config.keep, warm.scale)
        layers, dim = backbone.layout.layers, backbone.dim
        self.upload_length = config.upload
        self.scores = nn.ParameterList(scores.detach().clone() for scores in warm.scores)
        self.items.data.copy_(warm.items.data)
        for name, value in warm.small.items():
            self.small[name].data.copy_(value.data)
        self.reader = UploadReader(warm.items, len(layers) * dim, gen, config)
        self.maps = nn.ParameterList(
            config.gain * xavier_normal(dim, layer.size, gen) for layer in layers
        )

    def layer_scores(
        self, uploads: Tensor, gen: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield scores (B, elements), without row weights."""
        states = self._states(uploads, gen)
        for state, score, layer_map in zip(states, self.scores, self.maps, strict=True):
            yield torch.addmm(score, state, layer_map), None

    def masks(self, uploads: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return packed masks for uploads (B, H), by the fused kernel."""
        ids = np.asarray(uploads, np.int64)
        heads = [
            Head(keep, layer_map.detach(), score.detach()[0])
            for keep, layer_map, score in zip(self.kept, self.maps, self.scores, strict=True)
        ]

        def states(part: slice) -> Tensor:
            both = torch.from_numpy(whole_blocks(ids[part]))
            return self._states(both)[:, : len(ids[part])]

        with one_thread():
            return masks_of(heads, states, len(ids))

    def _states(self, uploads: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Return what each layer's scores are made from, float32 (layers, B, D)."""
        hidden: Tensor = self.reader(uploads, self.items, gen)
        return hidden.view(len(uploads), len(self.maps), -1).transpose(0, 1)
