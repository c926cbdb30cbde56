"""A table as numbers and as text, and its files: csv, Markdown, LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pandas as pd

from fedsim.files import write_atomic


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

    def _repr_html_(self) -> str:
        """Return the text as HTML, as notebooks show it."""
        body = self.text.to_html(index=False, border=0, justify="left")
        note = f"<p><small>{escape(self.note)}</small></p>" if self.note else ""
        return f"<p><b>{escape(self.title)}</b></p>{body}{note}"

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
        made = {Path(folder) / f"{self.name}.{kind}": text for kind, text in texts.items()}
        for file, text in made.items():
            write_atomic(file, text)
        return list(made)


_ESCAPES = str.maketrans(
    {
        "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}",
        "\u2212": "$-$", "\u2013": "--",
    }
)  # fmt: skip


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cell.translate(_ESCAPES) for cell in cells) + r" \\"
