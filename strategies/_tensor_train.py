"""Tensor trains by the semi-tensor product: how `sttd` puts a layer together from cores.

Xia, Yin, Yu, Wang, Xu, Nguyen: On-Device Next-Item Recommendation with Self-Supervised
Knowledge Distillation. SIGIR 2022. https://arxiv.org/abs/2204.11091
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from fedsim.layout import Layer, Layout
from fedsim.models.base import split_layers

MODE = 4
"""Length of the first two modes of rows and of columns, where it divides them."""


@dataclass(frozen=True, slots=True)
class Train:
    """How one layer is put together: its modes of rows and of columns, three each.

    `rank` is 0 where the layer stays as it is; `blocks` are t of the two products.
    """

    layer: Layer
    rows: tuple[int, int, int]
    columns: tuple[int, int, int]
    rank: int
    blocks: tuple[int, int]

    @property
    def modes(self) -> tuple[int, int, int]:
        """Rows times columns of each mode."""
        first, second, third = (r * c for r, c in zip(self.rows, self.columns, strict=True))
        return first, second, third

    @property
    def cores(self) -> tuple[Layer, ...]:
        """The matrices that are trained and shipped: three cores, or the layer itself."""
        if not self.rank:
            return (self.layer,)
        (first, second, third), (s, t), rank = self.modes, self.blocks, self.rank
        shapes = [(first, rank), (rank // s, second * rank // s), (rank // t, third // t)]
        return tuple(
            Layer(f"{self.layer.name}.core{number}", *shape)
            for number, shape in enumerate(shapes, 1)
        )

    @property
    def macs(self) -> int:
        """Multiply-accumulates of putting the layer together."""
        if not self.rank:
            return 0
        (first, second, _), (s, t), rank = self.modes, self.blocks, self.rank
        return first * second * rank * (rank // s) + self.layer.size * (rank // t)

    @property
    def spread(self) -> float:
        """Standard deviation of core elements that gives the layer Xavier's."""
        variance = 2 / (self.layer.rows + self.layer.columns)
        if not self.rank:
            return math.sqrt(variance)
        s, t = self.blocks
        return float((variance / ((self.rank // s) * (self.rank // t))) ** (1 / 6))

    def matrix(self, cores: Sequence[Tensor]) -> Tensor:
        """Return the layer (rows, columns), differentiable in its cores."""
        if not self.rank:
            return cores[0]
        product = semi_tensor(cores[0], cores[1], self.blocks[0]).reshape(-1, self.rank)
        product = semi_tensor(product, cores[2], self.blocks[1])
        paired = [side for pair in zip(self.rows, self.columns, strict=True) for side in pair]
        modes = product.reshape(paired).permute(0, 2, 4, 1, 3, 5)
        return modes.reshape(self.layer.rows, self.layer.columns)


def trains_of(layout: Layout, rank: int, block: int) -> tuple[Train, ...]:
    """Return how each layer is put together; `block` must divide `rank`."""
    return tuple(_train(layer, rank, block) for layer in layout.layers)


def put_together(trains: Sequence[Train], flat: Tensor) -> list[Tensor]:
    """Return the layers, float32 (1, rows, columns) each, from all cores, float32 (n)."""
    layout = Layout(tuple(core for train in trains for core in train.cores))
    cores = iter(part[0] for part in split_layers(layout, flat))
    return [train.matrix([next(cores) for _ in train.cores])[None] for train in trains]


def semi_tensor(left: Tensor, right: Tensor, block: int) -> Tensor:
    """Return the semi-tensor product left (right kron I): (m, p t) by (p, q) is (m, q t).

    >>> import torch
    >>> a, b = torch.randn(3, 4), torch.randn(2, 5)
    >>> torch.allclose(semi_tensor(a, b, 2), a @ torch.kron(b, torch.eye(2)), atol=1e-6)
    True
    """
    parts = left.reshape(len(left), -1, block).transpose(1, 2) @ right
    return parts.transpose(1, 2).reshape(len(left), -1)


def _train(layer: Layer, rank: int, block: int) -> Train:
    rows, columns = _modes(layer.rows), _modes(layer.columns)
    sizes = [r * c for r, c in zip(rows, columns, strict=True)]
    blocks = (block, block if sizes[2] % block == 0 else 1)
    train = Train(layer, rows, columns, rank, blocks)
    if sum(core.size for core in train.cores) < layer.size:
        return train
    return Train(layer, rows, columns, 0, (1, 1))


def _modes(length: int) -> tuple[int, int, int]:
    """Split a side in three; what is left over goes to the last.

    >>> _modes(64), _modes(16), _modes(5)
    ((4, 4, 4), (4, 4, 1), (1, 1, 5))
    """
    first = math.gcd(length, MODE)
    second = math.gcd(length // first, MODE)
    return first, second, length // (first * second)
