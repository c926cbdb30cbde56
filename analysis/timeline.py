"""The long time series of a report, as plain lists for the interactive charts."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.aggregate import EDGES, drift_share, metric_column, per_round
from analysis.load import Runs

POINTS = 1000
"""At most so many points a series, fewer where there are many series."""

BUDGET = 60_000
"""At most so many points in all."""


def timeline(runs: Runs) -> dict[str, Any]:
    """Return labels, metrics, groups of edges or channels, rounds and drift.

    ``groups[i]["rounds"]`` are the rounds and ``groups[i]["series"][label][metric]`` the
    values: accuracies, and traffic in bytes per edge and round.
    """
    wheres = {"all edges": "true"}
    if runs.query("select 1 from edges where ood limit 1").size:
        wheres |= {"in-distribution edges": EDGES["known"], "OOD edges": EDGES["unseen"]}
    if len(runs.channels) > 1:
        wheres |= {f"channel {name}": f"channel = {i}" for i, name in enumerate(runs.channels)}
    metrics = [metric_column(runs, metric) for metric in ("ndcg", "hit", "mrr")]
    points = min(POINTS, max(50, BUDGET // (len(wheres) * len(runs.labels) * 4)))
    drift = drift_share(runs)
    return {
        "labels": list(runs.labels),
        "metrics": [name for _, name in metrics],
        "groups": [_group(runs, name, where, metrics, points) for name, where in wheres.items()],
        "drift": [[int(r), round(float(s), 3)] for r, s in drift.to_numpy().tolist()],
    }


def _group(
    runs: Runs, name: str, where: str, metrics: list[tuple[str, str]], points: int
) -> dict[str, Any]:
    frames = {text: per_round(runs, column, where, points) for column, text in metrics}
    first = next(iter(frames.values()))
    rounds = sorted(first["round"].unique())
    series: dict[str, dict[str, list[float | None]]] = {label: {} for label in runs.labels}
    for label in runs.labels:
        for text, frame in frames.items():
            series[label][text] = _values(frame, label, "value", rounds)
        series[label]["bytes"] = _values(first, label, "bytes", rounds)
    return {"name": name, "rounds": [round(float(r), 1) for r in rounds], "series": series}


def _values(
    frame: pd.DataFrame, label: str, column: str, rounds: list[float]
) -> list[float | None]:
    rows = frame[frame["label"] == label].set_index("round")[column].reindex(rounds)
    return [None if value != value else float(f"{value:.5g}") for value in rows.to_numpy()]
