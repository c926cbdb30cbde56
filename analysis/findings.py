"""A report's first words: what came out, in numbers, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from analysis.aggregate import metric_column
from analysis.changes import REACH, Course, newcomers, through_drift
from analysis.costs import costs
from analysis.load import Runs
from analysis.paired import control_accuracy, label_accuracy
from analysis.pareto import standing
from analysis.statistics import Estimate
from analysis.style import bytes_text, rounds_text, seeds_text

ARROW = "\u00a0\u2192\u00a0"

ALIKE = 1.05
"""Bytes that differ by less than this factor are about the same."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence or two, and the word they go under."""

    about: str
    text: str


def findings(runs: Runs) -> list[Finding]:
    """Return the main findings of runs on the same streams, by what they measured."""
    column, name = metric_column(runs)
    parts = (_accuracy, _bytes, _front, _storage, _personal, _unseen, _drift, _refused, _too_large)
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
    yield Finding("Accuracy", text + ".")


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


def _unseen(runs: Runs, column: str, name: str) -> Iterator[Finding]:
    courses = newcomers(runs, column)
    if not courses:
        return
    text = (
        f"{name} on edges whose history the cloud trained on{ARROW}on edges it never saw "
        "(in brackets the difference)"
    )
    text += _shown(courses, lambda course: course.values[1])
    gaps = {course.label: course.gaps[0] for course in courses}
    text += _verdicts(
        ("Clearly lower on unseen edges with", [n for n, gap in gaps.items() if gap.high < 0]),
        ("clearly higher with", [n for n, gap in gaps.items() if gap.low > 0]),
        ("no clear difference with", [n for n, gap in gaps.items() if not gap.excludes_zero]),
    )
    if any(gap.value > 0 for gap in gaps.values()):
        text += (
            " Unseen edges are other users, who need not be harder to predict: compare how the "
            "two groups differ from strategy to strategy."
        )
    yield Finding("Newcomers", text)


def _drift(runs: Runs, column: str, name: str) -> Iterator[Finding]:
    courses = through_drift(runs, column)
    if not courses:
        return
    text = (
        f"{name} of the drifting edges in up to {REACH} rounds before{ARROW}at the "
        f"drift{ARROW}in the last rounds (in brackets the differences from before)"
    )
    text += _shown(courses, lambda course: course.values[2])
    fell = [course for course in courses if course.gaps[0].high < 0]
    low = [course.label for course in fell if course.gaps[1].high < 0]
    text += _verdicts(
        ("Clearly falls and is clearly lower at the end with", low),
        ("falls and comes back with", [each.label for each in fell if each.label not in low]),
        ("no clear fall with", [each.label for each in courses if each not in fell]),
    )
    yield Finding("Drift", text)


def _shown(courses: Sequence[Course], value: Callable[[Course], float]) -> str:
    """Return courses in words, with intervals: all, or the best and the last two by value."""
    ranked = sorted(courses, key=value, reverse=True)
    some = "" if len(ranked) <= 4 else f", for the best two and the last two of {len(ranked)}"
    shown = ranked if len(ranked) <= 4 else [*ranked[:2], *ranked[-2:]]
    return f"{some}: {'; '.join(map(_course, shown))}."


def _course(course: Course) -> str:
    first, *later = (f"{value:.4f}" for value in course.values)
    steps = [
        f"{ARROW}{value} ({gap.text(sign=True)})"
        for value, gap in zip(later, course.gaps, strict=True)
    ]
    return f"{course.label} {first}{''.join(steps)}"


def _verdicts(*pairs: tuple[str, list[str]]) -> str:
    told = "; ".join(f"{words} {listed(labels)}" for words, labels in pairs if labels)
    return f" {told[0].upper()}{told[1:]}."


def _refused(runs: Runs, column: str, name: str) -> Iterator[Finding]:
    yield from _share(runs, "refused", "Budgets", "Requests that a byte budget could not pay")


def _too_large(runs: Runs, column: str, name: str) -> Iterator[Finding]:
    yield from _share(runs, "too_large", "Memory", "Requests whose answer did not fit into memory")


def _share(runs: Runs, cost: str, about: str, words: str) -> Iterator[Finding]:
    shares = {label: row[cost] for label, row in costs(runs).items() if row[cost] > 0}
    if shares:
        parts = [f"{share:.1%} with {label}" for label, share in shares.items()]
        yield Finding(about, f"{words}: {listed(parts)}.")


def listed(words: Sequence[str]) -> str:
    """Join words: ``a``, ``a and b``, ``a, b and c``; ``a, b; c`` where they have commas."""
    if any(", " in word for word in words):
        return "; ".join(words)
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
