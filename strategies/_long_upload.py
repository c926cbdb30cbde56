"""What `long_diet` and `user_vector` make of a long upload: means whose older items fade.

The cloud looks at an edge's last items as several means, in each of which older items fade at
a different speed; each mean is normed, all are mixed by one linear layer and a tanh.

Notation: `B` edges, `H` upload length, `D` embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from fedsim.models.base import dropped, xavier_normal
from fedsim.strategy import StrategyConfig


class LongUploadConfig(StrategyConfig):
    """Options of every strategy that reads a long upload, after a training without it."""

    upload: Annotated[int, Field(ge=1)] = 100
    """Items an edge uploads."""
    epochs: Annotated[int, Field(ge=1)] = 5
    """Epochs after the first training's best one, with a fresh optimiser and schedule."""
    decays: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)] = (
        1.0,
        0.95,
        0.8,
        0.5,
    )
    """Weight of an item in each mean, relative to the next one's."""
    tied: bool = False
    """Read uploads by the backbone's item embeddings instead of a table of their own."""
    upload_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Dropout on the means in training."""


class UploadReader(nn.Module):
    """Reads uploads into `outputs` numbers; its own item table starts as `items` (V + 1, D)."""

    decays: Tensor

    def __init__(
        self, items: Tensor, outputs: int, gen: torch.Generator, config: LongUploadConfig
    ) -> None:
        super().__init__()
        dim = items.shape[1]
        self.dropout = config.upload_dropout
        self.uploaded = None if config.tied else nn.Parameter(items.detach().clone())
        self.register_buffer("decays", _decays(config.decays, config.upload))
        self.norm = nn.LayerNorm(dim)
        self.mix = nn.Parameter(xavier_normal(len(config.decays) * dim, outputs, gen))
        self.mix_bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, uploads: Tensor, items: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Return what uploads int64 (B, H) say, float32 (B, outputs) between -1 and 1.

        `items` are the backbone's embeddings, read where the reader has no table of its own;
        `gen` is the source of dropout.
        """
        means = self.norm(self.means(uploads, items)).flatten(1)
        mixed = dropped(means, self.dropout, gen)
        return torch.tanh(torch.addmm(self.mix_bias, mixed, self.mix))

    def means(self, uploads: Tensor, items: Tensor) -> Tensor:
        """Return the decayed means of uploads int64 (B, H): float32 (B, decays, D)."""
        table = items if self.uploaded is None else self.uploaded
        embedded = F.embedding(uploads, table, padding_idx=0) * table.shape[1] ** 0.5
        shares = self.decays * (uploads != 0)[:, None]
        shares = shares / shares.sum(-1, keepdim=True).clamp(min=1e-9)
        return torch.bmm(shares, embedded)


def _decays(decays: Sequence[float], length: int) -> Tensor:
    """Return the weight of each uploaded item in each mean, float32 (decays, H)."""
    age = torch.arange(length - 1, -1, -1)
    return torch.stack([torch.tensor(decay) ** age for decay in decays])
