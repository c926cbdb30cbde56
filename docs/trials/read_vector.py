"""A user vector whose upload is read otherwise: by a GRU, or by attention.

`user_vector` reads means of the last 100 items in which older ones fade at set speeds. Here the
upload is read, by `reader`,

- ``gru``: by one GRU, item after item, whose last state stands for the means; or
- ``attention``: by as many means as `user_vector` has, in which an item's share is the softmax
  of a learned query times its embedding plus a learned number for its age. These numbers start
  as the logarithms of what `user_vector` weighs ages by, so that it starts near those means.

All else, the norm, the mixing layer and both halves, is `user_vector`'s.

Notation: `B` edges, `H` upload length, `D` embedding size, `M` means.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fedsim.data.base import Streams
from fedsim.models.base import xavier_normal
from fedsim.training.learner import DenseLearner
from strategies._generated import GeneratingLearner
from strategies._generator import Extractors
from strategies._long_upload import LongUploadConfig, UploadReader
from strategies.user_vector import UserVector, UserVectorConfig, UserVectorLearner, trained_reader


class ReadVectorConfig(UserVectorConfig):
    """Options of the user vector that is read otherwise."""

    name: str = "docs.trials.read_vector:ReadVector"
    reader: Literal["gru", "attention"] = "gru"
    """What reads uploads."""


class ReadVector(UserVector):
    """Trains a backbone per channel, then what reads uploads; its edges are user_vector's."""

    Config = ReadVectorConfig
    config: ReadVectorConfig

    def trained(self, channel: int, streams: Streams) -> GeneratingLearner:
        return trained_reader(self.setting, channel, streams, self.config, ReadVectorLearner)


class ReadVectorLearner(UserVectorLearner):
    """A warm dense backbone, and another reader of uploads."""

    def __init__(self, warm: DenseLearner, gen: torch.Generator, config: ReadVectorConfig) -> None:
        super().__init__(warm, gen, config)
        reader = GruReader if config.reader == "gru" else AttentionReader
        self.reader = reader(warm.items, self.width, gen, config)


class GruReader(UploadReader):
    """Reads an upload by a GRU; a padded place is read as an embedding of zeros."""

    def __init__(
        self, items: Tensor, outputs: int, gen: torch.Generator, config: LongUploadConfig
    ) -> None:
        super().__init__(items, outputs, gen, config.model_copy(update={"decays": (1.0,)}))
        self.gru = Extractors(1, items.shape[1], gen)

    def means(self, uploads: Tensor, items: Tensor) -> Tensor:
        """Return the state after the last item of uploads int64 (B, H): float32 (B, 1, D)."""
        table = items if self.uploaded is None else self.uploaded
        embedded = F.embedding(uploads, table, padding_idx=0) * table.shape[1] ** 0.5
        states: Tensor = self.gru(embedded)
        return states.transpose(0, 1)


class AttentionReader(UploadReader):
    """Reads an upload by means whose shares are learned; an empty one is read as zeros."""

    def __init__(
        self, items: Tensor, outputs: int, gen: torch.Generator, config: LongUploadConfig
    ) -> None:
        super().__init__(items, outputs, gen, config)
        count, dim = len(config.decays), items.shape[1]
        self.queries = nn.Parameter(0.1 * xavier_normal(count, dim, gen))
        self.ages = nn.Parameter(self.decays.log().clamp(min=-20.0))

    def means(self, uploads: Tensor, items: Tensor) -> Tensor:
        """Return the means of uploads int64 (B, H): float32 (B, M, D)."""
        table = items if self.uploaded is None else self.uploaded
        embedded = F.embedding(uploads, table, padding_idx=0) * table.shape[1] ** 0.5
        wanted = self.queries @ embedded.transpose(1, 2) + self.ages
        shares = wanted.masked_fill((uploads == 0)[:, None], -1e9).softmax(2)
        return torch.bmm(shares, embedded)
