"""The files of a paper's table: JSON, Markdown, LaTeX and a figure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes

from analysis.svg import save_grid
from analysis.table import Table
from fedsim.files import write_atomic


@dataclass(frozen=True, slots=True)
class Part:
    """One table of several under a title: what stands below it, and its figures."""

    table: Table
    told: Sequence[str] = ()
    draws: Sequence[Callable[[Axes], Axes]] = ()


def write_paper(
    folder: Path,
    name: str,
    title: str,
    parts: Sequence[Part],
    notes: Sequence[str],
    record: Mapping[str, object],
) -> list[Path]:
    """Write ``NAME.json``, ``.md``, ``.tex`` and, if there is one, the figure; return the files.

    Raises
    ------
    StoreError
        The folder cannot be written to.
    """
    texts = {
        "json": json.dumps(record, indent=2, allow_nan=False) + "\n",
        "md": _markdown(title, parts, notes),
        "tex": "\n".join(f"% {part.table.title}\n{part.table.latex()}" for part in parts),
    }
    made = {folder / f"{name}.{kind}": text for kind, text in texts.items()}
    for file, text in made.items():
        write_atomic(file, text)
    files = list(made)
    draws = [draw for part in parts for draw in part.draws]
    if draws:
        most = max(len(part.table.text) for part in parts)
        columns = min(2, len(draws))
        save_grid(draws, folder / name, columns=columns, height=max(1.0, most / 9))
        files += [folder / f"{name}.{kind}" for kind in ("svg", "png")]
    return files


def _markdown(title: str, parts: Sequence[Part], notes: Sequence[str]) -> str:
    lines = [f"# {title}", ""]
    for part in parts:
        lines += [f"## {part.table.title}", "", part.table.markdown()]
        lines += [*(f"- {text}" for text in part.told), *([""] if part.told else [])]
    lines += [line for note in notes for line in (note, "")]
    return "\n".join(lines)
