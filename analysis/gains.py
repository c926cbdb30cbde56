"""How accuracy gained over a baseline is drawn against bytes of one kind or another."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from analysis.aggregate import metric_column
from analysis.axes import ByteFormatter
from analysis.load import Runs
from analysis.looks import look
from analysis.paired import label_accuracy
from analysis.pareto import name_points
from analysis.style import muted
from fedsim.errors import ConfigError, nearest

LINEAR = 10
"""Up to so many bytes the axis is linear, so that no bytes have a place."""


def draw_gains(
    runs: Runs,
    sizes: Mapping[str, float],
    paid: str,
    ax: Axes,
    *,
    metric: str,
    k: int | None,
    baseline: str | None,
) -> Axes:
    """Draw each label's accuracy minus the baseline's at its bytes, which `paid` names.

    With 95 % intervals of differences over the same edges. The baseline is the first label when
    unset.

    Raises
    ------
    ConfigError
        No run has the baseline's label.
    """
    baseline = runs.labels[0] if baseline is None else baseline
    if baseline not in runs.labels:
        raise ConfigError(f"no run is called '{baseline}'; {nearest(baseline, runs.labels)}")
    column, name = metric_column(runs, metric, k)
    measured = label_accuracy(runs, column)
    points = {label: (sizes[label], measured.difference(label, baseline)) for label in runs.labels}
    ax.axhline(0, color=muted(), linewidth=0.8)
    for label, (size, each) in points.items():
        style = look(runs.looks[label]) | {"linestyle": "", "markersize": 7}
        span = [[each.value - each.low], [each.high - each.value]]
        ax.errorbar([size], [each.value], yerr=span, elinewidth=1.1, label=label, **style)
    _set_bytes_axis(ax, list(sizes.values()))
    ax.margins(y=0.1)
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:+.3f}"))
    ax.set(
        xlabel=paid,
        ylabel=f"{name} \u2212 {baseline}",
        title=f"{name} gained over {baseline}",
    )
    name_points(ax, points, [])
    return ax


def _set_bytes_axis(ax: Axes, sizes: list[float]) -> None:
    """Begin at 0 where something costs nothing or little, else below the smallest."""
    least, most = min(sizes), max([*sizes, LINEAR])
    ax.set_xscale("symlog", linthresh=LINEAR)
    ax.xaxis.set_major_locator(
        FixedLocator([0, *(10.0**power for power in range(1, int(np.log10(most)) + 2))])
    )
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(ByteFormatter(each=True))
    ax.set_xlim(-LINEAR / 3 if least < LINEAR else least / 3, 3 * most)
