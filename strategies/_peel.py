"""PEEL in the cloud: tables of groups of users, and what each block of them is worth.

Notation: `G` groups, `T` targets, `V` items, `D` embedding size, `C` item clusters, `S` slices
of the embedding, `L` window length.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from fedsim.data.base import Streams
from fedsim.models.base import split_layers
from fedsim.scenario import TrainConfig
from fedsim.training.exclusion import Exclude, leave_out, ranks
from fedsim.training.learner import DenseLearner
from fedsim.training.loop import VALIDATION_BATCH, VALIDATION_K, Trainer
from fedsim.training.targets import Targets, items_at, split, windows
from strategies._blocks import Grid, kept_first, nearest_centre

if TYPE_CHECKING:
    from strategies.peel import PeelConfig

BUDGETS = (0.25, 0.5, 0.75, 1.0)
"""Shares of the blocks whose validation accuracies are averaged to choose the epoch."""


class PeelLearner(DenseLearner):
    """A table a group, one backbone for all, and a controller: a logit a group and block.

    Parameters
    ----------
    base
        Pretrained; every table starts as its item table, which stays what users are seen by.
    centres
        The groups' mean users, float32 (G, D).
    order
        Items 0..V-1 in the order of their clusters, int64 (V).
    """

    centres: Tensor
    order: Tensor
    cluster: Tensor

    def __init__(
        self,
        base: DenseLearner,
        grid: Grid,
        centres: NDArray[np.float32],
        order: NDArray[np.int64],
        config: PeelConfig,
        gen: torch.Generator,
    ) -> None:
        super().__init__(base.backbone, grid.items, gen)
        self.load_state_dict(base.state_dict())
        self.items.requires_grad_(False)
        self.grid, self.config = grid, config
        self.tables = nn.Parameter(base.items.detach().repeat(len(centres), 1, 1))
        self.controller = nn.Parameter(torch.zeros(len(centres), grid.blocks))
        cluster = np.zeros(grid.items + 1, np.int64)
        cluster[1 + order] = np.repeat(np.arange(grid.clusters), np.diff(grid.bounds))
        for name, values in {"centres": centres, "order": order, "cluster": cluster}.items():
            self.register_buffer(name, torch.from_numpy(values))

    def groups(self, uploads: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the group of uploads (B, H), int64 (B)."""
        users = user_embeddings(self.items.detach().numpy(), uploads)
        return nearest_centre(users, self.centres.numpy())

    def block_weights(self) -> NDArray[np.float32]:
        """Return the blocks' weights, float32 (G, C S), from 0 to 1."""
        weights: NDArray[np.float32] = self.controller.detach().sigmoid().numpy()
        return weights

    def diversity(self) -> Tensor:
        """Return the mean squared distance of slices of the same items, at unit length.

        With unit vectors b_1 … b_S the sum over pairs is ``S² - ‖Σ b‖²``.
        """
        slices, bounds = self.grid.slices, self.grid.bounds
        if slices == 1:
            return self.tables.new_zeros(())
        table = self.tables[:, 1 + self.order]
        found = []
        for start, stop in pairwise(bounds):
            parts = table[:, start:stop].reshape(len(table), stop - start, slices, -1)
            parts = parts.transpose(1, 2).flatten(2)
            total = F.normalize(parts, dim=2).sum(1).square().sum(1)
            found.append((slices**2 - total) * 2 / (slices * (slices - 1)))
        return torch.stack(found).mean()

    def block_scores(
        self,
        context: Tensor,
        group: Tensor,
        mask: Tensor,
        *,
        dropout: float = 0.0,
        gen: torch.Generator | None = None,
    ) -> Tensor:
        """Return every item's score after a window, from the blocks that are kept.

        Parameters
        ----------
        context, group
            Windows int64 (T, L) and whose table reads them, int64 (T).
        mask
            1 for a block that is kept and 0 for one that is not, float32 (T, C, S).

        Returns
        -------
        Tensor
            float32 (T, V).
        """
        kept = mask.repeat_interleave(self.grid.dim // self.grid.slices, dim=2)
        rows = group[:, None] * (self.grid.items + 1) + context
        embedded = F.embedding(rows, self.tables.flatten(0, 1))
        own = kept[torch.arange(len(context))[:, None], self.cluster[context]]
        embedded = embedded * own * (context != 0)[..., None]
        weights = split_layers(self.backbone.layout, self.flat)
        queries = self.backbone.forward(
            weights, dict(self.small), embedded[:, None], (context == 0)[:, None],
            dropout=dropout, gen=gen,
        )  # fmt: skip
        return self._products(queries * kept, group)[:, self.order.argsort()]

    def _products(self, asked: Tensor, group: Tensor) -> Tensor:
        """Multiply what is asked of each cluster (T, C, D) with the group's items: (T, V)."""
        place = group.argsort(stable=True)
        counts = group.bincount(minlength=len(self.tables)).tolist()
        found = []
        for table, part in zip(self.tables, torch.split(asked[place], counts), strict=True):
            ordered = table[1 + self.order]
            cuts = enumerate(pairwise(self.grid.bounds))
            products = [part[:, c] @ ordered[start:stop].T for c, (start, stop) in cuts]
            found.append(torch.cat(products, 1))
        return torch.cat(found)[place.argsort()]


class Refiner(Trainer):
    """Refines tables on training targets and, after each step, the weights on validation ones.

    The lower level sees random numbers of blocks, chosen by the weights and Gumbel noise; the
    upper one too, and learns by REINFORCE (see `strategies.peel`).
    """

    learner: PeelLearner

    def __init__(
        self,
        learner: PeelLearner,
        streams: Streams,
        config: TrainConfig,
        exclude: Exclude,
        gen: torch.Generator,
    ) -> None:
        super().__init__(learner, streams, config, exclude, gen)
        self.upper = torch.optim.Adam([learner.controller], lr=learner.config.controller_lr)
        self.validation = split(streams)[1]
        edges = np.arange(len(streams))
        ends = np.maximum(streams.lengths - 1, 0)
        known = windows(streams, edges, ends, learner.config.upload)
        self.group = torch.from_numpy(learner.groups(known))

    def step(self, targets: Targets, group: NDArray[np.int64], lr: float) -> float:
        loss = super().step(targets, group, lr)
        if len(self.validation):
            self._weigh()
        return loss

    def loss(self, targets: Targets, group: NDArray[np.int64]) -> Tensor:
        edge, position = targets.edge[group[:, 0]], targets.position[group[:, 0]]
        logits = self.learner.controller.detach()[self.group[edge]]
        mask = first_blocks(block_order(logits, self.gen), self._counts(len(edge)))
        answers = items_at(self.streams, edge, position)
        scores = self._scored(edge, position, mask, answers, self.gen)
        error = F.cross_entropy(scores, torch.from_numpy(answers - 1))
        return error - self.learner.config.diversity * self.learner.diversity()

    @torch.no_grad()
    def validate(self, targets: Targets) -> tuple[float, float]:
        blocks = self.learner.grid.blocks
        found = []
        for share in BUDGETS:
            for start in range(0, len(targets), VALIDATION_BATCH):
                edge = targets.edge[start : start + VALIDATION_BATCH]
                position = targets.position[start : start + VALIDATION_BATCH]
                counts = np.full(len(edge), round(share * blocks))
                kept = kept_first(self.learner.block_weights()[self.group[edge]], counts)
                logits = self._scored(edge, position, torch.from_numpy(kept).float(), None, None)
                if logits.isnan().any():
                    return float("nan"), float("nan")
                answers = items_at(self.streams, edge, position)
                found.append(ranks(logits, torch.from_numpy(answers - 1)))
        if not found:
            return float("nan"), float("nan")
        rank = torch.cat(found).double()
        inside = (rank < VALIDATION_K).double()
        return float((inside / torch.log2(rank + 2)).mean()), float(inside.mean())

    def _weigh(self) -> None:
        """Take a step on the controller alone, on a batch of validation targets."""
        count = min(self.config.batch, len(self.validation))
        drawn = torch.randint(len(self.validation), (count,), generator=self.gen).numpy()
        edge, position = self.validation.edge[drawn], self.validation.position[drawn]
        logits = self.learner.controller[self.group[edge]]
        counts = self._counts(len(edge))
        both = [block_order(logits.detach(), self.gen) for _ in range(2)]
        gains = [self._gain(edge, position, first_blocks(order, counts)) for order in both]
        chances = [chance(logits, order, counts) for order in both]
        loss = -((gains[0] - gains[1]) * (chances[0] - chances[1])).mean()
        self.upper.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.upper.step()

    def _counts(self, targets: int) -> Tensor:
        """Return a random number of blocks for every target, int64 (T, 1)."""
        blocks = self.learner.grid.blocks
        return torch.randint(1, blocks + 1, (targets, 1), generator=self.gen)

    @torch.no_grad()
    def _gain(self, edge: NDArray[np.int64], position: NDArray[np.int64], mask: Tensor) -> Tensor:
        """Return each target's discounted gain at its rank, float32 (T)."""
        answers = items_at(self.streams, edge, position)
        logits = self._scored(edge, position, mask, None, None)
        return 1 / torch.log2(ranks(logits, torch.from_numpy(answers - 1)).float() + 2)

    def _scored(
        self,
        edge: NDArray[np.int64],
        position: NDArray[np.int64],
        mask: Tensor,
        spared: NDArray[np.int64] | None,
        gen: torch.Generator | None,
    ) -> Tensor:
        learner = self.learner
        context = windows(self.streams, edge, position, learner.backbone.window)
        logits = learner.block_scores(
            torch.from_numpy(context),
            self.group[edge],
            mask.view(-1, learner.grid.clusters, learner.grid.slices),
            dropout=self.config.dropout,
            gen=gen,
        )
        if self.exclude != "none":
            last = learner.backbone.window if self.exclude == "window" else None
            leave_out(logits, self.streams, edge, position, last, spared)
        return logits


def block_order(logits: Tensor, gen: torch.Generator) -> Tensor:
    """Return blocks in a random order, those of larger logits sooner, int64 (T, blocks).

    As if drawn one after the other, each with a chance in proportion to the exponential of its
    logit among those left (Plackett-Luce), which is sorting by logits with Gumbel noise.
    """
    noise = torch.empty_like(logits).exponential_(generator=gen).log()
    return (noise - logits).argsort(1)


def first_blocks(order: Tensor, counts: Tensor) -> Tensor:
    """Return masks of the first `counts` (T, 1) blocks of an order: float32 (T, blocks)."""
    return (order.argsort(1) < counts).float()


def chance(logits: Tensor, order: Tensor, counts: Tensor) -> Tensor:
    """Return the logarithm of the chance of the first `counts` (T, 1) of an order, (T)."""
    sorted_logits = logits.gather(1, order)
    left = sorted_logits.flip(1).logcumsumexp(1).flip(1)
    drawn = torch.arange(order.shape[1]) < counts
    return ((sorted_logits - left) * drawn).sum(1)


def user_embeddings(
    items: NDArray[np.float32], uploads: NDArray[np.integer]
) -> NDArray[np.float32]:
    """Return what users are seen as: their items' mean embedding at unit length, (B, D).

    `items` (V + 1, D), `uploads` (B, H) left-padded with 0; zero for an empty upload.
    """
    total = items[uploads].sum(axis=1)
    length = np.sqrt(np.square(total).sum(axis=1, keepdims=True))
    unit: NDArray[np.float32] = total / np.maximum(length, 1e-9)
    return unit
