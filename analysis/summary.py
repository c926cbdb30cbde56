"""A report's first words: what was run, and what came out, in numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from analysis.aggregate import EDGES, metric_column
from analysis.costs import costs
from analysis.drift_response import since_drift
from analysis.load import Runs
from analysis.paired import control_accuracy, label_accuracy
from analysis.pareto import accuracy_and_bytes, pareto_front
from analysis.style import bytes_text, rounds_text

ARROW = "\u00a0\u2192\u00a0"


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence or two, and the word they go under."""

    about: str
    text: str


def facts(runs: Runs) -> dict[str, str]:
    """Return what was run, as name and value."""
    scenario = runs.infos[0].scenario
    edges = runs.query("select run, count(*) as n, avg(ood::int) as ood from edges group by run")
    seeds = sorted({info.seed for info in runs.infos})
    found = {
        "Scenario": ", ".join(runs.scenarios),
        "Edges": f"{int(edges['n'].max()):,}",
        "Rounds": f"{runs.last_round:,}",
        "Channels": ", ".join(runs.channels),
        "Data": _name(scenario.get("data")),
        "Backbone": _name(scenario.get("model")),
        "Drift": _name(scenario.get("drift")),
        "Requests": _name(scenario.get("request")),
        "Unseen edges": f"{edges['ood'].mean():.0%}" if edges["ood"].any() else "",
        "Seeds": ", ".join(map(str, seeds)),
    }
    return {name: value for name, value in found.items() if value}


def headline(runs: Runs) -> str:
    """Return the report's title."""
    if len(runs.labels) == 1:
        return f"{runs.labels[0]} on {', '.join(runs.scenarios)}"
    same = "on the same streams" if len(runs.scenarios) == 1 else "on several scenarios"
    return f"{', '.join(runs.scenarios)}: {len(runs.labels)} strategies {same}"


def findings(runs: Runs) -> list[Finding]:
    """Return the main findings; which ones depends on what the runs measured."""
    column, name = metric_column(runs)
    parts = (_accuracy, _bytes, _front, _storage, _personal, _unseen, _drift, _refused)
    return [finding for part in parts for finding in part(runs, column, name)]


def _accuracy(runs: Runs, column: str, name: str) -> Iterator[Finding]:
    measured = label_accuracy(runs, column)
    values = {label: measured.of(label).value for label in runs.labels}
    ranked = [label for label in runs.labels if not math.isnan(values[label])]
    ranked.sort(key=lambda label: -values[label])
    if not ranked:
        return
    text = f"{ranked[0]} reaches {name} {measured.of(ranked[0]).text()} (95 % over edges)"
    if runs.comparable and len(ranked) > 1:
        text = f"{text}, the best of {len(ranked)}"
        gap = measured.difference(ranked[0], ranked[1])
        clear = "" if gap.excludes_zero else ", which is no clear difference"
        text += f"; the next, {ranked[1]}, is {gap.text()} behind{clear}"
        if "static" in ranked[2:]:
            text += f", static {measured.difference(ranked[0], 'static').text()}"
    yield Finding("Accuracy", text + ".")


def _bytes(runs: Runs, column: str, name: str) -> Iterator[Finding]:
    cost = costs(runs)
    sums = {label: row["up_bytes"] + row["down_bytes"] for label, row in cost.items()}
    busy = sorted((label for label in runs.labels if sums[label]), key=sums.__getitem__)
    quiet = [label for label in runs.labels if not sums[label]]
    parts = []
    if busy:
        parts.append(f"An edge exchanges {bytes_text(sums[busy[0]])} a round with {busy[0]}")
        if len(busy) > 1:
            times = sums[busy[-1]] / sums[busy[0]]
            parts[0] += (
                f", {bytes_text(sums[busy[-1]])} with {busy[-1]} ({times:,.3g} times as much)"
            )
    if quiet:
        verb = "sends" if len(quiet) == 1 else "send"
        parts.append(f"{_listed(quiet)} {verb} nothing after the provision")
    yield Finding("Bandwidth", ". ".join(parts) + ".")


def _front(runs: Runs, column: str, name: str) -> Iterator[Finding]:
    if runs.comparable:
        front = pareto_front(accuracy_and_bytes(runs, column))
        if not front:
            return
        span = f"Over {rounds_text(runs.last_round)}, provision included"
        if len(front) == 1:
            yield Finding("Trade-off", f"{span}, {front[0]} is the cheapest and the most accurate.")
        else:
            text = f"{span}, from the cheapest to the most accurate: {_listed(front)}"
            if len(front) < len(runs.labels):
                text += "; every other is beaten in both by one of these"
            yield Finding("Trade-off", text + ".")


