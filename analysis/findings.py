"""A report's first words: what came out, in numbers, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.aggregate import metric_column
from analysis.changes import REACH, Course, out_of_distribution, through_drift
from analysis.costs import costs
from analysis.load import Runs
from analysis.paired import control_accuracy, label_accuracy
from analysis.pareto import standing
from analysis.statistics import Estimate
from analysis.style import bytes_text, listed, rounds_text, seeds_text
from analysis.training import unequal

ALIKE = 1.05
"""Bytes that differ by less than this factor are about the same."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence or two, the word they go under, and the numbers behind them, if many."""

    about: str
    text: str
    title: str = ""
    numbers: pd.DataFrame | None = None


def findings(runs: Runs) -> list[Finding]:
    """Return the main findings of runs on the same streams, by what they measured."""
    column, name = metric_column(runs)
    parts = (_accuracy, _bytes, _front, _storage, _personal, _ood, _drift, _refused, _too_large)
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
        text += f", the best of {len(ranked)}; the next, {ranked[1]}, is "
        text += _behind(measured.difference(ranked[0], ranked[1]))
        if "static" in ranked[2:]:
            text += f", static {_behind(measured.difference(ranked[0], 'static'))}"
        if runs.seeds() == 1:
            text += ". This is one seed, which decides little: another may rank them otherwise"
        else:
            text += f". Means over {seeds_text(runs.seeds())}"
    yield Finding("Accuracy", " ".join(filter(None, [text + ".", unequal(runs)])))


def _behind(gap: Estimate) -> str:
    if abs(gap.value) < 0.00005:
        return "level with it"
    clear = "" if gap.excludes_zero else ", which is no clear difference"
    return f"{gap.text()} behind{clear}"


def _bytes(runs: Runs, column: str, name: str) -> Iterator[Finding]:
    cost = costs(runs)
    sums = {label: row["up_bytes"] + row["down_bytes"] for label, row in cost.items()}
    busy = sorted((label for label in runs.labels if sums[label]), key=sums.__getitem__)
    quiet = [label for label in runs.labels if not sums[label]]
    parts = []
    if busy:
        low, high = sums[busy[0]], sums[busy[-1]]
        parts.append(f"An edge exchanges {bytes_text(low)} a round with {busy[0]}")
        if high > ALIKE * low:
            parts[0] += f", {bytes_text(high)} with {busy[-1]} ({high / low:,.3g} times as much)"
        elif len(busy) > 1:
            parts[0] += f", and about as much with {listed(busy[1:])}"
    if quiet:
        verb = "sends" if len(quiet) == 1 else "send"
        parts.append(f"{listed(quiet)} {verb} nothing after the provision")
    yield Finding("Bandwidth", ". ".join(parts) + ".")


def _front(runs: Runs, column: str, name: str) -> Iterator[Finding]:
    found = standing(runs, column)
    if not runs.comparable or not found.front:
        return
    span = f"Over {rounds_text(runs.last_round)}, provision included"
    if len(found.front) > 1:
        text = f"{span}, from the cheapest to the most accurate: {listed(found.front)}"
    elif not found.level:
        text = f"{span}, {found.front[0]} is the cheapest and the most accurate"
    else:
        text = f"{span}, {found.front[0]} is the cheapest, and none is clearly more accurate"
    if found.level:
        text += f". Dearer without a clear gain in accuracy: {listed(found.level)}"
    if found.beaten:
        text += f". Dearer and clearly less accurate than one of these: {listed(found.beaten)}"
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
            "Served with another edge's answer instead of their own, edges lose " + listed(personal)
        )
    if others:
        parts.append(
            f"With {listed(others)} another edge's answer serves about as well as their own: "
            "no measurable personalisation"
        )
    if worse:
        parts.append(f"With {listed(worse)} another edge's answer even serves better")
    if parts:
        yield Finding("Personalisation", ". ".join(parts) + ".")


def _ood(runs: Runs, column: str, name: str) -> Iterator[Finding]:
    courses = out_of_distribution(runs, column)
    if not courses:
        return
    gaps = {course.label: course.gaps[0] for course in courses}
    text = _verdicts(
        len(courses),
        (f"{name} is clearly lower on OOD edges with", [n for n, g in gaps.items() if g.high < 0]),
        (f"{name} is clearly higher on OOD edges with", [n for n, g in gaps.items() if g.low > 0]),
        ("There is no clear difference between OOD and in-distribution edges with",
         [n for n, gap in gaps.items() if not gap.excludes_zero]),
    )  # fmt: skip
    if any(gap.value > 0 for gap in gaps.values()):
        text += " OOD edges are other users, who need not be harder to predict."
    parts = ("in-distribution", "OOD", "difference")
    yield Finding("OOD edges", text, f"{name} on both kinds of edges", _table(courses, parts))


def _drift(runs: Runs, column: str, name: str) -> Iterator[Finding]:
    courses = through_drift(runs, column)
    if not courses:
        return
    fell = [course for course in courses if course.gaps[0].high < 0]
    low = [course.label for course in fell if course.gaps[1].high < 0]
    text = _verdicts(
        len(courses),
        (f"The drifting edges' {name} clearly falls and is clearly lower at the end with", low),
        ("It falls and comes back with" if low else f"The drifting edges' {name} falls and "
         "comes back with", [each.label for each in fell if each.label not in low]),
        ("There is no clear fall with", [each.label for each in courses if each not in fell]),
    )  # fmt: skip
    title = f"{name} in up to {REACH} rounds before the drift, and what changes from there"
    parts = ("before", "at the drift", "in the last rounds")
    yield Finding("Drift", text, title, _table(courses, parts))


def _table(courses: Sequence[Course], columns: Sequence[str]) -> pd.DataFrame:
    """Return values, as many as fill the columns, and the gaps; the highest last value first."""
    rows = []
    for course in sorted(courses, key=lambda each: -each.values[-1]):
        values = course.values[: len(columns) - len(course.gaps)]
        gaps = [gap.text(sign=True) for gap in course.gaps]
        rows.append([course.label, *(f"{value:.4f}" for value in values), *gaps])
    return pd.DataFrame(rows, columns=["strategy", *columns])


def _verdicts(count: int, *pairs: tuple[str, list[str]]) -> str:
    """Return a sentence for every verdict that somebody of so many got."""
    told = []
    for words, labels in pairs:
        whole = f"{'any of the' if ' no ' in words else 'all'} {count} strategies"
        who = whole if len(labels) == count > 2 else listed(labels)
        told += [f"{words} {who}"] if labels else []
    return f"{'. '.join(told)}."


def _refused(runs: Runs, column: str, name: str) -> Iterator[Finding]:
    yield from _share(runs, "refused", "Budgets", "Requests that a byte budget could not pay")


def _too_large(runs: Runs, column: str, name: str) -> Iterator[Finding]:
    yield from _share(runs, "too_large", "Memory", "Requests whose answer did not fit into memory")


def _share(runs: Runs, cost: str, about: str, words: str) -> Iterator[Finding]:
    shares = {label: row[cost] for label, row in costs(runs).items() if row[cost] > 0}
    if shares:
        parts = [f"{share:.1%} with {label}" for label, share in shares.items()]
        yield Finding(about, f"{words}: {listed(parts)}.")
