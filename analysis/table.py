"""A table as numbers and as text, and its files: csv, Markdown, LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fedsim.errors import StoreError


@dataclass(frozen=True)
class Table:
    """Rows twice: `numbers` for machines (units in the names), `text` for readers."""

    name: str
    title: str
    numbers: pd.DataFrame
    text: pd.DataFrame
    note: str = ""

    def csv(self) -> str:
        """Return the numbers as comma-separated values."""
        return self.numbers.to_csv(index=False)

    def markdown(self) -> str:
        """Return the text as a Markdown table: first column to the left, others to the right."""
        columns = [str(column) for column in self.text.columns]
        rules = [":--", *["--:"] * (len(columns) - 1)]
        rows = [columns, rules, *self.text.astype(str).to_numpy().tolist()]
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        return "\n".join([*lines, "", *([self.note, ""] if self.note else [])])

    def latex(self) -> str:
        """Return the text as a LaTeX table (package booktabs)."""
        columns = [str(column) for column in self.text.columns]
        body = [_row(row) for row in self.text.astype(str).to_numpy().tolist()]
        lines = [
            rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
            r"\toprule",
            _row(columns),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
        ]
        return "\n".join([*lines, ""])

    def write(self, folder: str | Path) -> list[Path]:
        """Write ``NAME.csv``, ``NAME.md`` and ``NAME.tex`` into a folder.

        Raises
        ------
        StoreError
            The folder cannot be written to.
        """
        texts = {"csv": self.csv(), "md": self.markdown(), "tex": self.latex()}
        return [
            write_text(Path(folder) / f"{self.name}.{kind}", text) for kind, text in texts.items()
        ]


def write_text(file: Path, text: str) -> Path:
    """Write a file, and its folder if need be.

    Raises
    ------
    StoreError
        The disk is full or read-only.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise StoreError(f"cannot write {file}: {reason}; choose a folder to write to") from error
    return file


_ESCAPES = str.maketrans(
    {
        "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}",
        "\u2212": "$-$", "\u2013": "--",
    }
)  # fmt: skip


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cell.translate(_ESCAPES) for cell in cells) + r" \\"
