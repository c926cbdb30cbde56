"""SASRec straight from packed masks: kept weights are never unpacked for a whole batch.

What an edge does with a diet. Of every row (output unit) the kept weights are spread into
one cache line or two, used for all positions of the edge's windows, and dropped; a row
without a bit costs nothing. The same function as `fedsim.models.sasrec.SASRec.forward`, to
within rounding.

Notation: `B` edges, `K` windows of an edge, `L` window length, `D` embedding size, `N`
maskable parameters.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from fedsim.kernels.threads import over_rows

WORD = 64
"""Columns whose bits are read at a time; D must be a multiple of it."""
FAST = {"contract", "reassoc"}
EPSILON = np.float32(1e-5)


def sasrec_queries(
    packed: NDArray[np.uint8],
    frozen: NDArray[np.float32],
    small: Mapping[str, Tensor],
    items: NDArray[np.float32],
    windows: NDArray[np.int32],
    *,
    heads: int,
    post: bool,
) -> Tensor:
    """Return what SASRec asks for after each window, float32 (B, K, D).

    Parameters
    ----------
    packed
        Masks, uint8 (B, N / 8), or one row for all edges.
    frozen
        The weights behind the masks, float32 (N), scaled as a kept one is used.
    small
        ``positions``, ``norm_gain`` and ``norm_bias`` of SASRec.
    items
        Item embeddings, float32 (V + 1, D), D a multiple of 64.
    windows
        Item ids, int32 (B, K, L), left-padded with 0.
    heads
        Attention heads.
    post
        Whether norms stand after residuals (SASRec's option ``norm``).
    """
    edges, count, _ = windows.shape
    dim = items.shape[1]
    words = np.ascontiguousarray(packed).view(np.uint64).reshape(len(packed), -1, dim, dim // WORD)
    out = torch.empty(edges, count, dim)
    places, gain, bias = (
        small[name].detach().numpy() for name in ("positions", "norm_gain", "norm_bias")
    )
    weights, result = frozen.reshape(-1, dim, dim), out.numpy()

    def run(start: int, stop: int) -> None:
        _forward(
            words, weights, items, windows, places, gain, bias, heads, post, result, start, stop
        )

    over_rows(run, edges)
    return out


@njit(cache=True, nogil=True)
def _forward(  # type: ignore[no-untyped-def]
    words, weights, items, windows, places, gain, bias, heads, post, out, start, stop
):
    count, window = windows.shape[1:]
    dim = items.shape[1]
    blocks = len(weights) // 5
    z = np.empty((count * window, dim), np.float32)
    spare = np.empty(WORD, np.float32), np.empty(dim * dim // WORD, np.uint64)
    work = np.empty((4, count * window, dim), np.float32)
    for b in range(start, stop):
        bits, ids = words[b if len(words) > 1 else 0], windows[b]
        _embed(ids, items, places, z)
        if post:
            _norm(z, gain[0], bias[0], z)
        for block in range(blocks):
            part, norms = slice(block * 5, block * 5 + 5), slice(1 + block * 2, 3 + block * 2)
            last = block == blocks - 1
            _block(
                bits[part], weights[part], ids, heads, post, last, gain[norms], bias[norms],
                z, work, spare,
            )  # fmt: skip
        if post:
            out[b] = z[:count]
        else:
            _norm(z[:count], gain[0], bias[0], out[b])


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _block(  # type: ignore[no-untyped-def]
    bits, weights, ids, heads, post, last, gain, bias, z, work, spare
):
    """Run one block on `z` in place; the last one leaves each window's answer in front."""
    count, window = ids.shape
    # Indexed one by one: numba takes unpacked arrays for strided ones.
    query, key, value, asking = work[0], work[1], work[2], work[3]
    _linear(bits[1], weights[1], z, spare, key)
    _linear(bits[2], weights[2], z, spare, value)
    rows = len(z)
    if last:
        rows = count
        for k in range(count):
            z[k] = z[k * window + window - 1]
    z, asking, query = z[:rows], asking[:rows], query[:rows]
    if post:
        asking[:] = z
    else:
        _norm(z, gain[0], bias[0], asking)
    _linear(bits[0], weights[0], asking, spare, query)
    _attend(query, key, value, ids, heads, asking)
    _norm(asking, gain[0 if post else 1], bias[0 if post else 1], z)
    inner, added = key[:rows], value[:rows]
    _linear(bits[3], weights[3], z, spare, inner)
    for p in range(rows):
        for j in range(z.shape[1]):
            inner[p, j] = max(inner[p, j], np.float32(0))
    _linear(bits[4], weights[4], inner, spare, added)
    for p in range(rows):
        for j in range(z.shape[1]):
            z[p, j] += added[p, j]
    if post:
        _norm(z, gain[1], bias[1], z)


@njit(cache=True)
def _embed(ids, items, places, out):  # type: ignore[no-untyped-def]
    count, window = ids.shape
    scale = np.float32(np.sqrt(items.shape[1]))
    for k in range(count):
        for p in range(window):
            into, item, place = out[k * window + p], items[ids[k, p]], places[p]
            for j in range(len(into)):
                into[j] = item[j] * scale + place[j]


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _linear(bits, weights, x, work, out):  # type: ignore[no-untyped-def]
    """Write ``x @ (kept weights).T`` to `out`; `bits` uint64 (D, D / 64)."""
    kept, live = work
    out[: len(x)] = np.float32(0)
    flat, parts, found = bits.reshape(-1), np.uint64(bits.shape[1]), 0
    for i in range(len(flat)):  # without a branch that could be guessed wrong
        live[found] = i
        found += flat[i] != 0
    for at in live[:found]:
        word, row = flat[at], at // parts
        first = (at - row * parts) * np.uint64(WORD)
        weight = weights[row, first : first + WORD]
        for j in range(WORD):
            on = (word >> np.uint64(j)) & np.uint64(1)
            kept[j] = weight[j] if on else np.float32(0)
        for p in range(len(x)):
            values = x[p, first : first + WORD]
            total = np.float32(0)
            for j in range(WORD):
                total += kept[j] * values[j]
            out[p, row] += total


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _norm(x, gain, bias, out):  # type: ignore[no-untyped-def]
    for p in range(len(x)):
        values, into = x[p], out[p]
        mean = np.float32(0)
        for j in range(len(values)):
            mean += values[j]
        mean /= np.float32(len(values))
        spread = np.float32(0)
        for j in range(len(values)):
            spread += (values[j] - mean) * (values[j] - mean)
        factor = np.float32(1) / np.sqrt(spread / np.float32(len(values)) + EPSILON)
        for j in range(len(values)):
            into[j] = (values[j] - mean) * factor * gain[j] + bias[j]


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _attend(query, key, value, ids, heads, out):  # type: ignore[no-untyped-def]
    """Add to `out` what each asking position takes from those it sees.

    Of every window either all positions ask or only its last.
    """
    count, window = ids.shape
    size = query.shape[1] // heads
    asked = len(query) // count
    scale = np.float32(1 / np.sqrt(size))
    shares = np.empty(window, np.float32)
    for k in range(count):
        for i in range(asked):
            place = window - asked + i
            row = k * asked + i
            for h in range(0, size * heads, size):
                most, total = np.float32(-np.inf), np.float32(0)
                asks = query[row, h : h + size]
                for j in range(place + 1):
                    if ids[k, j] or j == place:
                        has, score = key[k * window + j, h : h + size], np.float32(0)
                        for d in range(size):
                            score += asks[d] * has[d]
                        shares[j] = score * scale
                        most = max(most, shares[j])
                for j in range(place + 1):
                    if ids[k, j] or j == place:
                        shares[j] = np.exp(shares[j] - most)
                        total += shares[j]
                into = out[row, h : h + size]
                for j in range(place + 1):
                    if ids[k, j] or j == place:
                        gives, share = value[k * window + j, h : h + size], shares[j] / total
                        for d in range(size):
                            into[d] += share * gives[d]
