"""Forward-OFA in the cloud: the structure controller and the structural mapper.

Notation: `B` edges, `H` upload length, `D` embedding size, `n` blocks of the backbone, `l`
layers of a block, `r` rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from fedsim.cores import one_thread
from fedsim.models.base import Stack, split_layers, xavier_normal
from fedsim.training.learner import DenseLearner, Learner
from strategies._generator import Extractors

if TYPE_CHECKING:
    from strategies.forward_ofa import ForwardOfaConfig

BATCH = 16
"""Edges answered together; always so many, as BLAS rounds a product by its shape."""


@dataclass(frozen=True, slots=True)
class LowRank:
    """One layer's weights of B edges, a shared matrix and what each edge adds to it.

    ``W = base + left diag(c) right.T``: `base` (rows, columns), `left` (rows, r), `right`
    (columns, r), `c` (B, r) what the mapper generated.
    """

    base: Tensor
    left: Tensor
    right: Tensor
    c: Tensor

    def linear(self, values: Tensor) -> Tensor:
        """Return the products of values (B, M, columns) with the weights: (B, M, rows)."""
        own = (values @ self.right) * self.c[:, None]
        return F.linear(values, self.base) + F.linear(own, self.left)

    def written_out(self) -> Tensor:
        """Return the weights, float32 (B, rows, columns)."""
        return self.base + (self.left * self.c[:, None]) @ self.right.T


class ForwardOfaLearner(Learner):
    """Decides from an upload which blocks to assemble, and generates their parameters.

    The controller is an extractor (a GRU) and one linear layer. The mapper has for each
    block a component of its own: an extractor, parameters that read the structure, and a
    hypernetwork, so a block's gradient reaches no other block's component, and none where the
    block is left out. What a layer's matrices share starts as the warm model's.
    """

    backbone: Stack

    def __init__(self, warm: DenseLearner, gen: torch.Generator, config: ForwardOfaConfig) -> None:
        super().__init__(warm.backbone, len(warm.items) - 1, gen)
        self.base = nn.Parameter(warm.flat.detach().clone())
        self.items.data.copy_(warm.items.data)
        for name, value in warm.small.items():
            self.small[name].data.copy_(value.data)
        self.config, self.upload_length = config, config.upload
        self._add_controller_and_mapper(gen)

    def _add_controller_and_mapper(self, gen: torch.Generator) -> None:
        backbone, config = self.backbone, self.config
        layers, dim, rank = backbone.layout.layers, backbone.dim, config.rank
        blocks = len(backbone.layout.block_sizes)
        self.extractors = Extractors(1 + blocks, dim, gen)
        self.light = nn.Parameter(xavier_normal(blocks, dim, gen))
        self.light_bias = nn.Parameter(torch.full((blocks,), config.start))
        across = [xavier_normal(dim, dim, gen) for _ in range(blocks)]
        self.mix = nn.Parameter(torch.stack(across))
        reads = [xavier_normal(blocks, dim, gen) for _ in range(blocks)]
        self.structure = nn.Parameter(torch.stack(reads))
        width = len(layers) // blocks * rank
        self.hyper = nn.Parameter(
            torch.stack([config.gain * xavier_normal(dim, width, gen) for _ in range(blocks)])
        )
        self.left = nn.ParameterList(xavier_normal(layer.rows, rank, gen) for layer in layers)
        self.right = nn.ParameterList(xavier_normal(layer.columns, rank, gen) for layer in layers)

    def forward(
        self,
        windows: Tensor,
        uploads: Tensor,
        *,
        dropout: float = 0.0,
        gen: torch.Generator | None = None,
    ) -> Tensor:
        """Return the queries of windows int64 (B, K, L): float32 (B, K, D)."""
        states = self.states(uploads)
        scores = self.scores(states)
        self.penalty = self.config.sparsity * torch.sigmoid(scores).mean()
        gates = (scores > 0).float() if gen is None else self.sampled(scores, gen)
        return self.backbone.forward(
            self.mapped(states, gates),
            dict(self.small),
            F.embedding(windows, self.items, padding_idx=0),
            windows == 0,
            dropout=dropout,
            gen=gen,
            gates=gates,
        )

    def states(self, uploads: Tensor) -> Tensor:
        """Return the extractors' last states for uploads (B, H): float32 (1 + n, B, D)."""
        embedded = F.embedding(uploads, self.items, padding_idx=0) * self.backbone.dim**0.5
        states: Tensor = self.extractors(embedded)
        return states

    def scores(self, states: Tensor) -> Tensor:
        """Return the logit of each block's probability to be assembled, float32 (B, n)."""
        return (states[0][:, None] * self.light).sum(-1) + self.light_bias

    def sampled(self, scores: Tensor, gen: torch.Generator) -> Tensor:
        """Return gates of 0 or 1 (B, n), drawn; the gradient is that of the relaxed ones.

        Binary Gumbel-softmax: a logistic variable is the difference of two Gumbel variables.
        """
        uniform = torch.rand(scores.shape, generator=gen).clamp_(1e-6, 1 - 1e-6)
        relaxed = torch.sigmoid((scores + torch.logit(uniform)) / self.config.temperature)
        hard = (relaxed > 0.5).float()
        return hard + (relaxed - relaxed.detach())

    def mapped(self, states: Tensor, gates: Tensor) -> list[LowRank]:
        """Return every layer's weights for these structures, float32 (B, n)."""
        read = torch.baddbmm(gates @ self.structure, states[1:], self.mix)
        generated = torch.bmm(torch.tanh(read), self.hyper)
        coefficients = [
            part for block in generated for part in torch.split(block, self.config.rank, dim=1)
        ]
        base = split_layers(self.backbone.layout, self.base)
        parts = zip(base, self.left, self.right, coefficients, strict=True)
        return [LowRank(matrix[0], left, right, c) for matrix, left, right, c in parts]

    # ---- answering ------------------------------------------------------------------------

    def answers(self, uploads: NDArray[np.integer], most: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the parameters that answer uploads (B, H): float32 (B, N), 0 where left out.

        `most` int64 (B) caps each edge's blocks: those of the lowest probability are left
        out. A row does not depend on the others.
        """
        rows = np.empty((len(uploads), self.backbone.layout.size), np.float32)
        with one_thread(), torch.inference_mode():
            for start in range(0, len(uploads), BATCH):
                count = min(BATCH, len(uploads) - start)
                batch = start + np.arange(BATCH) % count
                ids, caps = np.asarray(uploads[batch], np.int64), most[batch]
                found = self._answers(torch.from_numpy(ids), torch.from_numpy(caps))
                rows[start : start + count] = found[:count].numpy()
        return rows

    def probabilities(self, uploads: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return each block's mean probability over uploads (B, H), float32 (n)."""
        with one_thread(), torch.inference_mode():
            scores = self.scores(self.states(torch.from_numpy(np.asarray(uploads, np.int64))))
            found: NDArray[np.float32] = torch.sigmoid(scores).mean(0).numpy()
        return found

    def _answers(self, uploads: Tensor, most: Tensor) -> Tensor:
        states = self.states(uploads)
        gates = capped(self.scores(states), most)
        weights = [each.written_out().flatten(1) for each in self.mapped(states, gates)]
        sizes = torch.from_numpy(self.backbone.layout.block_sizes)
        left_out = torch.repeat_interleave(gates == 0, sizes, dim=1)
        return torch.cat(weights, 1).masked_fill_(left_out, 0.0)


def capped(scores: Tensor, most: Tensor) -> Tensor:
    """Return gates of 0 or 1 (B, n): the blocks more likely than not, at most so many (B).

    >>> capped(torch.tensor([[2.0, -1.0, 1.0], [3.0, 1.0, 2.0]]), torch.tensor([3, 2])).tolist()
    [[1.0, 0.0, 1.0], [1.0, 0.0, 1.0]]
    """
    place = scores.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return ((scores > 0) & (place < most[:, None])).float()
