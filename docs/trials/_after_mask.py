"""What trials share that first learn one mask for everybody, as `long_diet` does.

Notation: `B` edges, `H` upload length, `N` maskable parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedsim import rng
from fedsim.data.base import Streams
from fedsim.kernels.select import select
from fedsim.setting import Arrays, Provision, Setting
from strategies._generated import in_batches
from strategies._long_upload import LongUploadConfig, fit_reader
from strategies._masked import GlobalMask, MaskedLearner, kept_scale, trained_mask
from strategies.long_diet import LongDiet, LongDietEdge, LongDietLearner
from strategies.user_vector import UserVectorLearner

L = TypeVar("L", LongDietLearner, UserVectorLearner)


def trained_after(
    make: Callable[[torch.Generator], L],
    setting: Setting,
    channel: int,
    streams: Streams,
    config: LongUploadConfig,
    targets: int,
) -> L:
    """Return a learner, made from a generator and trained; `targets` share an answer."""
    purpose = f"{config.name}/{setting.channels[channel].name}"
    gen = rng.torch_generator(setting.scenario.seed, f"{purpose}/start")
    learner = make(gen)
    fit_reader(
        learner,
        learner.reader,
        streams,
        setting,
        config,
        purpose=purpose,
        targets_per_answer=targets,
    )
    return learner


class DecodedEdge(LongDietEdge):
    """Runs the mask that its answer stands for, by `decoded`."""

    def decoded(self, channel: int, packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the packed masks (B or 1, N / 8) that answers (B or 1, bytes) stand for."""
        raise NotImplementedError(f"{type(self).__name__} decodes nothing")

    def queries(self, channel: int, rows: Arrays, windows: NDArray[np.int32]) -> Tensor:
        mask = self.decoded(channel, rows["mask"].astype(np.uint8, copy=False))
        return super().queries(channel, {"mask": mask}, windows)

    def macs(self, channel: int, rows: Arrays) -> NDArray[np.int64]:
        mask = self.decoded(channel, rows["mask"].astype(np.uint8, copy=False))
        return super().macs(channel, {"mask": mask})


class AfterMask(LongDiet):
    """Trains a mask for everybody as `long_diet` does, then a learner that starts from it."""

    def learner(self, warm: GlobalMask, gen: torch.Generator) -> LongDietLearner:
        """Return a learner in its starting state."""
        raise NotImplementedError(f"{type(self).__name__} learns nothing")

    def trained(self, channel: int, streams: Streams) -> MaskedLearner:
        warm, config = self.warm(channel, streams), self.config
        make = partial(self.learner, warm)
        targets = config.targets_per_mask
        return trained_after(make, self.setting, channel, streams, config, targets)

    def warm(self, channel: int, streams: Streams) -> GlobalMask:
        """Return a channel's mask for everybody, trained on its streams."""
        scale = kept_scale(self.config.keep, self.config.scale)
        return trained_mask(self.setting, channel, streams, self.frozen(), self.config.keep, scale)


def with_arrays(whole: Provision, name: str, values: Iterable[NDArray[np.uint8]]) -> Provision:
    """Return a provision with one more array a channel."""
    pairs = zip(whole.channels, values, strict=True)
    return replace(whole, channels=tuple({**arrays, name: value} for arrays, value in pairs))


def packed_masks(scores: Iterable[Tensor], kept: Sequence[int]) -> NDArray[np.uint8]:
    """Return the packed masks (B, N / 8) of each layer's scores (B, elements)."""
    layers = zip(scores, kept, strict=True)
    return np.concatenate([select(one.detach().numpy(), None, n) for one, n in layers], axis=1)


def masks_of_scores(learner: MaskedLearner, uploads: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Return packed masks (B, N / 8) of a learner's `layer_scores` for uploads (B, H).

    A row does not depend on the others.
    """

    def selected(ids: Tensor) -> Tensor:
        scores = (scores for scores, _ in learner.layer_scores(ids))
        return torch.from_numpy(packed_masks(scores, learner.kept))

    return in_batches(selected, uploads, learner.backbone.layout.packed_bytes).astype(np.uint8)
