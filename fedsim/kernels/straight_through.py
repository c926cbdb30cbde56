"""Masked weights whose gradient passes straight through the selection to the scores.

Forward: the `keep` largest of v = |s x r| keep their frozen weight w, times `scale`.
Backward: the mask is taken for v itself. Selection is by size, so the gradient carries the
sign of s (equation 4 of DIET taken literally, without it, scored lower):

    g = dL/dW * w * scale * sign(s);   dL/ds = g * r;   dL/dr = sum over the row of g * s

A signed mask also flips the kept weight where s is negative; it is then taken for s itself
and the sign is left out of g.

Fu et al.: DIET: Customized Slimming for Incompatible Networks in Sequential
Recommendation. KDD 2024. https://arxiv.org/abs/2406.08804
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from fedsim.kernels.select import all_ones, check_numbers, keep_words, make_work, top_mask, weigh
from fedsim.kernels.threads import over_rows
from fedsim.kernels.words import LANES, ONE


def masked_weights(
    scores: Tensor,
    row_weights: Tensor | None,
    frozen: Tensor,
    keep: int,
    *,
    scale: float = 1.0,
    signed: bool = False,
) -> Tensor:
    """Return each edge's weights of one layer, differentiable in scores and row weights.

    Parameters
    ----------
    scores
        float32 (B, rows * columns).
    row_weights
        Not negative, float32 (B, rows); None means all 1.
    frozen
        float32 (rows, columns).
    keep
        Elements kept in each layer, by `fedsim.kernels.select.select`.
    scale
        Factor on kept weights.
    signed
        Whether a kept weight changes its sign where its score is negative.

    Returns
    -------
    Tensor
        float32 (B, rows, columns).

    Raises
    ------
    DataError
        A score is not a number.
    """
    apply: Callable[..., Tensor] = MaskedWeights.apply
    return apply(scores, row_weights, frozen, keep, scale, signed)


class MaskedWeights(torch.autograd.Function):
    """The function behind `masked_weights`; numba on the CPU, torch elsewhere."""

    @staticmethod
    def forward(
        ctx: Any,
        scores: Tensor,
        row_weights: Tensor | None,
        frozen: Tensor,
        keep: int,
        scale: float,
        signed: bool,
    ) -> Tensor:
        """Select and write the kept weights."""
        scores = scores.contiguous()
        row_weights = None if row_weights is None else row_weights.contiguous()
        frozen = frozen.contiguous()
        ctx.save_for_backward(scores, row_weights, frozen)
        ctx.scale, ctx.signed = scale, signed
        if scores.is_cpu:
            return _forward_cpu(scores, row_weights, frozen, keep, scale, signed)
        kept = frozen.flatten() * scale * top_mask(scores, row_weights, keep)
        if signed:
            kept = kept * sign(scores)
        return kept.view(-1, *frozen.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of scores and row weights."""
        scores, row_weights, frozen = ctx.saved_tensors
        if scores.is_cpu:
            args = (scores, row_weights, frozen, grad.contiguous(), ctx.scale, ctx.signed)
            return (*_backward_cpu(*args), None, None, None, None)
        each = (grad * frozen * ctx.scale).flatten(1)
        if not ctx.signed:
            each = each * sign(scores)
        if row_weights is None:
            return each, None, None, None, None, None
        by_row = (len(scores), *frozen.shape)
        to_scores = (each.view(by_row) * row_weights[..., None]).flatten(1)
        return to_scores, (each * scores).view(by_row).sum(2), None, None, None, None


def sign(values: Tensor) -> Tensor:
    """Return 1 or -1 by the sign bit: a zero counts by its own sign."""
    return torch.copysign(torch.ones_like(values), values)


def _forward_cpu(
    scores: Tensor,
    row_weights: Tensor | None,
    frozen: Tensor,
    keep: int,
    scale: float,
    signed: bool,
) -> Tensor:
    s, w = scores.detach().numpy(), frozen.detach().flatten().numpy() * np.float32(scale)
    r = all_ones(len(s)) if row_weights is None else row_weights.detach().numpy()
    out, bad = torch.empty(len(scores), *frozen.shape), np.full(1, -1, np.int64)
    flat = out.flatten(1).numpy()
    over_rows(lambda a, z: _kept_weights(s, r, w, keep, signed, flat, bad, a, z), len(s))
    check_numbers(bad)
    return out


def _backward_cpu(
    scores: Tensor,
    row_weights: Tensor | None,
    frozen: Tensor,
    grad: Tensor,
    scale: float,
    signed: bool,
) -> tuple[Tensor, Tensor | None]:
    to_scores = torch.empty_like(scores)
    shape = (len(scores), frozen.shape[0])
    rows = torch.ones(shape) if row_weights is None else row_weights
    to_rows = torch.empty(shape)
    s, r, w, g = (tensor.detach().numpy() for tensor in (scores, rows, frozen, grad))
    ds, dr, factor = to_scores.numpy(), to_rows.numpy(), np.float32(scale)
    over_rows(lambda a, z: _gradients(s, r, w, g, factor, signed, ds, dr, a, z), len(scores))
    return to_scores, None if row_weights is None else to_rows


@njit(cache=True, nogil=True)
def _kept_weights(  # type: ignore[no-untyped-def]
    scores, rows, weights, keep, signed, out, bad, start, stop
):
    work, zero = make_work(scores.shape[1]), np.float32(0)
    for b in range(start, stop):
        weigh(scores[b], rows[b], work.size)
        if not keep_words(work, keep):
            bad[0] = b
        for i in range(len(work.words)):
            word, part = work.words[i], weights[i * LANES : (i + 1) * LANES]
            into = out[b, i * LANES : (i + 1) * LANES]
            for j in range(len(part)):
                into[j] = part[j] if (word >> np.uint64(j)) & ONE else zero
        if signed:
            for i in range(out.shape[1]):
                out[b, i] *= np.copysign(np.float32(1), scores[b, i])


@njit(cache=True, nogil=True)
def _gradients(  # type: ignore[no-untyped-def]
    scores, rows, frozen, grad, scale, signed, to_scores, to_rows, start, stop
):
    columns = frozen.shape[1]
    for b in range(start, stop):
        for row in range(frozen.shape[0]):
            total = np.float32(0)
            for j in range(columns):
                s = scores[b, row * columns + j]
                g = grad[b, row, j] * frozen[row, j] * scale
                if not signed:
                    g *= np.copysign(np.float32(1), s)
                to_scores[b, row * columns + j] = g * rows[b, row]
                total += g * s
            to_rows[b, row] = total
