"""Figure: accuracy against bytes, and which labels no other one beats in both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text
from matplotlib.transforms import BboxBase

from analysis.aggregate import cumulative_bytes, metric_column
from analysis.axes import byte_axis
from analysis.load import Runs, Source, load
from analysis.looks import look
from analysis.paired import label_accuracy
from analysis.statistics import Estimate
from analysis.style import ink, legend, muted, new_axes, rounds_text, styled

NAMED, LONG = 16, 24
"""More labels than this, or one of more letters, stand in a legend and not at their points."""

Cost: TypeAlias = tuple[float, Estimate]
Box: TypeAlias = tuple[float, ...]


@styled
def pareto(
    source: Source, *, metric: str = "ndcg", k: int | None = None, ax: Axes | None = None
) -> Axes:
    """Draw accuracy (95 % intervals) against all bytes an edge exchanged, provision included.

    A dashed line joins the labels on the Pareto front: whoever is cheaper is clearly less
    accurate.
    """
    runs, ax = load(source), new_axes(ax)
    column, name = metric_column(runs, metric, k)
    costs = accuracy_and_bytes(runs, column)
    front = [costs[label] for label in standing(runs, column).front]
    ax.step(
        [cost for cost, _ in front], [each.value for _, each in front],
        where="post", color=muted(), linestyle=(0, (4, 2)), linewidth=0.9, zorder=1,
    )  # fmt: skip
    for label, (cost, estimate) in costs.items():
        style = look(runs.looks[label]) | {"linestyle": "", "markersize": 7}
        span = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
        ax.errorbar([cost], [estimate.value], yerr=span, elinewidth=1.1, label=label, **style)
    byte_axis(ax.xaxis, [cost for cost, _ in costs.values()])
    ax.margins(x=0.12, y=0.1)
    ax.set(
        xlabel=f"bytes per edge in {rounds_text(runs.last_round)} and provision",
        ylabel=name,
        title=f"Accuracy ({name}) against bytes",
    )
    if len(costs) > NAMED or max(map(len, costs)) > LONG:
        legend(ax)
    else:
        name_points(ax, costs, front)
    return ax


def accuracy_and_bytes(runs: Runs, column: str) -> dict[str, Cost]:
    """Return of every label the bytes per edge over all rounds and the accuracy."""
    measured = label_accuracy(runs, column)
    totals = cumulative_bytes(runs).groupby("label")["bytes"].max()
    return {label: (float(totals[label]), measured.of(label)) for label in runs.labels}


@dataclass(frozen=True, slots=True)
class Standing:
    """Who is worth its bytes: every measured label is in one of three, the cheapest first."""

    front: list[str] = field(default_factory=list)
    """Clearly more accurate than whoever is cheaper; the cheapest is always one."""
    level: list[str] = field(default_factory=list)
    """Dearer than one of the front, and not clearly more or less accurate."""
    beaten: list[str] = field(default_factory=list)
    """Dearer than one of the front, and clearly less accurate."""


def standing(runs: Runs, column: str) -> Standing:
    """Return which labels are on the Pareto front; differences of no clear sign are ties."""
    costs = accuracy_and_bytes(runs, column)
    return stand(costs, label_accuracy(runs, column).difference)


def stand(costs: Mapping[str, Cost], difference: Callable[[str, str], Estimate]) -> Standing:
    """Sort labels by their costs and the difference in accuracy of any two of them."""
    made = Standing()
    measured = (label for label in costs if costs[label][1].value == costs[label][1].value)
    for label in sorted(measured, key=lambda each: (costs[each][0], -costs[each][1].value)):
        gaps = [difference(label, cheaper) for cheaper in made.front]
        if all(gap.low > 0 for gap in gaps):
            made.front.append(label)
        elif any(gap.high < 0 for gap in gaps):
            made.beaten.append(label)
        else:
            made.level.append(label)
    return made


def name_points(ax: Axes, costs: Mapping[str, Cost], front: Sequence[Cost]) -> None:
    """Write each label near its point, where it hides least; a thin line leads to far ones."""
    ax.figure.canvas.draw()
    frame, taken = ax.get_window_extent(), _drawn(ax, costs, front)
    for label, (cost, each) in costs.items():
        text = ax.annotate(
            label, (cost, each.value), (8, 0), textcoords="offset points", va="center",
            color=ink(), fontsize=rcParams["legend.fontsize"], linespacing=1.0,
            arrowprops={"arrowstyle": "-", "color": muted(), "linewidth": 0.6, "shrinkB": 4,
                        "shrinkA": 0, "relpos": (0.5, 0.5)},
        )  # fmt: skip
        text.get_window_extent()
        tried = [(_hidden(text, place, frame, taken), place) for place in _PLACES]
        _, place = min(tried, key=lambda each: each[0])
        taken.append(_moved(text, place))
        if text.arrow_patch and abs(place[0]) + abs(place[1]) < LEADER:
            text.arrow_patch.set_visible(False)


Place: TypeAlias = tuple[int, int]

BESIDE = 15
"""Points up to which nothing stands between a label and its point."""

LEADER = 26
"""Points between a label and its point from which on a line leads there."""

_PLACES: list[Place] = [
    (side * dx, dy) for dx in (8, 24, 44) for dy in range(-63, 64, 7) for side in (1, -1)
]


def _moved(text: Annotation, place: Place) -> Box:
    """Move a label so far from its point, in points; return where it then is, in pixels."""
    text.set_position(place)
    text.set_horizontalalignment("left" if place[0] > 0 else "right")
    return tuple(Text.get_window_extent(text).extents)


def _hidden(text: Annotation, place: Place, frame: BboxBase, taken: Sequence[Box]) -> float:
    """Return how bad a place is: what the label would hide or leave, and how far it is."""
    box = _moved(text, place)
    outside = box[0] < frame.x0 or box[2] > frame.x1 or box[3] > frame.y1 or box[1] < frame.y0
    hidden = [_overlap(box, other) for other in taken]
    far = abs(place[0]) + abs(place[1])
    crossed = _crossed(text, box, taken) if far > BESIDE else 0
    clashes = sum(map(bool, hidden)) + crossed
    return 20.0 * sum(hidden) + 200.0 * clashes + far + 1e6 * outside


def _crossed(text: Annotation, box: Box, taken: Sequence[Box]) -> int:
    """Return how many other things the line from a label to its point crosses."""
    (x, y), (a, b) = text.axes.transData.transform(text.xy), _middle(box)  # type: ignore[union-attr]
    path = [(x + (a - x) * step / 12, y + (b - y) * step / 12) for step in range(3, 12)]
    return sum(
        any(left < u < right and low < v < high for u, v in path)
        for left, low, right, high in taken
    )


def _middle(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _drawn(ax: Axes, costs: Mapping[str, Cost], front: Sequence[Cost]) -> list[Box]:
    """Return where markers, intervals and the front are, in pixels."""
    at = ax.transData.transform
    boxes: list[Box] = []
    for cost, each in costs.values():
        (x, low), (_, y), (_, high) = at([(cost, v) for v in (each.low, each.value, each.high)])
        boxes += [(x - 9, y - 9, x + 9, y + 9), (x - 3, low, x + 3, high)]
    corners = at([(cost, each.value) for cost, each in front])
    for (x, y), (end, top) in pairwise(corners):
        boxes += [(x, y - 2, end, y + 2), (end - 2, y, end + 2, top)]
    return boxes


def _overlap(a: Box, b: Box) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(wide, 0.0) * max(high, 0.0)
