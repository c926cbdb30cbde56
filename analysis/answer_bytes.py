"""Figure: accuracy gained over a baseline against the bytes of one answer."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from analysis.aggregate import metric_column
from analysis.axes import ByteFormatter
from analysis.costs import costs
from analysis.load import Source, load
from analysis.looks import look
from analysis.paired import label_accuracy
from analysis.pareto import name_points
from analysis.style import muted, new_axes, styled
from fedsim.errors import ConfigError, nearest

LINEAR = 10
"""Up to so many bytes the axis is linear, so that answers of no bytes have a place."""


@styled
def answer_bytes(
    source: Source,
    *,
    metric: str = "ndcg",
    k: int | None = None,
    baseline: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw accuracy minus that of a baseline against the mean bytes of an answer.

    With 95 % intervals of differences over the same edges. Bytes are those of a record, its
    header included; what is shipped once is not in it, and labels that nobody answers stand
    at 0. The baseline is the first label when unset.

    Raises
    ------
    ConfigError
        No run has the baseline's label.
    """
    runs, ax = load(source), new_axes(ax)
    baseline = runs.labels[0] if baseline is None else baseline
    if baseline not in runs.labels:
        raise ConfigError(f"no run is called '{baseline}'; {nearest(baseline, runs.labels)}")
    column, name = metric_column(runs, metric, k)
    measured, paid = label_accuracy(runs, column), costs(runs)
    points = {
        label: (
            float(np.nan_to_num(paid[label]["answer_bytes"])),
            measured.difference(label, baseline),
        )
        for label in runs.labels
    }
    ax.axhline(0, color=muted(), linewidth=0.8)
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
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:+.3f}"))
    ax.set(
        xlabel="bytes an answer",
        ylabel=f"{name} \u2212 {baseline}",
        title=f"{name} gained over {baseline}",
    )
    name_points(ax, points, [])
    return ax