def _storage(runs: Runs, column: str, name: str) -> Iterator[Finding]:
    cost = costs(runs)
    ranked = sorted(runs.labels, key=lambda label: cost[label]["stored_bytes"])
    low, high = (cost[label]["stored_bytes"] for label in (ranked[0], ranked[-1]))
    text = f"An edge keeps {bytes_text(low)} with {ranked[0]}"
    if high > 1.005 * low:
        text += f" and {bytes_text(high)} with {ranked[-1]}"
    if len(runs.channels) > 1:
        text += f", for {len(runs.channels)} channels"
    extra = {bytes_text(row["embedding_bytes"]) for row in cost.values()}
    if extra == {"0 B"}:
        yield Finding("Storage", text + ".")
    else:
        amount = extra.pop() if len(extra) == 1 else "a different amount for each strategy"
        yield Finding("Storage", f"{text}. Item embeddings come on top: {amount}.")


def _personal(runs: Runs, column: str, name: str) -> Iterator[Finding]:
    measured = control_accuracy(runs, column)
    losses = {label: measured.loss(label, "other") for label in measured.labels}
    personal = [
        f"{loss.text()} with {label}" for label, loss in losses.items() if loss and loss.low > 0
    ]
    worse = [label for label, loss in losses.items() if loss and loss.high < 0]
    others = [n for n, loss in losses.items() if loss and loss.low <= 0 <= loss.high]
    parts = []
    if personal:
        parts.append(
            "Served with another edge's answer instead of their own, edges lose "
            + _listed(personal)
        )
    if others:
        parts.append(
            f"With {_listed(others)} another edge's answer serves about as well as their own: "
            "no measurable personalisation"
        )
    if worse:
        parts.append(f"With {_listed(worse)} another edge's answer even serves better")
    if parts:
        yield Finding("Personalisation", ". ".join(parts) + ".")


def _unseen(runs: Runs, column: str, name: str) -> Iterator[Finding]:
    if runs.query("select 1 from edges where ood limit 1").empty:
        return
    known, unseen = (label_accuracy(runs, column, EDGES[who]) for who in ("known", "unseen"))
    pairs = {label: (known.of(label).value, unseen.of(label).value) for label in runs.labels}
    shown = _ends(pairs, lambda label: pairs[label][1])
    parts = [f"{label} {pairs[label][0]:.4f}{ARROW}{pairs[label][1]:.4f}" for label in shown]
    yield Finding("Newcomers", f"{name} on known{ARROW}unseen edges: {'; '.join(parts)}.")


def _drift(runs: Runs, column: str, name: str) -> Iterator[Finding]:
    frame = since_drift(runs, column)
    courses = {}
    for label in runs.labels:
        rows = frame[frame["label"] == label].set_index("since")["value"]
        course = (rows.loc[-3:-1].mean(), rows.loc[0:0].mean(), rows.loc[1:].tail(3).mean())
        if all(value == value for value in course):
            courses[label] = course
    if courses:
        shown = _ends(courses, lambda label: courses[label][2])
        parts = [f"{n} {ARROW.join(f'{v:.4f}' for v in courses[n])}" for n in shown]
        last = rounds_text(int(frame["since"].max()))
        yield Finding(
            "Drift",
            f"{name} of the drifting edges before{ARROW}at the drift{ARROW}{last} later: "
            f"{'; '.join(parts)}.",
        )


def _ends(labels: Iterable[str], value: Callable[[str], float]) -> list[str]:
    """Return all labels if they are few, else the best two and the last two, by value."""
    ranked = sorted(labels, key=value, reverse=True)
    return ranked if len(ranked) <= 4 else [*ranked[:2], *ranked[-2:]]


def _refused(runs: Runs, column: str, name: str) -> Iterator[Finding]:
    shares = {label: row["refused"] for label, row in costs(runs).items() if row["refused"] > 0}
    if shares:
        parts = [f"{share:.1%} with {label}" for label, share in shares.items()]
        yield Finding("Budgets", f"Requests that a byte budget could not pay: {_listed(parts)}.")


def _name(section: Any) -> str:
    return str(section.get("name", "")) if isinstance(section, dict) else str(section or "")


def _listed(words: list[str]) -> str:
    """Join words: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
