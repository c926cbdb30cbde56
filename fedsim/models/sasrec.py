"""SASRec: self-attention over the window, two blocks, the last position asks.

Kang, McAuley: Self-Attentive Sequential Recommendation. ICDM 2018.
https://arxiv.org/abs/1808.09781

Sized and simplified as in Fu et al., DIET (KDD 2024): per block five maskable maps (query,
key, value, two feed-forward), no projection after attention, no biases. The last block
works out only the last position, the one that answers. A padded position is seen by nobody
but itself. A block that is left out is an identity: its norms are left out with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from fedsim.kernels.masked import WORD, sasrec_queries
from fedsim.layout import Layer, Layout
from fedsim.models.base import (
    BackboneConfig,
    Stack,
    Weight,
    apply_linear,
    dropped,
    xavier_normal,
)

LINEAR = ("query", "key", "value", "ffn1", "ffn2")
"""The maskable maps of a block, in order."""


class SASRecConfig(BackboneConfig):
    """Options of SASRec."""

    name: str = "sasrec"
    blocks: Annotated[int, Field(ge=1)] = 2
    heads: Annotated[int, Field(ge=1)] = 4
    norm: Literal["post", "sasrec"] = "post"
    """Norm the embedding and after each residual (`post`), or as the authors' code does:
    norm the query before attention, after attention, and the end (`sasrec`)."""

    @model_validator(mode="after")
    def _divisible(self) -> SASRecConfig:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is no multiple of heads {self.heads}")
        return self


class SASRec(Stack):
    """The backbone of the papers' main tables: 40,960 maskable parameters, 208,640 MACs."""

    Config = SASRecConfig

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__(config)
        self.blocks, self.heads, self.norm = config.blocks, config.heads, config.norm
        self.layout = Layout(
            tuple(
                Layer(f"block{block}.{name}", self.dim, self.dim)
                for block in range(self.blocks)
                for name in LINEAR
            )
        )
        self.uses = (self.window,) * len(self.layout.layers)
        pairs = self.window * (self.window + 1) // 2
        self.fixed_macs = self.blocks * 2 * pairs * self.dim

    def init_small(self, gen: torch.Generator) -> dict[str, Tensor]:
        """Return `positions` (L, D), `norm_gain` and `norm_bias` (1 + 2 * blocks, D)."""
        norms = 1 + 2 * self.blocks
        return {
            "positions": xavier_normal(self.window, self.dim, gen),
            "norm_gain": torch.ones(norms, self.dim),
            "norm_bias": torch.zeros(norms, self.dim),
        }

    def forward(
        self,
        weights: Sequence[Weight],
        small: Mapping[str, Tensor],
        embedded: Tensor,
        padding: Tensor,
        *,
        dropout: float = 0.0,
        gen: torch.Generator | None = None,
        gates: Tensor | None = None,
    ) -> Tensor:
        def normed(values: Tensor, index: int) -> Tensor:
            gain, bias = small["norm_gain"][index], small["norm_bias"][index]
            return F.layer_norm(values, (self.dim,), gain, bias)

        post = self.norm == "post"
        z = embedded * math.sqrt(self.dim) + small["positions"]
        z = dropped(normed(z, 0) if post else z, dropout, gen)
        hidden = _hidden(padding)
        for block in range(self.blocks):
            query, key, value, ffn1, ffn2 = weights[block * 5 : block * 5 + 5]
            given, unseen = z, hidden
            if block == self.blocks - 1:
                given, unseen = z[:, :, -1:], hidden[..., -1:, :]
            asking = given if post else normed(given, 1 + 2 * block)
            mixed = self._attend(
                apply_linear(asking, query), apply_linear(z, key), apply_linear(z, value), unseen
            )
            mixed = asking + dropped(mixed, dropout, gen)
            z = normed(mixed, 1 + 2 * block if post else 2 + 2 * block)
            z = z + dropped(apply_linear(F.relu(apply_linear(z, ffn1)), ffn2), dropout, gen)
            if post:
                z = normed(z, 2 + 2 * block)
            if gates is not None:
                z = torch.lerp(given, z, gates[:, block, None, None, None])
        return (z if post else normed(z, 0))[:, :, -1]

    def masked_forward(
        self,
        packed: NDArray[np.uint8],
        frozen: NDArray[np.float32],
        small: Mapping[str, Tensor],
        items: Tensor,
        windows: NDArray[np.int32],
    ) -> Tensor:
        if self.dim % WORD:
            return super().masked_forward(packed, frozen, small, items, windows)
        table, post = items.detach().numpy(), self.norm == "post"
        return sasrec_queries(packed, frozen, small, table, windows, heads=self.heads, post=post)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, hidden: Tensor) -> Tensor:
        def by_head(values: Tensor) -> Tensor:
            return values.view(*values.shape[:3], self.heads, -1).transpose(2, 3)

        query, key, value = by_head(query), by_head(key), by_head(value)
        scores = query @ key.transpose(-1, -2) * math.sqrt(self.heads / self.dim)
        shares = scores.masked_fill(hidden[:, :, None], -1e9).softmax(-1)
        mixed: Tensor = shares @ value
        return mixed.transpose(2, 3).flatten(-2)


def _hidden(padding: Tensor) -> Tensor:
    """Return which positions a position must not see: later ones and padding."""
    seen, own = _causal(padding.shape[-1], padding.device)
    return ~((seen & ~padding[..., None, :]) | own)


@cache
def _causal(window: int, device: torch.device) -> tuple[Tensor, Tensor]:
    ones = torch.ones(window, window, dtype=torch.bool, device=device)
    return ones.tril(), torch.eye(window, dtype=torch.bool, device=device)
