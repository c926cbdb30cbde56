"""Figure: how accuracy answers to a drift, edges aligned at their first drift."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from analysis.aggregate import metric_column
from analysis.axes import round_axis
from analysis.load import Runs, Source, load
from analysis.looks import look
from analysis.style import legend, muted, new_axes, note, styled

BEFORE, AFTER = 5, 15
"""At most so many rounds before and after the drift."""


@styled
def drift_response(
    source: Source, *, metric: str = "ndcg", k: int | None = None, ax: Axes | None = None
) -> Axes:
    """Draw accuracy of the drifting edges by rounds since their interests first moved."""
    runs, ax = load(source), new_axes(ax)
    column, name = metric_column(runs, metric, k)
    ax.set(xlabel="rounds since the drift", ylabel=name, title=f"Response to drift ({name})")
    frame = since_drift(runs, column)
    if frame.empty:
        note(ax, "no edge drifts")
        return ax
    ax.axvline(-0.5, color=muted(), linewidth=0.9, linestyle=(0, (4, 2)))
    for label, index in runs.looks.items():
        rows = frame[frame["label"] == label]
        if rows.empty:
            continue
        ax.plot(rows["since"], rows["value"], label=label, **look(index))
    round_axis(ax)
    legend(ax)
    return ax


def since_drift(runs: Runs, column: str) -> pd.DataFrame:
    """Return label, since, value: accuracy by rounds since an edge's first drift."""
    return runs.query(f"""
        with firsts as (select run, edge, min(round) as first from ledger
                        where drift_true and round > 0 group by run, edge),
        sums as (select run, round - first as since, sum({column}) / sum(targets) as value
                 from ledger join firsts using (run, edge)
                 where round > 0 and round - first between {-BEFORE} and {AFTER}
                 group by run, since)
        select label, since, avg(value) as value from sums join runs using (run)
        group by label, since order by label, since
    """)
