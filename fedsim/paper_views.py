"""What the papers' figures show beyond ledgers: trainings, masks by rows, single users."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from fedsim.engine.run import Run
from fedsim.errors import ConfigError
from fedsim.paper_spec import Line
from fedsim.papers import PaperRuns
from fedsim.probe import compatible, shares_of_rows
from fedsim.server_app import TRAINING

Found = Any
"""What a view finds, JSON-like, for the function of its name in `analysis.paper_views`."""


def look(view: str, done: PaperRuns, lines: Sequence[Line]) -> Found:
    """Return what a view finds of some lines of one data set and backbone."""
    return _VIEWS[view](done, lines)


def _curves(done: PaperRuns, lines: Sequence[Line]) -> Found:
    """Return by method and seed the validation NDCG and Hit of every epoch, phase after phase."""
    return {line.method: [_epochs(run) for run in done.runs[line.label]] for line in lines}


def _epochs(run: Run) -> list[dict[str, float]]:
    trainings = json.loads((run.path / TRAINING).read_text())
    return [epoch for training in trainings for epoch in training["epochs"]]


def _rows(done: PaperRuns, lines: Sequence[Line]) -> Found:
    """Return by method and layer the share of rows that keep an element, by seed."""
    found: dict[str, dict[str, list[float]]] = {}
    for line in lines:
        layers = found.setdefault(line.method, {})
        for run in done.runs[line.label]:
            for name, share in shares_of_rows(run).items():
                layers.setdefault(name, []).append(share)
    return found


def _case(done: PaperRuns, lines: Sequence[Line]) -> Found:
    """Return what the first seed's users are ranked by the two rows of the first pair."""
    if not done.spec.pairs:
        raise ConfigError("the view 'case' needs a pair of rows, as in [['DIET', 'Base']]")
    labels = {line.row.label: line.label for line in lines}
    if missing := [name for name in done.spec.pairs[0] if name not in labels]:
        raise ConfigError(f"the view 'case' needs the rows {missing} too; leave --methods out")
    diet, base = (done.runs[labels[name]][0] for name in done.spec.pairs[0])
    return compatible(base, diet)


_VIEWS: dict[str, Callable[[PaperRuns, Sequence[Line]], Found]] = {
    "curves": _curves,
    "rows": _rows,
    "case": _case,
}
