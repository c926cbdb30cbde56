"""``fedsim paper``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from fedsim.cli import _common as common
from fedsim.cli._tuning import show_tuning

if TYPE_CHECKING:
    from fedsim.paper_spec import Line
    from fedsim.papers import PaperRuns

Record = dict[str, Any]
T = TypeVar("T")


def paper(
    name: Annotated[str, typer.Argument(help="A table that comes with fedsim, or its file.")],
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=PATH]",
            help="Only this data set of the table, and where it is; repeatable. All that are "
            "there if left out. Of a table with one data set: its path.",
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Runs of each line; the table's own if left out.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(metavar="A,B", help="Backbones; the table's own if left out.")
    ] = None,
    methods: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Only the rows of these labels.")
    ] = None,
    tune: Annotated[
        bool,
        typer.Option("--tune", help="Choose hyperparameters by the table's trials instead."),
    ] = False,
    jobs: common.JobsOption = None,
    ray_address: common.RayAddressOption = None,
    out: common.OutOption = Path("runs"),
    quiet: common.QuietOption = False,
    as_json: common.JsonOption = False,
) -> None:
    """Reproduce a paper's table by its own protocol, and print it beside the paper's figures.

    Means over seeds with bootstrap confidence intervals over users. Finished runs are kept
    and taken as they are when the same command is given again. The table is also written as
    JSON, Markdown, LaTeX and a figure into the folder of its runs, `OUT/paper/NAME`.

    With --tune, every row tries the settings of the table's [tuning] on validation instead,
    the test held out, and what is best is written to be put beside the table.

    Example:  `fedsim paper table3 --backbone sasrec --methods Base,DIET --seeds 1`
    """
    if tune and seeds is not None:
        raise typer.BadParameter("with --tune, [tuning] says how many", param_hint="--seeds")
    chosen: dict[str, Any] = {
        "data": data,
        "backbones": common.names(backbone),
        "methods": common.names(methods),
        "out": out,
        "jobs": jobs,
        "ray_address": ray_address,
    }
    if tune:
        show_tuning(name, chosen, quiet=quiet, as_json=as_json)
        return
    from fedsim.papers import paper as run_table

    with common.display(quiet, study=True) as display:
        done = run_table(name, seeds=seeds, tell=display.note, **chosen)
    _tell(done, as_json)


def _tell(done: PaperRuns, as_json: bool) -> None:
    """Write a table into the folder of its runs, and print it."""
    parts, record = _counted(done) if done.spec.kind == "statistics" else _ranked(done)
    head = {"title": done.spec.title, "tuning": _tuning(done)}
    record = {**head, **record, "missing": done.missing}
    rules = common.analysis("paper").NOTE if done.lines else ""
    missing = f"Not there: {', '.join(done.missing)}." if done.missing else ""
    notes = [note for note in (rules, done.spec.tuning.note, done.tuned, missing) if note]
    write = common.analysis("paper_files").write_paper
    files = write(done.folder, done.name, done.spec.title, parts, notes, record)
    if as_json:
        common.print_json(record)
        return
    common.out().print(done.spec.title, style="bold", markup=False)
    for part in parts:
        typer.echo()
        common.show(part.table)
        for text in part.told:
            typer.echo(f"- {text}")
    typer.echo()
    common.out().print("\n".join(notes), style="dim", markup=False)
    typer.echo(f"written to {done.folder}: {', '.join(file.name for file in files)}")
    if done.lines:
        typer.echo(f"its runs are kept there too; their figures: fedsim report {done.folder}")


def _tuning(done: PaperRuns) -> Record:
    """Return how hyperparameters were chosen, and which."""
    chosen = {line.label: dict(line.tuned) for line in done.lines if line.tuned is not None}
    return done.spec.tuning.model_dump(mode="json") | {"said": done.tuned, "chosen": chosen}


def _counted(done: PaperRuns) -> tuple[list[Any], Record]:
    """Return the table of data sets, and its numbers."""
    places = {name: (place.title or name, place.paper) for name, place in done.spec.data.items()}
    measured = {name: row.record() for name, row in done.counted.items()}
    counted = common.analysis("paper_parts").counted
    part, rows = counted("As counted here, and as in the paper", places, measured)
    return [part], {"rows": rows}


def _ranked(done: PaperRuns) -> tuple[list[Any], Record]:
    """Return a table for each data set, backbone and rule of ranking, and all numbers."""
    parts, rows, pairs, seen = [], [], [], []
    for data, lines in _grouped(done.lines, lambda line: line.data):
        paths = [(run.path, line.label) for line in lines for run in done.runs[line.label]]
        loaded = common.analysis("load").load(*map(list, zip(*paths, strict=True)))
        for (backbone, group), members in _grouped(lines, lambda li: (li.backbone, li.row.group)):
            title = _title(done, data, backbone, group)
            part, found, compared = common.analysis("paper_parts").ranked(
                loaded,
                title,
                [_entry(line) for line in members],
                edges=done.spec.edges_of(data),
                pairs=list(_pairs(done, members)),
                swept=done.spec.sweep.title if done.spec.sweep else "",
                dots=done.spec.dots,
                figures=done.spec.figures,
            )
            place = {"data": data, "backbone": backbone, "group": group}
            views = list(_views(done, title, members))
            parts += [part, *views]
            rows += [place | record for record in found]
            pairs += [place | record for record in compared]
            seen += [place | _view_record(view) for view in views]
    return parts, {"rows": rows, "pairs": pairs, "views": seen}


def _views(done: PaperRuns, title: str, lines: list[Line]) -> Iterator[Any]:
    """Yield what else the table looks at of some lines."""
    from fedsim.paper_views import look

    for view in done.spec.views:
        yield getattr(common.analysis("paper_views"), view)(title, look(view, done, lines))


def _view_record(part: Any) -> Record:
    return {"view": part.table.name, "rows": common.records(part.table), "told": list(part.told)}


def _grouped(lines: Iterable[Line], key: Callable[[Line], T]) -> list[tuple[T, list[Line]]]:
    """Return lines by a key, in the order of the keys' first lines."""
    found: dict[T, list[Line]] = {}
    for line in lines:
        found.setdefault(key(line), []).append(line)
    return list(found.items())


def _title(done: PaperRuns, data: str, backbone: str, group: str) -> str:
    spec = done.spec
    places = ((data, spec.data), (backbone, spec.backbones))
    named = [places[name].title or name if name in places else name for name, places in places]
    return ", ".join(name for name in (*named, group) if name) or spec.title


def _entry(line: Line) -> Any:
    return common.analysis("paper").Entry(
        label=line.label,
        method=line.method,
        series=line.row.label,
        x=line.x,
        paper=line.paper,
        goal=line.goal,
    )


def _pairs(done: PaperRuns, lines: Sequence[Line]) -> Iterator[tuple[str, str]]:
    """Yield the labels of lines whose difference is asked for, value by value of a sweep."""
    for first, second in done.spec.pairs:
        for one, other in product(lines, lines):
            meet = one.x is None or other.x is None or one.x == other.x
            if (one.row.label, other.row.label) == (first, second) and meet:
                yield one.label, other.label
