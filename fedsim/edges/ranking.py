"""Prequential ranking: where each next item stands among what an edge would have shown.

Test, then train: every target of a round is ranked from the items before it, then becomes
history (Gama, Sebastião, Rodrigues: On evaluating stream learning algorithms. Machine
Learning 90, 2013).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from fedsim import rng
from fedsim.errors import PluginError
from fedsim.population import ChannelStreams
from fedsim.scenario import EvaluationConfig
from fedsim.setting import Arrays
from fedsim.strategy import EdgeHalf

WINDOWS = 8
"""Consecutive targets of an edge that share one copy of its weights."""
GROUPS = 64
"""Groups of windows computed at a time, which bounds memory."""


@dataclass(frozen=True, slots=True)
class Targets:
    """The T targets of some edges: `owner` (position in the cell) and `position` (stream)."""

    owner: NDArray[np.int64]
    position: NDArray[np.int64]

    def of(self, edges: NDArray[np.int64]) -> Targets:
        """Return the targets of the edges at these positions, renumbered 0..len(edges)-1."""
        place = np.full(int(max(self.owner.max(initial=-1), edges.max(initial=-1))) + 1, -1)
        place[edges] = np.arange(len(edges))
        owner = place[self.owner]
        return Targets(owner[owner >= 0], self.position[owner >= 0])


def rank_targets(
    half: EdgeHalf,
    channel: int,
    rows: Arrays,
    streams: ChannelStreams,
    targets: Targets,
    edges: NDArray[np.int64],
    config: EvaluationConfig,
    candidates: NDArray[np.int32] | None = None,
) -> NDArray[np.int64]:
    """Return the 0-based rank of every target, int64 (T).

    `rows` are decoded answers, one row an owner or one for all; `edges` maps an owner to its
    position in `streams`; `candidates` (owners, n) restricts the ranking to these items and
    the target. A target that is itself excluded (a repeat, when seen items are left out)
    ranks last; -1 where a score that is ranked is not a number.

    Raises
    ------
    PluginError
        The edge half's scores are of another shape or type than it promises.
    """
    ranks = np.empty(len(targets.owner), np.int64)
    for part, owner, windows, slot in _groups(half, streams, targets, edges):
        own = {name: row if len(row) == 1 else row[owner] for name, row in rows.items()}
        scores = _checked(half, channel, windows, half.scores(channel, own, windows))[slot]
        where, position = edges[targets.owner[part]], targets.position[part]
        wanted = streams.items[streams.offsets[where] + position]
        if candidates is not None:
            scores = _only(scores, candidates[targets.owner[part]], wanted)
        first = _first_excluded(position, config.exclude, half.backbone.window)
        ranks[part] = _ranks(scores, wanted, streams.items, streams.offsets[where], first, position)
    return ranks


def _checked(
    half: EdgeHalf, channel: int, windows: NDArray[np.int32], scores: object
) -> NDArray[np.floating[Any]]:
    """Return scores as they were promised; the compiled ranking checks no bounds."""
    wanted = (*windows.shape[:2], half.setting.channels[channel].num_items + 1)
    if isinstance(scores, torch.Tensor):
        if scores.dtype in (torch.float32, torch.float64) and scores.shape == wanted:
            return scores.detach().numpy()
        given = f"{scores.dtype} {tuple(scores.shape)}".removeprefix("torch.")
    else:
        given = f"a {type(scores).__name__}"
    raise PluginError(
        f"scores() of {type(half).__name__} gave {given}, wanted a tensor of float32 "
        f"(B, K, V + 1) = {wanted}: B edges, K windows each, a score for padding and for each of "
        "the V items; mend scores()"
    )


def sample_candidates(
    seed: int, round: int, edges: NDArray[np.int64], num_items: int, count: int
) -> NDArray[np.int32]:
    """Return `count` items an edge, drawn uniformly with replacement, int32 (B, count)."""
    draws = rng.uniform(seed, "candidates", edges, count, round=round)
    return (1 + draws * num_items).astype(np.int32)


def _groups(
    half: EdgeHalf, streams: ChannelStreams, targets: Targets, edges: NDArray[np.int64]
) -> Iterator[
    tuple[slice, NDArray[np.int64], NDArray[np.int32], tuple[NDArray[np.int64], NDArray[np.int64]]]
]:
    """Yield (targets' slice, owner of each group, windows (G, K, L), (group, slot))."""
    if not len(targets.owner):
        return
    counts = np.bincount(targets.owner)
    width = int(min(WINDOWS, counts.max()))
    starts = np.cumsum(counts) - counts
    within = np.arange(len(targets.owner)) - starts[targets.owner]
    slot, new = within % width, within % width == 0
    group = np.cumsum(new) - 1
    firsts = np.append(np.flatnonzero(new), len(new))
    for begin in range(0, len(firsts) - 1, GROUPS):
        end = min(begin + GROUPS, len(firsts) - 1)
        part = slice(int(firsts[begin]), int(firsts[end]))
        place = (group[part] - begin, slot[part])
        windows = np.zeros((end - begin, width, half.backbone.window), np.int32)
        windows[place] = streams.windows_before(
            edges[targets.owner[part]], targets.position[part], half.backbone.window
        )
        yield part, targets.owner[firsts[begin:end]], windows, place


def _first_excluded(position: NDArray[np.int64], exclude: str, window: int) -> NDArray[np.int64]:
    if exclude == "seen":
        return np.zeros_like(position)
    return np.maximum(position - window, 0) if exclude == "window" else position


def _only(
    scores: NDArray[np.float32], candidates: NDArray[np.int32], wanted: NDArray[np.int32]
) -> NDArray[np.float32]:
    kept = np.full_like(scores, -np.inf)
    row = np.arange(len(scores))
    for column in (candidates, wanted[:, None]):
        np.put_along_axis(kept, column, scores[row[:, None], column], axis=1)
    return kept


@njit(cache=True)
def _ranks(scores, wanted, items, start, first, position):  # type: ignore[no-untyped-def]
    """Count the items above each target; ties other than the target's own count as above.

    Padding and the stream's items ``first..position - 1`` are out of the ranking; scores
    are overwritten. The rank is -1 where a score that is left is not a number.
    """
    ranks = np.empty(len(wanted), np.int64)
    for row in range(len(wanted)):
        line = scores[row]
        line[0] = -np.inf
        for j in range(start[row] + first[row], start[row] + position[row]):
            line[items[j]] = -np.inf
        mine = line[wanted[row]]
        above = below = 0
        for item in range(1, len(line)):
            above += line[item] >= mine
            below += line[item] < mine
        ranks[row] = above - 1 if above + below == len(line) - 1 else -1
    return ranks
