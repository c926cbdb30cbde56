"""What a cloud would recommend itself: models that read long uploads, and what goes with what.

A ranking adds up what it can tell of every item, with a weight each:

- the logarithm of its chance, a mean over models of one kind, such as `strategies.snack`'s;
- the same of models of another kind, where there are any, such as `strategies.long_diet`'s;
- EASE: how well a linear model without a hidden layer rebuilds it from the upload's items
  (Steck: Embarrassingly Shallow Autoencoders for Sparse Data. WWW 2019, equation 8, on
  history as a binary matrix of users and items);
- how often it followed the upload's items (`strategies.cooccurrence`).

In both tables an uploaded item counts less the older it is. The weights are those of a
conditional logit model (McFadden: Conditional Logit Analysis of Qualitative Choice Behavior.
1974) of the items that validate: the tables are not made of them, and of the models only the
best epoch is chosen on them. None is negative.

Notation: `B` edges, `H` upload length, `V` items, `F` features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_array
from torch import Tensor

from fedsim.cores import one_thread
from fedsim.data.base import Streams
from fedsim.kernels.gru import whole_blocks
from fedsim.setting import Arrays
from fedsim.training.exclusion import Exclude
from fedsim.training.learner import Learner
from fedsim.training.targets import items_at, split, windows
from strategies.cooccurrence import follow_table

LARGEST = 12_000
"""Items of a catalogue at most: its two tables are V by V in float32, 1.2 GB together, and
inverting takes three times V by V in float64 for a while, 3.5 GB."""
JUDGED = 1024
"""At most so many validating items weigh the features."""
BATCH = 256
"""Edges ranked together, which bounds memory."""


class CloudRanking:
    """Ranks a channel's items for uploads, all of it in the cloud.

    Parameters
    ----------
    models
        Trained on the channel's streams, kind by kind; all read uploads of one length.
    streams
        The channel's history.
    exclude
        What the scenario leaves out of the ranking.
    ridge
        EASE's regularisation, the λ added to the diagonal of the Gram matrix.
    reach
        An item counts as following another up to so many interactions later.
    ease_fade, follow_fade
        Weight of an uploaded item relative to the next one's: in EASE, and in what followed.
    """

    def __init__(
        self,
        models: Sequence[Sequence[Learner]],
        streams: Streams,
        exclude: Exclude,
        *,
        ridge: float,
        reach: int,
        ease_fade: float,
        follow_fade: float,
    ) -> None:
        self.models, self.exclude, self.fades = models, exclude, (ease_fade, follow_fade)
        first = models[0][0]
        self.items = len(first.items) - 1
        self.upload, self.window = first.upload_length, first.backbone.window
        known = _without_last(streams)
        with one_thread():
            self.tables = (
                _ease(known, self.items, ridge),
                _dense(follow_table(known, self.items, reach)),
            )
            self.weights = self._weighed(streams)

    def best(self, uploads: NDArray[np.integer], count: int) -> NDArray[np.int64]:
        """Return the best items for uploads (B, H), best first, int64 (B, count).

        A row does not depend on the others; where fewer items are left, the rest is 0.
        """
        parts = [torch.empty(0, count, dtype=torch.int64)]
        ids = np.asarray(uploads, np.int64)
        with one_thread(), torch.inference_mode():
            for start in range(0, len(ids), BATCH):
                part = ids[start : start + BATCH]
                found = self._best(torch.from_numpy(whole_blocks(part)), count)
                parts.append(found[: len(part)])
        return torch.cat(parts).numpy()

    def _best(self, uploads: Tensor, count: int) -> Tensor:
        scores = torch.einsum("f,fbv->bv", self.weights, self._features(uploads))
        scores.masked_fill_(self._left_out(uploads), -torch.inf)
        kept = min(count, scores.shape[1])
        values, items = scores.topk(kept)
        items.masked_fill_(values == -torch.inf, 0)
        return F.pad(items, (0, count - kept))

    def _features(self, uploads: Tensor) -> Tensor:
        """Return what is known of every item after uploads (B, H): float32 (F, B, V + 1)."""
        out = self._left_out(uploads)
        shown = F.pad(uploads, (self.window, 0))[:, None, -self.window :]
        chances = (
            [
                (model(shown, uploads)[:, 0] @ model.items.T)
                .masked_fill(out, -torch.inf)
                .log_softmax(-1)
                for model in kind
            ]
            for kind in self.models
        )
        mean = (torch.stack(kind).logsumexp(0) - math.log(len(kind)) for kind in chances)
        read = (
            self._faded(uploads, fade) @ table
            for fade, table in zip(self.fades, self.tables, strict=True)
        )
        return torch.stack([*mean, *read]).masked_fill(out, 0.0)

    def _left_out(self, uploads: Tensor) -> Tensor:
        """Return what is not ranked after uploads (B, H): bool (B, V + 1)."""
        last = {"none": 0, "window": self.window, "seen": uploads.shape[1]}[self.exclude]
        out = torch.zeros(len(uploads), self.items + 1, dtype=torch.bool)
        out.scatter_(1, uploads[:, max(uploads.shape[1] - last, 0) :], True)
        out[:, 0] = True
        return out

    def _faded(self, uploads: Tensor, fade: float) -> Tensor:
        """Return how much each item counts in uploads (B, H): float32 (B, V + 1)."""
        age = torch.arange(uploads.shape[1] - 1, -1, -1)
        weight = (torch.tensor(fade) ** age).expand(len(uploads), -1)
        counts = torch.zeros(len(uploads), self.items + 1).scatter_add_(1, uploads, weight)
        counts[:, 0] = 0.0
        return counts

    def _weighed(self, streams: Streams) -> Tensor:
        """Return the features' weights, float32 (F); the first chance alone without validation."""
        targets = split(streams)[1]
        count = min(len(targets), JUDGED)
        some = np.arange(count) * len(targets) // max(count, 1)
        edge, position = targets.edge[some], targets.position[some]
        uploads = torch.from_numpy(windows(streams, edge, position, self.upload))
        wanted = torch.from_numpy(items_at(streams, edge, position))
        out = self._left_out(uploads)
        ranked = ~out.gather(1, wanted[:, None])[:, 0]
        if not ranked.any():
            return torch.eye(len(self.models) + len(self.tables))[0]
        with torch.inference_mode():
            parts = [self._features(part) for part in torch.split(uploads[ranked], BATCH)]
        features = torch.cat(parts, dim=1)
        return _logit(features.numpy(), out[ranked].numpy(), wanted[ranked].numpy())


