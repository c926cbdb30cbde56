"""The verbs that show runs: what ``report`` tells beside its page, and the name of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from analysis import load
from fedsim.cli import app
from tests.analysis.factory import World, make_run


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_report_tells_what_it_left_out_and_goes_on(tmp_path: Path) -> None:
    alive = make_run(tmp_path, World("small", edges=6, rounds=1), "static")
    dead = make_run(tmp_path, World("small", edges=6, rounds=0), "diet")
    done = call("report", alive.parent)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{alive.parent / 'report.html'}\n"
    assert done.stderr == "note: Left out: small/diet-run-0 has no committed round.\n"
    assert call("report", dead).exit_code == 1


def test_report_tells_a_damaged_scenario_in_one_line(tmp_path: Path) -> None:
    folder = make_run(tmp_path, World("small", edges=6, rounds=1), "static")
    (folder / "scenario.toml").write_text("name = ")
    done = call("report", folder)
    assert done.exit_code == 1
    assert done.stderr.startswith("fedsim: the run cannot be read by this fedsim: ")
    assert "Traceback" not in done.output


def test_a_run_is_called_as_it_is_labelled(tmp_path: Path) -> None:
    small = ("--edges", 6, "--rounds", 1, "--set", "train.epochs=1", "--strategy", "popularity")
    done = call("run", "quickstart", *small, "--out", tmp_path, "--label", "most popular", "--json")
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)
    assert row["label"] == "most popular"
    assert load(row["paths"][0]).labels == ("most popular",)
    again = call("run", "--resume", row["paths"][0], "--label", "other")
    assert again.exit_code == 2
    assert "a resumed run keeps" in again.stderr
