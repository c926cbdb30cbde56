"""A masked layer applied to each edge's own inputs, for training; weights never written out.

The same function and the same straight-through gradient as
`fedsim.kernels.straight_through.masked_weights` followed by a batched product, to within
rounding, but only kept weights are multiplied, and the gradient of the weights goes straight
into that of the scores. An edge's layer is worked on while it is in a core's cache.

Notation: `B` edges, `M` inputs of an edge, `n` = rows x columns elements of a layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from fedsim.kernels.select import select
from fedsim.kernels.threads import over_rows

LANES = 8
"""Inputs multiplied at a time, each in a register lane of its own."""
FAST = {"contract", "reassoc", "nsz"}
COUNTS = np.bitwise_count(np.arange(256, dtype=np.uint8)).astype(np.int64)
PLACES = np.argsort(
    1 - np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little"),
    axis=1,
    kind="stable",
).astype(np.int32)
"""For each byte how many bits are set, and which, before those that are not."""


@dataclass(frozen=True, slots=True)
class MaskedMatrix:
    """Weights of one layer for each of B edges, as what selects them.

    `scores` float32 (B, n), `row_weights` float32 (B, rows) or None for all 1, `frozen`
    float32 (rows, columns), `keep` elements of n, times `scale`.
    """

    scores: Tensor
    row_weights: Tensor | None
    frozen: Tensor
    keep: int
    scale: float = 1.0

    def linear(self, values: Tensor) -> Tensor:
        """Return the products of values (B, M, columns) with the kept weights: (B, M, rows).

        Raises
        ------
        DataError
            A score is not a number.
        """
        out: Tensor = _MaskedLinear.apply(  # type: ignore[no-untyped-call]
            values, self.scores, self.row_weights, self.frozen, self.keep, self.scale
        )
        return out


class _MaskedLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        scores: Tensor,
        row_weights: Tensor | None,
        frozen: Tensor,
        keep: int,
        scale: float,
    ) -> Tensor:
        values, scores = values.contiguous(), scores.contiguous()
        weights = frozen.contiguous() * scale
        rows = None if row_weights is None else row_weights.detach().numpy()
        packed = select(scores.detach().numpy(), rows, keep)
        kept = np.empty((len(scores), keep + 8), np.int32)
        out = torch.empty(len(scores), values.shape[1], len(frozen))
        w, x, y = (tensor.detach().numpy() for tensor in (weights, values, out))
        over_rows(lambda a, z: _forward(packed, w, x, kept, y, a, z), len(scores))
        ctx.save_for_backward(values, scores, row_weights, weights)
        ctx.kept = kept[:, :keep]
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        values, scores, row_weights, weights = ctx.saved_tensors
        shape = (len(scores), len(weights))
        rows = torch.ones(shape) if row_weights is None else row_weights
        to_values, to_scores = torch.empty_like(values), torch.empty_like(scores)
        to_rows, kept = torch.empty(shape), ctx.kept
        x, s, r, w, g, dx, ds, dr = (
            tensor.detach().contiguous().numpy()
            for tensor in (values, scores, rows, weights, grad, to_values, to_scores, to_rows)
        )
        over_rows(lambda a, z: _backward(x, s, r, w, g, kept, dx, ds, dr, a, z), len(s))
        given = None if row_weights is None else to_rows
        return to_values, to_scores, given, None, None, None


@njit(cache=True, nogil=True)
def _forward(packed, weights, values, kept, out, start, stop):  # type: ignore[no-untyped-def]
    count, columns = values.shape[1:]
    flat, parts = weights.reshape(-1), -(-count // LANES)
    given = np.zeros((parts, columns, LANES), np.float32)
    found = np.empty((parts, len(weights), LANES), np.float32)
    for b in range(start, stop):
        _unpack(packed[b], kept[b])
        _turn(values[b], given)
        found[:] = 0
        for part in range(parts):
            _to_rows(kept[b, :-8], flat, columns, given[part], found[part])
        _turn_back(found, out[b])


@njit(cache=True, nogil=True)
def _backward(  # type: ignore[no-untyped-def]
    values, scores, rows, weights, grad, kept, to_values, to_scores, to_rows, start, stop
):
    count, columns = values.shape[1:]
    flat, parts = weights.reshape(-1), -(-count // LANES)
    given = np.zeros((parts, len(weights), LANES), np.float32)
    found = np.empty((parts, columns, LANES), np.float32)
    outer = np.empty(columns, np.float32)
    for b in range(start, stop):
        _turn(grad[b], given)
        found[:] = 0
        for part in range(parts):
            _to_columns(kept[b], flat, columns, given[part], found[part])
        _turn_back(found, to_values[b])
        for row in range(len(weights)):
            own = slice(row * columns, (row + 1) * columns)
            _outer(grad[b], row, values[b], outer)
            to_rows[b, row] = _through(
                outer, weights[row], scores[b, own], rows[b, row], to_scores[b, own]
            )


@njit(cache=True)
def _unpack(packed, kept):  # type: ignore[no-untyped-def]
    """Write which bits are set, in order; eight numbers are written for every byte."""
    found = 0
    for i in range(len(packed)):
        byte = packed[i]
        for bit in range(8):
            kept[found + bit] = i * 8 + PLACES[byte, bit]
        found += COUNTS[byte]


@njit(cache=True)
def _turn(values, out):  # type: ignore[no-untyped-def]
    """Write values (M, n) as (parts, n, LANES)."""
    for m in range(len(values)):
        line, into, lane = values[m], out[m // LANES], m % LANES
        for j in range(len(line)):
            into[j, lane] = line[j]


@njit(cache=True)
def _turn_back(values, out):  # type: ignore[no-untyped-def]
    for m in range(len(out)):
        line, source, lane = out[m], values[m // LANES], m % LANES
        for j in range(len(line)):
            line[j] = source[j, lane]


# The lanes are written out one by one, so that the compiler keeps them in one register.


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _to_rows(kept, weights, columns, x, out):  # type: ignore[no-untyped-def]
    """Add each kept weight times its column's inputs to its row's outputs."""
    k = 0
    while k < len(kept):
        row = kept[k] // columns
        end = (row + 1) * columns
        a = b = c = d = e = f = g = h = np.float32(0)
        while k < len(kept) and kept[k] < end:
            w, j = weights[kept[k]], kept[k] - row * columns
            a, b, c, d = a + w * x[j, 0], b + w * x[j, 1], c + w * x[j, 2], d + w * x[j, 3]
            e, f, g, h = e + w * x[j, 4], f + w * x[j, 5], g + w * x[j, 6], h + w * x[j, 7]
            k += 1
        out[row, 0], out[row, 1], out[row, 2], out[row, 3] = a, b, c, d
        out[row, 4], out[row, 5], out[row, 6], out[row, 7] = e, f, g, h


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _to_columns(kept, weights, columns, y, out):  # type: ignore[no-untyped-def]
    """Add each kept weight times its row's gradients to its column's."""
    k = 0
    while k < len(kept):
        row = kept[k] // columns
        end = (row + 1) * columns
        a, b, c, d = y[row, 0], y[row, 1], y[row, 2], y[row, 3]
        e, f, g, h = y[row, 4], y[row, 5], y[row, 6], y[row, 7]
        while k < len(kept) and kept[k] < end:
            w, j = weights[kept[k]], kept[k] - row * columns
            out[j, 0] += w * a
            out[j, 1] += w * b
            out[j, 2] += w * c
            out[j, 3] += w * d
            out[j, 4] += w * e
            out[j, 5] += w * f
            out[j, 6] += w * g
            out[j, 7] += w * h
            k += 1


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _outer(grad, row, values, out):  # type: ignore[no-untyped-def]
    """Write the gradient of one row of weights: the sum of grad[m, row] * values[m]."""
    fours = len(grad) // 4 * 4
    out[:] = 0
    for m in range(0, fours, 4):
        a, b, c, d = grad[m, row], grad[m + 1, row], grad[m + 2, row], grad[m + 3, row]
        x, y, z, w = values[m], values[m + 1], values[m + 2], values[m + 3]
        for j in range(len(out)):
            out[j] += a * x[j] + b * y[j] + c * z[j] + d * w[j]
    for m in range(fours, len(grad)):
        a, x = grad[m, row], values[m]
        for j in range(len(out)):
            out[j] += a * x[j]


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _through(outer, weights, scores, weight, out):  # type: ignore[no-untyped-def]
    """Write the gradient of a row's scores; return that of its row weight."""
    total = np.float32(0)
    for j in range(len(out)):
        each = outer[j] * weights[j]
        each = -each if scores[j] < 0 else each
        out[j] = each * weight
        total += each * scores[j]
    return total
