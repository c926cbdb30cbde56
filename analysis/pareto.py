"""Figure: accuracy against bytes, and which labels no other one beats in both."""

from __future__ import annotations

from itertools import pairwise
from typing import TypeAlias

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.text import Annotation

from analysis.aggregate import cumulative_bytes, metric_column
from analysis.load import Runs, Source, load
from analysis.paired import label_accuracy
from analysis.statistics import Estimate
from analysis.style import byte_axis, ink, look, muted, new_axes, rounds_text, styled

Cost: TypeAlias = tuple[float, Estimate]
Box: TypeAlias = tuple[float, ...]


@styled
def pareto(
    source: Source, *, metric: str = "ndcg", k: int | None = None, ax: Axes | None = None
) -> Axes:
    """Draw accuracy (95 % intervals) against all bytes an edge exchanged, provision included.

    A dashed line joins the labels on the Pareto front: whoever is cheaper is less accurate.
    """
    runs, ax = load(source), new_axes(ax)
    column, name = metric_column(runs, metric, k)
    costs = accuracy_and_bytes(runs, column)
    front = [costs[label] for label in pareto_front(costs)]
    ax.step(
        [cost for cost, _ in front], [each.value for _, each in front],
        where="post", color=muted(), linestyle=(0, (4, 2)), linewidth=0.9, zorder=1,
    )  # fmt: skip
    for index, (cost, estimate) in enumerate(costs.values()):
        style = look(index) | {"linestyle": "", "markersize": 7}
        span = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
        ax.errorbar([cost], [estimate.value], yerr=span, elinewidth=1.1, **style)
    byte_axis(ax.xaxis, [cost for cost, _ in costs.values()])
    ax.margins(x=0.12, y=0.1)
    ax.set(
        xlabel=f"bytes per edge in {rounds_text(runs.last_round)} and provision",
        ylabel=name,
        title=f"Accuracy ({name}) against bytes",
    )
    _name_points(ax, costs)
    return ax


def accuracy_and_bytes(runs: Runs, column: str) -> dict[str, Cost]:
    """Return of every label the bytes per edge over all rounds and the accuracy."""
    measured = label_accuracy(runs, column)
    totals = cumulative_bytes(runs).groupby("label")["bytes"].max()
    return {label: (float(totals[label]), measured.of(label)) for label in runs.labels}


def pareto_front(costs: dict[str, Cost]) -> list[str]:
    """Return the labels that no other one beats, from the cheapest to the most accurate."""
    front: list[str] = []
    best = float("-inf")
    for label in sorted(costs, key=lambda each: (costs[each][0], -costs[each][1].value)):
        if costs[label][1].value > best:
            front.append(label)
            best = costs[label][1].value
    return front


def _name_points(ax: Axes, costs: dict[str, Cost]) -> None:
    """Write each label near its point, where it hides least."""
    ax.figure.canvas.draw()
    frame = ax.get_window_extent()
    taken = _drawn(ax, costs)
    for label, (cost, each) in costs.items():
        tried: list[tuple[float, int, Annotation, Box]] = []
        for dx, dy, ha, va in _PLACES:
            text = ax.annotate(
                label, (cost, each.value), (dx, dy), textcoords="offset points",
                ha=ha, va=va, color=ink(), fontsize=rcParams["legend.fontsize"],
            )  # fmt: skip
            box = tuple(text.get_window_extent().extents)
            outside = box[0] < frame.x0 or box[2] > frame.x1 or box[3] > frame.y1
            hidden = sum(_overlap(box, other) for other in taken)
            far = 6.0 * (abs(dx) + abs(dy))
            tried.append((hidden + far + 1e6 * outside, len(tried), text, box))
        best = min(tried, key=lambda each: each[:2])
        for *_, text, _box in tried:
            if text is not best[2]:
                text.remove()
        taken.append(best[3])


_PLACES = [
    (side * dx, dy, "left" if side > 0 else "right", "center")
    for dx, dys in ((8, (6, -6, 0, 14, -14, 21, -21)), (24, (0, 10, -10, 28, -28)))
    for dy in dys
    for side in (1, -1)
]


def _drawn(ax: Axes, costs: dict[str, Cost]) -> list[Box]:
    """Return where markers, intervals and the front's level parts are, in pixels."""
    at = ax.transData.transform
    boxes: list[Box] = []
    for cost, each in costs.values():
        (x, low), (_, y), (_, high) = at([(cost, v) for v in (each.low, each.value, each.high)])
        boxes += [(x - 9, y - 9, x + 9, y + 9), (x - 2, low, x + 2, high)]
    corners = at([(costs[label][0], costs[label][1].value) for label in pareto_front(costs)])
    for (x, y), (end, _) in pairwise(corners):
        boxes.append((x, y - 2, end, y + 2))
    return boxes


def _overlap(a: Box, b: Box) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(wide, 0.0) * max(high, 0.0)
