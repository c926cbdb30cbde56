"""Which runs a folder stands for: a run directory itself, a study's runs, those below it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fedsim.files import write_atomic

STUDY = "study.txt"
"""File of a study's folder: the names of its last command's runs, a line each."""


def write_study(folder: Path, runs: Iterable[Path]) -> None:
    """Say which runs of a folder belong to the study as it was asked for last.

    Runs of the same study with other settings stay beside them and are not mixed in.
    """
    write_atomic(folder / STUDY, *(f"{run.name}\n" for run in runs))


def runs_in(folder: Path) -> list[Path]:
    """Return the run directories a folder stands for, or the folder if it holds none.

    Runs of a study that have not begun yet are left out.
    """
    if (folder / "scenario.toml").is_file():
        return [folder]
    study = folder / STUDY
    if study.is_file():
        named = [folder / name for name in study.read_text().split()]
        found = [run for run in named if (run / "scenario.toml").is_file()]
    else:
        found = sorted(file.parent for file in folder.glob("*/scenario.toml"))
    return found or [folder]
