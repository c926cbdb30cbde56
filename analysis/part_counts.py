"""Figure: how many parts of an answer edges hold, such as blocks of a network."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from analysis.load import Runs, Source, load
from analysis.parts import HELD, any_parts, part_bars
from analysis.style import new_axes, styled


@styled
def part_counts(source: Source, *, ax: Axes | None = None) -> Axes:
    """Draw the share of edges, over rounds, that hold so many parts of an answer.

    As in Figure 4 (b) of Forward-OFA (Fu et al., KDD 2025), whose parts are blocks.
    """
    runs, ax = load(source), new_axes(ax)
    ax.set(xlabel="parts held", title="Edges by number of parts")
    return part_bars(ax, runs, count_shares(runs), "count")


def count_shares(runs: Runs) -> pd.DataFrame:
    """Return label, count (of parts held), share of the edges and rounds."""
    if not any_parts(runs):
        return pd.DataFrame({"label": [], "count": [], "share": []})
    return runs.query(f"""
        with held as (select label, list_sum(parts::int[]) as count
                      from ledger join runs using (run) where {HELD})
        select label, count, count(*) / sum(count(*)) over (partition by label) as share
        from held group by label, count order by label, count
    """)
