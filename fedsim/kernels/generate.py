"""From uploads to packed masks: extractors, hypernetworks and selection in one pass.

The inference-only path behind an answer of DIET. Scores of a layer are made for a block of
edges small enough to stay in a core's cache, and selected from at once; bias and row
weight join in the pass that reads them. Blocks of edges are spread over threads. A row of
a matrix product is rounded the same whatever block it stands in (see `whole_blocks`), so
an edge's mask depends neither on the other edges nor on the number of threads.

Notation: `B` edges, `H` upload length, `D` size of a state, `n` elements of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from fedsim.kernels.gru import Gru, last_states, whole_blocks
from fedsim.kernels.select import all_ones, check_numbers, keep_words, make_work
from fedsim.kernels.threads import over_blocks

BLOCK = 128
"""Edges scored at a time: their scores of one layer take 2 MiB."""
BATCH = 256
"""Edges whose extractors run together."""


@dataclass(frozen=True, slots=True)
class Head:
    """One layer's hypernetworks: s = g M + b and, unless None, r = softmax(g R + c).

    `map` (D, n), `bias` (n), `row_map` (D, rows), `row_bias` (rows); `keep` elements of the
    layer are kept.
    """

    keep: int
    map: Tensor
    bias: Tensor
    row_map: Tensor | None = None
    row_bias: Tensor | None = None


def generate_masks(
    gru: Gru, heads: Sequence[Head], items: Tensor, uploads: NDArray[np.integer]
) -> NDArray[np.uint8]:
    """Return the packed masks that answer uploads, uint8 (B, N / 8 rounded up).

    Parameters
    ----------
    gru
        One extractor a layer.
    heads
        One a layer; layers but the last hold a multiple of 8 elements.
    items
        Item embeddings as the extractors read them, float32 (V + 1, D).
    uploads
        Item ids (B, H), left-padded with 0.

    Raises
    ------
    DataError
        A generated score is not a number.
    """
    return masks_of(heads, lambda part: last_states(gru, items, uploads[part]), len(uploads))


def masks_of(
    heads: Sequence[Head], states: Callable[[slice], Tensor], edges: int
) -> NDArray[np.uint8]:
    """Return packed masks where ``states(part)`` gives the states (layers, rows, D) of a part.

    `states` is called from several threads, with at most `BATCH` edges at a time.
    """
    sizes = [-(-head.map.shape[1] // 8) for head in heads]
    packed = np.empty((edges, sum(sizes)), np.uint8)
    starts = np.cumsum([0, *sizes])

    @torch.inference_mode()
    def answer(start: int, stop: int) -> None:
        space = torch.empty(BLOCK * max(head.map.shape[1] for head in heads))
        for head, state, first, last in zip(
            heads, states(slice(start, stop)), starts[:-1], starts[1:], strict=True
        ):
            for at in range(start, stop, BLOCK):
                block = slice(at, min(at + BLOCK, stop))
                part = state[at - start : block.stop - start]
                _select_block(head, part, packed[block, first:last], space)

    over_blocks(answer, edges, BATCH)
    return packed


def _select_block(head: Head, state: Tensor, packed: NDArray[np.uint8], space: Tensor) -> None:
    state = torch.from_numpy(whole_blocks(state.numpy()))
    count, size = len(state), head.map.shape[1]
    scores = torch.mm(state, head.map, out=space[: count * size].view(count, size))
    rows, bad = all_ones(count), np.full(1, -1, np.int64)
    if head.row_map is not None and head.row_bias is not None:
        rows = torch.addmm(head.row_bias, state, head.row_map).softmax(-1).numpy()
    _select_biased(scores.numpy(), head.bias.numpy(), rows, head.keep, packed, bad)
    check_numbers(bad)


@njit(cache=True, nogil=True)
def _select_biased(scores, bias, weights, keep, packed, bad):  # type: ignore[no-untyped-def]
    work = make_work(scores.shape[1])
    columns = scores.shape[1] // weights.shape[1]
    for b in range(len(packed)):
        for row in range(weights.shape[1]):
            first = row * columns
            part, add = scores[b, first : first + columns], bias[first : first + columns]
            into, weight = work.size[first : first + columns], weights[b, row]
            for j in range(len(part)):
                into[j] = abs((part[j] + add[j]) * weight)
        if keep_words(work, keep):
            packed[b] = work.words.view(np.uint8)[: packed.shape[1]]
        else:
            bad[0] = b
