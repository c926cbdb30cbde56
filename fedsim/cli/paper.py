"""``fedsim paper``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedsim.cli import _common as common

if TYPE_CHECKING:
    from fedsim.papers import PaperRuns


def paper(
    name: Annotated[str, typer.Argument(help="A table that comes with fedsim, or its file.")],
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Runs of each line; the table's own if left out.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="LABEL", help="Only this line; repeatable.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Where its data set is.")] = None,
    jobs: common.JobsOption = None,
    out: common.OutOption = Path("runs"),
    quiet: common.QuietOption = False,
    as_json: common.JsonOption = False,
) -> None:
    """Reproduce a paper's table by its own protocol, and print it beside the paper's figures.

    Means over seeds with bootstrap confidence intervals over users. Finished runs are kept
    and taken as they are when the same command is given again.

    Example:  `fedsim paper ml-100k --seeds 3`
    """
    from fedsim.papers import paper as run_table

    with common.display(quiet, study=True) as display:
        done = run_table(
            name, data=data, seeds=seeds, labels=only, out=out, jobs=jobs, tell=display.note
        )
    runs = [(run, label) for label, found in done.runs.items() for run in found]
    folders, labels = [run.path for run, _ in runs], [label for _, label in runs]
    loaded = common.analysis("load").load(folders, labels)
    rows = _rows(done, loaded)
    pairs = _pairs(done, loaded)
    if as_json:
        common.print_json({"title": done.spec.title, "rows": rows, "pairs": pairs})
        return
    _print(done.spec.title, rows, pairs)


def _rows(done: PaperRuns, loaded: Any) -> list[dict[str, Any]]:
    """Return, line by line, what was measured beside what the paper says and what is wanted."""
    measured = {row["label"]: row for row in common.records(common.analysis("paper").paper(loaded))}
    return [
        {"group": row.group, **measured[row.label], "paper": row.paper, "goal": row.goal}
        for row in done.spec.rows
        if row.label in done.runs
    ]


def _pairs(done: PaperRuns, loaded: Any) -> list[dict[str, Any]]:
    """Return the differences the table asks for, of NDCG, over the same users."""
    column, metric = common.analysis("aggregate").metric_column(loaded, "ndcg")
    accuracy = common.analysis("paired").label_accuracy(loaded, column)
    found = []
    for first, second in done.spec.pairs:
        if first in done.runs and second in done.runs:
            estimate = accuracy.difference(first, second)
            numbers = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
            found.append({"first": first, "second": second, "metric": metric, **numbers})
    return found


def _print(title: str, rows: list[dict[str, Any]], pairs: list[dict[str, Any]]) -> None:
    console = common.out()
    for group in dict.fromkeys(row["group"] for row in rows):
        lines = [_line(row) for row in rows if row["group"] == group]
        metrics = [name for name in rows[0] if f"{name}_low" in rows[0]]
        columns = [part for name in metrics for part in (name, "paper", "wanted")]
        shown = f"{title}: {group}" if group else title
        console.print(common.rich_table(["strategy", "seeds", *columns], lines, shown))
        console.print()
    for pair in pairs:
        value = _interval(pair["value"], pair["low"], pair["high"], sign="+")
        named = f"{pair['first']} - {pair['second']}"
        console.print(f"{named}, {pair['metric']}: {value}", markup=False)
    console.print("Brackets: 95 % bootstrap intervals over users.", style="dim")


def _line(row: dict[str, Any]) -> list[str]:
    cells = [row["label"], str(row["seeds"])]
    for name in [name for name in row if f"{name}_low" in row]:
        key = name.lower().replace("@", "_")
        cells.append(_interval(row[name], row[f"{name}_low"], row[f"{name}_high"]))
        cells += [_figure(row["paper"].get(key)), _figure(row["goal"].get(key))]
    return cells


def _interval(value: float, low: float, high: float, sign: str = "") -> str:
    return f"{value:{sign}.4f} [{low:{sign}.4f}, {high:{sign}.4f}]"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
