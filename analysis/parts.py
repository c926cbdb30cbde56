"""Figure: which parts of an answer edges hold, such as the blocks of a network."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from analysis.load import Runs, Source, load
from analysis.looks import look
from analysis.style import legend, new_axes, note, styled

HELD = "round > 0 and parts is not null"
"""Rows of the ledger that say which parts of its answer an edge holds."""


@styled
def parts(source: Source, *, ax: Axes | None = None) -> Axes:
    """Draw how often each part of an answer is held, over edges and rounds.

    As in Figure 4 (a) of Forward-OFA (Fu et al., KDD 2025), whose parts are blocks.
    """
    runs, ax = load(source), new_axes(ax)
    ax.set(xlabel="part, from the first block on", title="How often each part is chosen")
    return part_bars(ax, runs, part_shares(runs), "part")


def part_shares(runs: Runs) -> pd.DataFrame:
    """Return label, part (from 1), share of the edges and rounds in which it is held."""
    if not any_parts(runs):
        return pd.DataFrame({"label": [], "part": [], "share": []})
    return runs.query(f"""
        with held as (select label, parts from ledger join runs using (run) where {HELD}),
        places as (select unnest(range(1, (select max(len(parts)) from held) + 1)) as part)
        select label, part, avg(parts[part]::int) as share
        from held, places where part <= len(parts) group by label, part order by label, part
    """)


def any_parts(runs: Runs) -> bool:
    """Tell whether an answer of these runs has parts."""
    return bool(runs.query(f"select 1 from ledger where {HELD} limit 1").size)


def part_bars(ax: Axes, runs: Runs, frame: pd.DataFrame, x: str) -> Axes:
    """Draw shares over whole numbers, the labels' bars side by side."""
    ax.set_ylabel("share of edges")
    labels = [label for label in runs.labels if (frame["label"] == label).any()]
    if not labels:
        note(ax, "no answer has parts")
        return ax
    width = 0.8 / len(labels)
    for place, label in enumerate(labels):
        rows, style = frame[frame["label"] == label], look(runs.looks[label])
        ax.bar(
            rows[x] + width * (place - (len(labels) - 1) / 2),
            rows["share"],
            width=0.92 * width,
            color=style["color"],
            gid=style["gid"],
            label=label,
        )
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set_ylim(bottom=0)
    legend(ax)
    return ax
