"""Figure: what the coefficient λ of a sparsity constraint trades accuracy for."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from analysis.aggregate import metric_column
from analysis.load import RunInfo, Runs, Source, load
from analysis.looks import look, places
from analysis.paired import label_accuracy
from analysis.statistics import Estimate
from analysis.style import legend, new_axes, note, styled
from fedsim.errors import ConfigError, nearest

FLOAT_BITS = 32
"""Bits of a parameter by the papers' accounting."""

TITLES = {
    "accuracy": "Accuracy ({name}) against \u03bb",
    "macs": "MACs of an inference against \u03bb",
    "parameters": "Parameters of an answer against \u03bb",
}


@styled
def sparsity(
    source: Source,
    *,
    value: str = "accuracy",
    metric: str = "ndcg",
    k: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw accuracy (95 % intervals), MACs or parameters of an answer over several runs' λ.

    `value` is ``accuracy``, ``macs`` or ``parameters`` (paper bits of what was answered, by 32
    bits). λ is the option ``strategy.sparsity``; runs of one strategy are joined. As in
    Figure 5 of Forward-OFA (Fu et al., KDD 2025).

    Raises
    ------
    ConfigError
        `value` is none of the three, or the metric was not measured.
    """
    if value not in TITLES:
        raise ConfigError(f"unknown value '{value}'; {nearest(value, TITLES)}")
    runs, ax = load(source), new_axes(ax)
    column, name = metric_column(runs, metric, k)
    titles = {"accuracy": name, "macs": "MACs", "parameters": "parameters"}
    ax.set(xlabel="\u03bb", ylabel=titles[value], title=TITLES[value].format(name=name))
    series = sparse_labels(runs)
    if not series:
        note(ax, "no two runs differ in \u03bb")
        return ax
    measure = _measure(runs, value, column)
    ticks = sorted({each for line in series.values() for each in line.values()})
    for index, (strategy, line) in zip(places(list(series)), series.items(), strict=True):
        each = [measure(label) for label in line]
        spread = [[e.value - e.low for e in each], [e.high - e.value for e in each]]
        at = [ticks.index(lam) for lam in line.values()]
        style = look(index) | {"gid": None}
        ax.errorbar(at, [e.value for e in each], yerr=spread, label=strategy, **style)
    ax.set_xticks(range(len(ticks)), [f"{lam:g}" for lam in ticks])
    ax.margins(x=0.08)
    if value != "accuracy":
        ax.set_ylim(bottom=0)
        ax.yaxis.set_major_formatter(EngFormatter(sep=""))
    legend(ax)
    return ax


def sparse_labels(runs: Runs) -> dict[str, dict[str, float]]:
    """Return for each strategy that ran with two λ or more its labels, by ascending λ."""
    found: dict[tuple[str, str], float] = {}
    for info in runs.infos:
        lam = _lambda(info)
        if lam is not None:
            found[str(info.scenario["strategy"]["name"]), info.label] = lam
    ordered = sorted(found.items(), key=lambda each: (each[0][0], each[1]))
    lines = {
        strategy: {label: lam for (_, label), lam in members}
        for strategy, members in groupby(ordered, key=lambda each: each[0][0])
    }
    return {name: line for name, line in lines.items() if len(set(line.values())) > 1}


def _lambda(info: RunInfo) -> float | None:
    strategy = info.scenario.get("strategy")
    found = strategy.get("sparsity") if isinstance(strategy, dict) else None
    return None if found is None else float(found)


def _measure(runs: Runs, value: str, column: str) -> Callable[[str], Estimate]:
    if value == "accuracy":
        return label_accuracy(runs, column).of
    cost = {
        "macs": "avg(macs)",
        "parameters": f"avg(paper_bits // {FLOAT_BITS}) filter (answered)",
    }[value]
    frame = runs.query(f"""
        with each as (select run, {cost} as value from ledger where round > 0 group by run)
        select label, avg(value) as value from each join runs using (run) group by label
    """)
    values = dict(zip(frame["label"], frame["value"].astype(float), strict=True))
    return lambda label: Estimate(values[label], values[label], values[label])
