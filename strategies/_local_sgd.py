"""Training on the edge: SGD on an edge's own last items, what `fedavg` and `finetune` share.

A cell's edges train side by side, each with weights of its own. Only maskable weights train;
item embeddings, positions and norms stay as the cloud provisioned them, as in the accounting
of Fu et al., DIET (KDD 2024).

Notation: `B` edges, `N` maskable parameters.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from fedsim.cores import one_thread
from fedsim.data.base import Streams
from fedsim.models.base import split_layers
from fedsim.population import ChannelStreams
from fedsim.setting import Arrays
from fedsim.strategy import StrategyConfig
from fedsim.training.exclusion import leave_out
from fedsim.training.targets import items_at, windows
from strategies._dense import DenseEdge

LOGITS = 1 << 22
"""Most logits at a time, which bounds how many edges train side by side."""


class LocalSgdConfig(StrategyConfig):
    """Options of every strategy whose edges train."""

    steps: Annotated[int, Field(ge=1)] = 4
    """SGD steps an edge takes a round."""
    batch: Annotated[int, Field(ge=1)] = 8
    """Targets of a step; an edge trains on its last `steps * batch` items, oldest first."""


class LocalSgdEdge(DenseEdge):
    """Trains the weights it holds on its own items, where the options have an `lr`."""

    def trained(
        self,
        channel: int,
        rows: Arrays,
        streams: ChannelStreams,
        edges: NDArray[np.int64],
        round: int,
    ) -> Arrays:
        """Return the edges' weights (B, N) after SGD; arguments as for `EdgeHalf.update`."""
        own = Streams(streams.items, streams.offsets)
        ends = streams.cuts[edges, round - 1]
        held = np.broadcast_to(rows["weights"], (len(edges), self.backbone.layout.size))
        out = held.astype(np.float32)
        size = max(1, LOGITS // (self.config.batch * len(self.items[channel])))
        with one_thread():
            for start in range(0, len(edges), size):
                part = slice(start, start + size)
                out[part] = self._train(channel, out[part], own, edges[part], ends[part])
        return {"weights": out}

    def examples(self, known: NDArray[np.int64]) -> NDArray[np.float64]:
        most = self.config.steps * self.config.batch
        trained: NDArray[np.float64] = np.minimum(super().examples(known), most)
        return trained

    def _train(
        self,
        channel: int,
        held: NDArray[np.float32],
        streams: Streams,
        edges: NDArray[np.int64],
        ends: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Return the weights (B, N) after SGD on what precedes `ends`, int64 (B)."""
        steps, batch = self.config.steps, self.config.batch
        flat = torch.from_numpy(held)
        for step in range(steps):
            newest = ends - batch * (steps - 1 - step)
            position = newest[:, None] + np.arange(-batch, 0)
            flat = flat.detach().requires_grad_()
            owner = np.repeat(edges[:, None], batch, axis=1)
            loss = self._loss(channel, flat, streams, owner, position)
            (gradient,) = torch.autograd.grad(loss, flat)
            flat = flat - self.config.lr * gradient
        result: NDArray[np.float32] = flat.detach().numpy()
        return result

    def _loss(
        self,
        channel: int,
        flat: Tensor,
        streams: Streams,
        edge: NDArray[np.int64],
        position: NDArray[np.int64],
    ) -> Tensor:
        """Return the sum over edges of their mean cross entropy; a first item is no target."""
        full = position >= 1
        position = np.maximum(position, 1)
        context = torch.from_numpy(windows(streams, edge, position, self.backbone.window))
        queries = self.backbone.forward(
            split_layers(self.backbone.layout, flat),
            self.small[channel],
            self.items[channel][context],
            context == 0,
        )
        edge, position = edge[full], position[full]
        answers = items_at(streams, edge, position)
        logits = queries[torch.from_numpy(full)] @ self.items[channel][1:].T
        exclude = self.setting.scenario.evaluation.exclude
        if exclude != "none":
            last = self.backbone.window if exclude == "window" else None
            leave_out(logits, streams, edge, position, last, answers)
        losses = F.cross_entropy(logits, torch.from_numpy(answers - 1), reduction="none")
        share = (1.0 / np.maximum(full.sum(axis=1, keepdims=True), 1)).astype(np.float32)
        return losses @ torch.from_numpy(np.broadcast_to(share, full.shape)[full])
