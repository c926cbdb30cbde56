"""Figure: the controls that make a claim of personalisation honest."""

from __future__ import annotations

from matplotlib.axes import Axes

from analysis.aggregate import metric_column
from analysis.load import Source, load
from analysis.looks import look
from analysis.paired import control_accuracy
from analysis.style import legend, new_axes, note, styled


@styled
def controls(
    source: Source, *, metric: str = "ndcg", k: int | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the accuracy of the same edges with answers that are not their own fresh one.

    Own, own but n interactions old, another edge's, the majority's: an answer is personal as
    far as accuracy falls from left to right. 95 % intervals over the sampled edges.
    """
    runs, ax = load(source), new_axes(ax)
    column, name = metric_column(runs, metric, k)
    ax.set(ylabel=name, title=f"Whose answer? ({name})")
    measured = control_accuracy(runs, column)
    kinds = measured.kinds
    if not kinds:
        note(ax, "no controls were measured")
        return ax
    for position, label in enumerate(measured.labels):
        values = {k: measured.of((label, k)) for k in kinds if (label, k) in measured.measured}
        shift = 0.72 * ((position + 0.5) / len(measured.labels) - 0.5)
        style = look(runs.looks[label]) | {"linestyle": "", "markersize": 5.5}
        each = list(values.values())
        ax.errorbar(
            [kinds.index(kind) + shift for kind in values],
            [e.value for e in each],
            yerr=[[e.value - e.low for e in each], [e.high - e.value for e in each]],
            label=label,
            elinewidth=1,
            **style,
        )
    ax.set_xticks(range(len(kinds)), [kind_text(kind) for kind in kinds])
    ax.set_xlim(-0.5, len(kinds) - 0.5)
    ax.set_xticks([place + 0.5 for place in range(len(kinds) - 1)], minor=True)
    ax.tick_params(axis="x", which="minor", length=0)
    ax.grid(axis="x", which="minor")
    legend(ax)
    return ax


def kind_text(kind: str) -> str:
    """Return a kind in words, in two lines."""
    words = {"own": "own,\nfresh", "other": "another\nedge's", "majority": "majority's\n"}
    return words.get(kind, f"own, {kind.removeprefix('lag')}\nold")