def _logit(
    features: NDArray[np.float32], out: NDArray[np.bool_], wanted: NDArray[np.int64]
) -> Tensor:
    """Return the weights (F) under which the wanted items (T) are likeliest."""
    row = np.arange(len(wanted))
    reached = features[:, row, wanted].mean(axis=1, dtype=np.float64)
    spread = features.std(axis=(1, 2), dtype=np.float64) + 1e-12

    def loss(scaled: NDArray[Any]) -> tuple[float, NDArray[np.float64]]:
        weights = scaled / spread
        # Not by a product of matrices, whose bits could depend on the number of threads.
        scores = sum(w * each for w, each in zip(weights, features, strict=True))
        scores[out] = -np.inf
        top = scores.max(axis=1, keepdims=True)
        chances = np.exp(scores - top)
        total = chances.sum(axis=1, keepdims=True)
        mean = np.einsum("ftv,tv->f", features, chances / total) / len(row)
        value = (top + np.log(total)).mean() - weights @ reached
        return float(value), (mean - reached) / spread

    start = np.zeros(len(features))
    start[0] = spread[0]
    bounds = [(0.0, None)] * len(features)
    exact = {"ftol": 1e-13, "gtol": 1e-9, "maxiter": 1000}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=exact)
    return torch.from_numpy((found.x / spread).astype(np.float32))


def _without_last(streams: Streams) -> Streams:
    """Return streams without the items that validate."""
    keep = np.ones(len(streams.items), np.bool_)
    validated = streams.lengths >= 2
    keep[streams.offsets[1:][validated] - 1] = False
    lengths = streams.lengths - validated
    return Streams(streams.items[keep], np.concatenate([[0], np.cumsum(lengths)]))


def _ease(streams: Streams, num_items: int, ridge: float) -> Tensor:
    """Return EASE's weights, float32 (V + 1, V + 1): row i says what item i speaks for."""
    owner = np.repeat(np.arange(len(streams)), streams.lengths)
    seen = csr_array(
        (np.ones(len(owner)), (owner, streams.items)), shape=(len(streams), num_items + 1)
    )
    seen.data[:] = 1.0  # an item of a user counts once
    gram = torch.from_numpy((seen.T @ seen).toarray())
    gram.diagonal().add_(ridge)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    weights = inverse.div_(-inverse.diagonal().clone()).to(torch.float32)
    return weights.fill_diagonal_(0.0)


def _dense(table: Arrays) -> Tensor:
    """Return a sparse table of `follow_table` as float32 (V + 1, V + 1)."""
    size = len(table["starts"]) - 1
    parts = (table["values"], table["follows"], table["starts"])
    return torch.from_numpy(csr_array(parts, shape=(size, size)).toarray())
