"""Which figures a report shows, in which order, and how to read each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes

from analysis.accuracy import accuracy
from analysis.bandwidth_ecdf import bandwidth_ecdf
from analysis.bandwidth_map import CELLS, EVEN, bandwidth_map, bandwidth_range
from analysis.controls import controls
from analysis.drift_response import drift_response
from analysis.load import Runs
from analysis.memory import LIMITED, memory, memory_use
from analysis.ood import ood
from analysis.pareto import pareto
from analysis.part_counts import part_counts
from analysis.parts import any_parts, parts
from analysis.sparsity import TITLES, sparse_labels, sparsity
from analysis.storage import storage
from analysis.traffic import traffic


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure of a report: its file's name, how to draw it, its section, how to read it.

    Without a section it is a file alone, and not on the page.
    """

    name: str
    draw: Callable[[Axes], Axes]
    section: str = ""
    caption: str = ""


RANKING, BANDWIDTH = "How well edges are served", "What edges pay"
ANSWERS = "What answers consist of"


def pictures(runs: Runs) -> Iterator[Picture]:
    """Yield the figures that have something to show for these runs."""
    rounds = runs.last_round > 1
    if runs.comparable:
        yield Picture("pareto", lambda ax: pareto(runs, ax=ax), RANKING, _PARETO)
    if rounds:  # the page has a chart of it
        yield Picture("accuracy", lambda ax: accuracy(runs, ax=ax))
    else:
        yield Picture("accuracy", lambda ax: accuracy(runs, ax=ax), RANKING, _ACCURACY)
    if runs.query("select 1 from ledger where round > 0 and drift_true limit 1").size and rounds:
        yield Picture("drift_response", lambda ax: drift_response(runs, ax=ax), RANKING, _DRIFT)
    if runs.query("select 1 from edges where ood limit 1").size:
        yield Picture("ood", lambda ax: ood(runs, ax=ax), RANKING, _OOD)
    if runs.query("select 1 from controls limit 1").size:
        yield Picture("controls", lambda ax: controls(runs, ax=ax), RANKING, _CONTROLS)
    limited = runs.query(f"select 1 from ledger where {LIMITED} limit 1").size
    if limited:
        yield Picture("memory", lambda ax: memory(runs, ax=ax), RANKING, _MEMORY)
    yield Picture("traffic", lambda ax: traffic(runs, ax=ax), BANDWIDTH, _TRAFFIC)
    yield Picture("storage", lambda ax: storage(runs, ax=ax), BANDWIDTH, _STORAGE)
    if limited:
        yield Picture("memory_use", lambda ax: memory_use(runs, ax=ax), BANDWIDTH, _MEMORY_USE)
    yield from _bandwidth(runs)
    if any_parts(runs):
        yield Picture("parts", lambda ax: parts(runs, ax=ax), ANSWERS, _PARTS)
        yield Picture("part_counts", lambda ax: part_counts(runs, ax=ax), ANSWERS, _PART_COUNTS)
    for value in TITLES if sparse_labels(runs) else ():
        draw = partial(_sparsity, runs, value)
        yield Picture(f"sparsity_{value}", draw, ANSWERS, _SPARSITY)


def _bandwidth(runs: Runs) -> Iterator[Picture]:
    """Yield the distribution of bytes; a map of each label whose bytes are uneven, or of one."""
    spread = {label: bandwidth_range(runs, label) for label in runs.labels}
    busy = [label for label in runs.labels if spread[label][1] > 0]
    if busy:
        yield Picture("bandwidth_ecdf", lambda ax: bandwidth_ecdf(runs, ax=ax), BANDWIDTH, _ECDF)
    uneven = [label for label in busy if spread[label][1] > EVEN * spread[label][0]]
    for label in uneven or busy[:1]:
        yield Picture(
            "bandwidth_map_" + re.sub(r"\W+", "_", label).strip("_"),
            partial(_map, runs, label),
            BANDWIDTH,
            _MAP if uneven else _MAP_ALIKE,
        )


def _map(runs: Runs, label: str, ax: Axes) -> Axes:
    return bandwidth_map(runs, label=label, ax=ax)


def _sparsity(runs: Runs, value: str, ax: Axes) -> Axes:
    return sparsity(runs, value=value, ax=ax)


_ACCURACY = "Higher is better; bars are 95 % bootstrap intervals over edges."
_PARETO = (
    "Up and to the left is better. The dashed line joins the strategies that are clearly more "
    "accurate than every cheaper one; bars are 95 % intervals. Item embeddings are not counted."
)
_DRIFT = (
    "Only edges whose interests moved, aligned at the round in which they first did (0): how "
    "deep accuracy falls, and how fast it comes back."
)
_OOD = (
    "OOD (out-of-distribution) edges: their history the cloud never saw, it knows them from "
    "their uploads alone. They are other users: compare how the two kinds differ from strategy "
    "to strategy."
)
_CONTROLS = (
    "The same edges, served with answers that are not their own fresh one. Answers are "
    "personal as far as another edge's serves worse than the own; they go stale as far as the "
    "own serves worse with age (counted in interactions)."
)
_MEMORY = (
    "A point is the edges and rounds that had about so much room for an answer; device classes "
    "are named where they are on average. A line that rises uses the room; one that starts on "
    "the left serves small devices too. Bands: 95 % over edges, for up to four strategies."
)
_MEMORY_USE = (
    "The dashed line is the room itself. What is kept of the provision comes on top of an answer "
    "and does not count against it, so a line may start above."
)
_TRAFFIC = (
    "What an edge has sent and received on average, item embeddings apart. Round 0 is the "
    "provision, given once before the first round."
)
_STORAGE = (
    "What an edge keeps after the last round, item embeddings apart: what all channels share "
    "is kept once, the rest once for each channel."
)
_ECDF = (
    "Read up to a share of edges, then down: so many bytes a round suffice for them. An upright "
    "line: all edges pay alike. The provision is left out."
)
_MAP = (
    f"A row is an edge (or a few, in at most {CELLS} rows), sorted by its total; a column is a "
    "round. Blank: nothing was sent. Each map has a scale of its own; there is none for a "
    "strategy whose edges all pay about the same in every round."
)
_MAP_ALIKE = (
    "A row is an edge, a column is a round. All edges pay about the same in every round, so the "
    "map has one colour; with the other strategies that send anything it is the same."
)
_PARTS = (
    "Parts (the blocks of a network, say) that the cloud chose for an edge, over all edges and "
    "rounds. Where all bars are full or empty, edges hold the same parts."
)
_PART_COUNTS = (
    "One bar for a strategy: its edges all hold as many parts; several: it tells them apart."
)
_SPARSITY = (
    "\u03bb is what the cost of an inference weighs in training; runs of one strategy are joined. "
    "The other two figures tell what the accuracy is bought with."
)
