"""Answers generated from uploads, for a dense backbone shipped once: `user_vector`, `duet`.

The backbone is trained in the cloud together with what generates the answers; an edge is
provisioned with it and from then on gets only what differs between edges.

Notation: `B` edges, `H` upload length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from fedsim.cores import one_thread
from fedsim.data.base import Streams
from fedsim.kernels.gru import whole_blocks
from fedsim.plugins import CodecOptions
from fedsim.setting import Arrays, Provision, Uploads
from fedsim.strategy import EdgeCloudStrategy
from strategies._dense import ShippedConfig, shipped_provision
from strategies._rounding import ShippedLearner
from strategies._typical import typical_uploads

BATCH = 256
"""Edges whose answers are generated together, which bounds memory."""


class GeneratedConfig(ShippedConfig):
    """Options of every strategy that generates dense answers."""

    targets_per_answer: Annotated[int, Field(ge=1)] = 4
    """Consecutive targets of an edge that one generated answer serves in training."""
    codec: CodecOptions = Field(default="dense")
    """How answers travel."""


class GeneratingLearner(ShippedLearner):
    """A dense backbone and what generates an edge's own part of it."""

    width: int
    """Numbers an edge is sent."""

    def generated(self, uploads: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Return what uploads int64 (B, H) make of the backbone, float32 (B, …)."""
        raise NotImplementedError(f"{type(self).__name__} generates nothing")

    def sent(self, uploads: Tensor) -> Tensor:
        """Return what edges are sent for it, float32 (B, width): all of it."""
        return self.generated(uploads)

    def answers(self, uploads: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return answers to uploads (B, H), float32 (B, width).

        A row does not depend on the others.
        """
        return in_batches(self.sent, uploads, self.width)


def in_batches(
    make: Callable[[Tensor], Tensor], uploads: NDArray[np.integer], width: int
) -> NDArray[np.float32]:
    """Return what is made of uploads (B, H), float32 (B, width), a bounded number at a time.

    A row does not depend on the others.
    """
    ids = np.asarray(uploads, np.int64)
    parts = [torch.empty(0, width)]
    with one_thread(), torch.inference_mode():
        for start in range(0, len(ids), BATCH):
            part = ids[start : start + BATCH]
            parts.append(make(torch.from_numpy(whole_blocks(part)))[: len(part)])
    return torch.cat(parts).numpy()


class GeneratedStrategy(EdgeCloudStrategy):
    """Trains a learner a channel and answers every upload with floats; see `trained`.

    A subclass's answer is the one column of its `columns`.
    """

    Config = GeneratedConfig
    config: GeneratedConfig

    def trained(self, channel: int, streams: Streams) -> GeneratingLearner:
        """Return a channel's learner, trained on its streams."""
        raise NotImplementedError(f"{type(self).__name__} trains nothing")

    @property
    def personalises(self) -> bool:
        return True

    def fit(self, history: tuple[Streams, ...]) -> None:
        self._learners = [self.trained(c, streams) for c, streams in enumerate(history)]
        self._typical = [
            learner.answers(typical_uploads(streams, learner.upload_length))
            for learner, streams in zip(self._learners, history, strict=True)
        ]

    def provision(self) -> Provision:
        return shipped_provision(self._learners, self.config.weight_bits)

    def initial(self, channel: int) -> Arrays:
        return self.majority(channel, self.sample(channel))

    def sample(self, channel: int) -> Arrays:
        return self._named(self._typical[channel])

    def answer(self, channel: int, uploads: Uploads, round: int) -> Arrays:
        return self._named(self._learners[channel].answers(uploads.items))

    def _named(self, rows: NDArray[np.float32]) -> Arrays:
        (column,) = self.columns()
        return {column.name: rows}
