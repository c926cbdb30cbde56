"""What a backbone is: a sequence model whose maskable layers come from outside, per edge.

A backbone holds no parameters. Its forward takes one weight matrix per maskable layer
(of every edge, or one for all), what is never masked (``small``) and embedded windows.

Notation: `B` edges, `K` windows of an edge, `L` window length, `D` embedding size, `N`
maskable parameters.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from fedsim.layout import Layout
from fedsim.plugins import Options, Plugin


class Linear(Protocol):
    """One layer's weights for each of B edges, as whatever can multiply with them."""

    def linear(self, values: Tensor) -> Tensor:
        """Return the products of values (B, M, columns) with the weights: (B, M, rows)."""


Weight = Tensor | Linear
"""One layer's weights: written out (B or 1, rows, columns), or as what makes them."""


class BackboneConfig(Options):
    """Options every backbone has."""

    dim: Annotated[int, Field(ge=8, multiple_of=8)] = 64
    """Size of item embeddings and of a query."""
    window: Annotated[int, Field(ge=1)] = 5
    """Items a window holds, left-padded."""


class Backbone(Plugin):
    """A model of the next item, vectorised over edges; made as ``Backbone(config)``.

    A subclass sets `layout` (all layers but the last hold a multiple of 8 parameters, so
    that a layer's packed bits start on a byte), `uses` (how often one inference applies
    each layer's rows) and `fixed_macs` (multiply-accumulates no mask can save).
    """

    Config: ClassVar[type[Options]] = BackboneConfig
    layout: Layout
    uses: tuple[int, ...]
    fixed_macs: int

    def __init__(self, config: BackboneConfig) -> None:
        self.config = config
        self.dim = config.dim
        self.window = config.window

    def init_weights(self, gen: torch.Generator) -> Tensor:
        """Return Xavier-normal weights of all maskable layers, float32 (N)."""
        layers = [
            xavier_normal(layer.rows, layer.columns, gen).reshape(-1)
            for layer in self.layout.layers
        ]
        return torch.cat(layers)

    @abstractmethod
    def init_small(self, gen: torch.Generator) -> dict[str, Tensor]:
        """Return the parameters that are never masked: positions, norms, output layer."""

    @abstractmethod
    def forward(
        self,
        weights: Sequence[Weight],
        small: Mapping[str, Tensor],
        embedded: Tensor,
        padding: Tensor,
        *,
        dropout: float = 0.0,
        gen: torch.Generator | None = None,
    ) -> Tensor:
        """Return what each window asks for, to be multiplied with item embeddings.

        Parameters
        ----------
        weights
            One tensor (B or 1, rows, columns) per layer of `layout`.
        small
            What `init_small` gives, perhaps trained.
        embedded
            Item embeddings of the windows as looked up, unscaled; float32 (B, K, L, D).
        padding
            True where a window holds no item; bool (B, K, L).
        dropout
            Chance of a unit to be dropped in training; acts only where `gen` is given.
        gen
            Source of dropout; the same generator state gives the same result.

        Returns
        -------
        Tensor
            float32 (B, K, D).
        """

    def masked_forward(
        self,
        packed: NDArray[np.uint8],
        frozen: NDArray[np.float32],
        small: Mapping[str, Tensor],
        items: Tensor,
        windows: NDArray[np.int32],
    ) -> Tensor:
        """Return `forward` of frozen weights of which each edge keeps its mask's part.

        Without dropout and gradient; a backbone may do better than unpacking the masks.

        Parameters
        ----------
        packed
            Masks, uint8 (B or 1, N / 8 rounded up).
        frozen
            The weights behind them, as a kept one is used; float32 (N).
        small
            What is never masked.
        items
            Item embeddings, float32 (V + 1, D).
        windows
            Item ids, int32 (B, K, L), left-padded with 0.

        Returns
        -------
        Tensor
            float32 (B, K, D).
        """
        bits = np.unpackbits(packed, axis=1, count=self.layout.size, bitorder="little")
        weights = split_layers(self.layout, torch.from_numpy(bits * frozen))
        ids = torch.from_numpy(windows).long()
        with torch.no_grad():
            return self.forward(weights, small, items[ids], ids == 0)

    def macs(self, kept_rows: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Return the multiply-accumulates of one inference, by the papers' accounting.

        A row (an output unit or a filter) without any kept element is skipped; a row that
        keeps one counts in full, at every position. What has no weights (attention scores
        and sums) and what is never masked counts in full whatever the rows.

        Parameters
        ----------
        kept_rows
            Rows of each layer that keep an element, int64 (B, layers); dense when None.

        Returns
        -------
        ndarray
            int64 (B), or (1) when dense.
        """
        layers = self.layout.layers
        if kept_rows is None:
            kept_rows = np.array([[layer.rows for layer in layers]])
        row_macs = [layer.columns * uses for layer, uses in zip(layers, self.uses, strict=True)]
        return np.asarray(kept_rows @ np.array(row_macs) + self.fixed_macs, np.int64)


class Stack(Backbone):
    """A backbone of residual blocks, any of which an edge may leave out.

    The blocks cost the same and are those of `layout`, whose layers are named ``BLOCK.LAYER``.
    """

    @abstractmethod
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
        """Return what each window asks for, from the blocks that are left in.

        `gates` float32 (B or 1, blocks) is 1 where a block is left in and 0 where it is left
        out, which then passes on exactly what it was given; all are in when None.
        """

    def stacked_macs(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the multiply-accumulates of one inference with the blocks chosen.

        `chosen` is (B, blocks); a block left out costs nothing at all.
        """
        each = self.macs()[0] // chosen.shape[1]
        return np.asarray(chosen.sum(axis=1) * each, np.int64)


def xavier_normal(rows: int, columns: int, gen: torch.Generator) -> Tensor:
    """Return a (rows, columns) matrix with standard deviation sqrt(2 / (rows + columns))."""
    return torch.randn(rows, columns, generator=gen) * math.sqrt(2 / (rows + columns))


def dropped(values: Tensor, share: float, gen: torch.Generator | None) -> Tensor:
    """Return `values` with a random share set to zero and the rest rescaled."""
    if gen is None or share == 0.0:
        return values
    keep = torch.empty_like(values).bernoulli_(1.0 - share, generator=gen)
    return values * keep.div_(1.0 - share)


def apply_linear(values: Tensor, weight: Weight) -> Tensor:
    """Return ``values @ weight.T`` of every edge.

    `values` is (B, ..., columns), `weight` (B or 1, rows, columns); gives (B, ..., rows).
    """
    if not isinstance(weight, Tensor):
        return weight.linear(values.flatten(1, -2)).view(*values.shape[:-1], -1)
    if len(weight) == 1:
        mapped: Tensor = F.linear(values, weight[0])
        return mapped
    flat = torch.bmm(values.flatten(1, -2), weight.transpose(1, 2))
    return flat.view(*values.shape[:-1], weight.shape[1])


def split_layers(layout: Layout, flat: Tensor) -> list[Tensor]:
    """Return views of flat weights (N) or (B, N) as one (B or 1, rows, columns) a layer."""
    flat = flat.reshape(-1, layout.size)
    parts = torch.split(flat, [layer.size for layer in layout.layers], dim=1)
    return [
        part.view(-1, layer.rows, layer.columns)
        for part, layer in zip(parts, layout.layers, strict=True)
    ]


def tiled_weights(layout: Layout, largest: Tensor) -> Tensor:
    """Return flat weights (N) of which every layer is the leading slice of one vector.

    DIETING: an edge stores only the largest layer's weights, and every layer reads them
    from the start. `largest` is float32 (size of the largest layer).
    """
    return torch.cat([largest[: layer.size] for layer in layout.layers])


def largest_layer(layout: Layout) -> int:
    """Return the size of the largest layer: what DIETING stores of frozen weights."""
    return max(layer.size for layer in layout.layers)
