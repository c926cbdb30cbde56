"""Figure: accuracy against the bytes of one answer."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from analysis.aggregate import metric_column
from analysis.axes import ByteFormatter
from analysis.costs import costs
from analysis.load import Source, load
from analysis.looks import look
from analysis.paired import label_accuracy
from analysis.pareto import name_points
from analysis.style import new_axes, styled

LINEAR = 10
"""Up to so many bytes the axis is linear, so that answers of no bytes have a place."""


@styled
def answer_bytes(
    source: Source, *, metric: str = "ndcg", k: int | None = None, ax: Axes | None = None
) -> Axes:
    """Draw accuracy (95 % intervals) against the mean bytes of an answer, its header included.

    What is shipped once is not in it; labels that nobody answers stand at 0.
    """
    runs, ax = load(source), new_axes(ax)
    column, name = metric_column(runs, metric, k)
    measured, paid = label_accuracy(runs, column), costs(runs)
    points = {
        label: (float(np.nan_to_num(paid[label]["answer_bytes"])), measured.of(label))
        for label in runs.labels
    }
    for label, (size, each) in points.items():
        style = look(runs.looks[label]) | {"linestyle": "", "markersize": 7}
        span = [[each.value - each.low], [each.high - each.value]]
        ax.errorbar([size], [each.value], yerr=span, elinewidth=1.1, label=label, **style)
    most = max([size for size, _ in points.values()] + [LINEAR])
    ax.set_xscale("symlog", linthresh=LINEAR)
    ax.xaxis.set_major_locator(
        FixedLocator([0, *(10.0**power for power in range(1, int(np.log10(most)) + 2))])
    )
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(ByteFormatter(each=True))
    ax.set_xlim(-LINEAR / 3, 3 * most)
    ax.margins(y=0.1)
    ax.set(xlabel="bytes an answer", ylabel=name, title=f"Accuracy ({name}) by the size of answers")
    name_points(ax, points, [])
    return ax
