"""What training works on: a backbone, its item embeddings and where its weights come from.

Notation: `B` groups of targets, `K` targets of a group, `L` window length, `H` upload
length, `D` embedding size, `V` items, `N` maskable parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from fedsim.models.base import Backbone, Weight, split_layers, xavier_normal


class Learner(nn.Module):
    """A recommender of one channel in training; a subclass says what its weights are.

    Every random start comes from `gen`, none from torch's global generator.
    """

    upload_length: int = 0
    """Interactions `weights` wants to see; 0 if the weights are the same for everybody."""
    penalty: Tensor | float = 0.0
    """What the weights given last add to the loss."""

    def __init__(self, backbone: Backbone, num_items: int, gen: torch.Generator) -> None:
        super().__init__()
        self.backbone = backbone
        self.items = nn.Parameter(item_table(num_items, backbone.dim, gen))
        self.small = nn.ParameterDict(backbone.init_small(gen))

    def weights(self, uploads: Tensor, gen: torch.Generator | None = None) -> Sequence[Weight]:
        """Return the weights (B or 1) of every layer, from uploads int64 (B, H).

        `gen` is the source of dropout, None outside training.
        """
        raise NotImplementedError(f"{type(self).__name__} gives no weights")

    def forward(
        self,
        windows: Tensor,
        uploads: Tensor,
        *,
        dropout: float = 0.0,
        gen: torch.Generator | None = None,
    ) -> Tensor:
        """Return the queries of windows int64 (B, K, L): float32 (B, K, D)."""
        return self.backbone.forward(
            self.weights(uploads, gen),
            dict(self.small),
            F.embedding(windows, self.items, padding_idx=0),
            windows == 0,
            dropout=dropout,
            gen=gen,
        )

    def small_arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return what is never masked, under the names a provision gives it."""
        return {f"small.{name}": value.detach().numpy() for name, value in self.small.items()}

    def candidates(self) -> dict[str, NDArray[np.float32]]:
        """Return the item embeddings edges rank with."""
        return {"items": self.items.detach().numpy()}


class DenseLearner(Learner):
    """All weights are trained and the same for everybody."""

    def __init__(self, backbone: Backbone, num_items: int, gen: torch.Generator) -> None:
        super().__init__(backbone, num_items, gen)
        self.flat = nn.Parameter(backbone.init_weights(gen))

    def weights(self, uploads: Tensor, gen: torch.Generator | None = None) -> Sequence[Weight]:
        """Return the trained weights."""
        return split_layers(self.backbone.layout, self.flat)


def item_table(num_items: int, dim: int, gen: torch.Generator) -> Tensor:
    """Return Xavier-normal item embeddings (V + 1, D); row 0, padding, is zero."""
    table = xavier_normal(num_items + 1, dim, gen)
    table[0] = 0.0
    return table
