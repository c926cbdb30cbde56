"""What tuning chose for a paper's table: a TOML file beside it, ``NAME.tuned.toml``.

The file holds the budget and, for each line, the trial that won and what it sets. It is only
taken where the table still says the same, so that no figure stands below another budget.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import Field

from fedsim.errors import ConfigError
from fedsim.files import write_atomic
from fedsim.paper_spec import TUNED, Line, PaperSpec
from fedsim.paper_toml import load_paper, paper_file, read_toml
from fedsim.scenario import Count, Section, digest

MEND = "tune again (--tune), or delete the file"


class Chosen(Section):
    """The trial that won for a line."""

    row: str
    data: str = ""
    backbone: str = ""
    x: float | None = None
    settings: str
    """Names what the line was set to otherwise, see `settings_of`."""
    trial: Count
    """Which of the row's trials, from 1."""
    set: dict[str, Any] = Field(default_factory=dict)
    """What that trial sets."""

    @property
    def spot(self) -> tuple[str, str, str, float | None]:
        """The line's `Line.spot`."""
        return self.row, self.data, self.backbone, self.x


class Tuned(Section):
    """What was chosen for the lines of a table, and with what budget."""

    trials: Count
    seeds: Count
    hold_out: Count
    lines: tuple[Chosen, ...] = ()

    def applied(self, spec: PaperSpec, line: Line) -> Line:
        """Return a line with what was chosen for it.

        Raises
        ------
        ConfigError
            It was chosen under other settings than the line has now.
        """
        chosen = {each.spot: each for each in self.lines}.get(line.spot)
        if chosen and chosen.settings != settings_of(spec, line):
            raise ConfigError(
                f"{line.label}: tuned under other settings than the table has now; {MEND}"
            )
        return replace(line, tuned=chosen.set if chosen else None)

    def write(self, file: Path) -> None:
        """Write the file that `load_tuned` reads."""
        write_atomic(file, tomli_w.dumps(self.model_dump(mode="json", exclude_none=True)))


def load_tuned(table: Path, spec: PaperSpec) -> Tuned | None:
    """Return what was chosen for the table in a file, or for the one that tunes it.

    None if nothing was.

    Raises
    ------
    ConfigError
        The file beside it is wrong, or was made by other trials than the table has now.
    """
    if spec.tuning.table:
        return load_tuned(paper_file(spec.tuning.table), load_paper(spec.tuning.table))
    file = table.with_name(table.stem + TUNED)
    if not file.is_file():
        return None
    tuned, tuning = read_toml(file, Tuned), spec.tuning
    then = (tuned.trials, tuned.seeds, tuned.hold_out)
    now = (len(tuning.trials), tuning.seeds, tuning.hold_out)
    if then != now:
        raise ConfigError(
            f"{file}: chosen with (trials, seeds, hold_out) = {then}, but the table has {now}; "
            f"{MEND}"
        )
    rows = {row.label: spec.trials(row) for row in spec.rows}
    for each in tuned.lines:
        if each.set not in rows.get(each.row, ())[each.trial - 1 : each.trial]:
            raise ConfigError(
                f"{file}: row '{each.row}' has no trial {each.trial} that sets {each.set}; {MEND}"
            )
    return tuned


def settings_of(spec: PaperSpec, line: Line) -> str:
    """Return 16 hex digits that name what a line is set to before tuning, wherever its data is."""
    changes = replace(line, tuned=None).changes
    settings = {name: value for name, value in changes.items() if name != "data.path"}
    return digest({"scenario": spec.scenario, "edges": spec.edges_of(line.data), "set": settings})


def said(name: str, spec: PaperSpec, lines: Sequence[Line], tuned: Tuned | None) -> str:
    """Return what is said below a table of how its lines were tuned."""
    if not spec.tuning.trials or not lines:
        return ""
    if tuned is None:
        table = spec.tuning.table or name
        return (
            f"Nothing is tuned yet: there is no {Path(table).stem}{TUNED} beside the table; "
            f"'fedsim paper {table} --tune' makes it, with {budget(spec)} for every row."
        )
    where = f" in table '{spec.tuning.table}'" if spec.tuning.table else ""
    parts = [
        f"Tuned on validation{where}, {budget(spec)} for every row: the best NDCG@10 with the "
        f"newest {_items(spec.tuning.hold_out)} of each user held out, so that the test was not "
        "there."
    ]
    fixed = _rows(line for line in lines if not line.row.tune)
    left = [line.label for line in lines if line.row.tune and line.tuned is None]
    parts += [f"Nothing to tune: {fixed}."] if fixed else []
    parts += [f"Not tuned: {'; '.join(left)}."] if left else []
    return " ".join(parts)


def budget(spec: PaperSpec) -> str:
    """Return what each row may try, in words."""
    tuning = spec.tuning
    seeds = "one seed" if tuning.seeds == 1 else f"{tuning.seeds} seeds"
    return f"{len(tuning.trials)} trials of {seeds} each"


def _items(count: int) -> str:
    return "item" if count == 1 else f"{count} items"


def _rows(lines: Iterable[Line]) -> str:
    return ", ".join(dict.fromkeys(line.row.label for line in lines))
