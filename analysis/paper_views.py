"""Tables and figures of what a paper's figures show beyond accuracy and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from analysis.axes import round_axis
from analysis.looks import look, places
from analysis.paper_files import Part
from analysis.style import legend, styled
from analysis.table import Table


def curves(title: str, found: Mapping[str, Sequence[Sequence[Mapping[str, float]]]]) -> Part:
    """Return validation NDCG and Hit by epoch, means over seeds.

    `found` gives of every method and seed its epochs; those without validation are left out,
    and a seed that stopped early counts no more.
    """
    rows = []
    for method, every in found.items():
        seeds = [[each for each in seed if each["ndcg"] is not None] for seed in every]
        for epoch in range(max(map(len, seeds), default=0)):
            still = [seed[epoch] for seed in seeds if len(seed) > epoch]
            means = {name: float(np.mean([each[name] for each in still])) for name in _METRICS}
            rows.append({"label": method, "epoch": epoch + 1, "seeds": len(still), **means})
    frame = pd.DataFrame(rows, columns=["label", "epoch", "seeds", *_METRICS])
    best = frame.loc[frame.groupby("label", sort=False)["ndcg"].idxmax()]
    text = pd.DataFrame(
        {
            "method": best["label"],
            "best epoch": best["epoch"],
            **{
                f"validation {name}": best[key].map("{:.4f}".format)
                for key, name in _METRICS.items()
            },
        }
    )
    draws = [partial(_curves, frame, key, name) for key, name in _METRICS.items()]
    return Part(Table("curves", f"{title}: validation while training", frame, text), (), draws)


def rows(title: str, found: Mapping[str, Mapping[str, Sequence[float]]]) -> Part:
    """Return the share of rows that keep an element by layer, means over seeds."""
    shares = {
        method: {layer: float(np.mean(seeds)) for layer, seeds in layers.items()}
        for method, layers in found.items()
    }
    frame = pd.DataFrame(shares).rename_axis("layer").reset_index()
    text = frame.copy()
    for method in shares:
        text[method] = frame[method].map("{:.1%}".format)
    made = Table("rows", f"{title}: rows that keep an element", frame, text)
    return Part(made, (), [partial(_rows, frame)])


def case(title: str, found: Any) -> Part:
    """Return what a user is ranked first by several networks, the next item marked."""
    marked = {
        name: [f"{item} (next)" if item == found.following else item for item in items]
        for name, items in found.first.items()
    }
    frame = pd.DataFrame(marked)
    count = len(frame)
    frame.insert(0, "rank", range(1, count + 1))
    told = [
        f"last items of user {found.user}: {'; '.join(found.window)}",
        f"next item: {found.following}",
        f"last items of user {found.other}, the other: {'; '.join(found.others_window)}",
        f"users whose next item is among the first {count}: "
        + ", ".join(f"{name} {share:.1%}" for name, share in found.hits.items()),
    ]
    return Part(Table("case", f"{title}: one user, three networks", frame, frame), told)


_METRICS = {"ndcg": "NDCG@10", "hit": "Hit@10"}


@styled
def _curves(frame: pd.DataFrame, key: str, name: str, ax: Axes) -> Axes:
    groups = list(frame.groupby("label", sort=False))
    for place, (label, rows) in zip(places([str(name) for name, _ in groups]), groups, strict=True):
        ax.plot(rows["epoch"], rows[key], label=label, **look(place))
    ax.set(xlabel="epoch", ylabel=name, title=f"Validation {name} while training")
    round_axis(ax)
    legend(ax)
    return ax


@styled
def _rows(frame: pd.DataFrame, ax: Axes) -> Axes:
    methods = [column for column in frame.columns if column != "layer"]
    height = 0.8 / max(len(methods), 1)
    for index, (method, place) in enumerate(zip(methods, places(methods), strict=True)):
        shift, style = height * (index - (len(methods) - 1) / 2), look(place)
        ax.barh(
            np.arange(len(frame)) + shift, frame[method], 0.92 * height,
            color=style["color"], gid=style["gid"], label=method,
        )  # fmt: skip
    ax.set_yticks(range(len(frame)), frame["layer"])
    ax.invert_yaxis()
    ax.grid(axis="x")
    ax.grid(visible=False, axis="y")
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(xlabel="rows", title="Rows that keep an element")
    legend(ax)
    return ax
