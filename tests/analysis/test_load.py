from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis import Runs, load
from fedsim import ledger
from fedsim.errors import RunError, StoreError
from tests.analysis.conftest import LABELS, WORLD
from tests.analysis.factory import World, make_run

SMALL = World("small", edges=6, rounds=2, controls=1)


def test_runs_of_several_seeds_share_a_label(runs: Runs) -> None:
    assert runs.labels == LABELS
    assert runs.members("diet") == [2, 3]
    assert [info.seed for info in runs.infos] == [0, 1] * 4
    assert runs.channels == ("home", "video", "music")
    assert runs.scenarios == ("interest_drift",)
    assert (runs.ks, runs.k, runs.last_round) == ((5, 10), 10, WORLD.rounds)


def test_views_hold_every_row_with_its_run(runs: Runs) -> None:
    counts = runs.query("select run, count(*) as n from ledger group by run order by run")
    assert counts["n"].tolist() == [WORLD.edges * 3 * (WORLD.rounds + 1)] * 8
    assert runs.query("select count(*) as n from edges")["n"].tolist() == [WORLD.edges * 8]
    measured = runs.query("select distinct label from controls join runs using (run) order by 1")
    assert measured["label"].tolist() == ["diet", "long_diet"]


def test_large_tables_stay_on_disk_and_answer_alike(
    folders: list[Path], runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["analysis.load"], "IN_MEMORY", 0)
    sql = "select run, sum(ndcg_10) as s from ledger group by run order by run"
    on_disk, in_memory = load(folders).query(sql)["s"], runs.query(sql)["s"]
    assert on_disk.tolist() == pytest.approx(in_memory.tolist(), rel=1e-12)


def test_an_answer_may_be_changed_without_changing_the_next(runs: Runs) -> None:
    sql = "select count(*) as n from edges"
    answer = runs.query(sql)
    answer["n"] = 0
    assert runs.query(sql)["n"].tolist() == [WORLD.edges * 8]


def test_one_path_a_list_an_object_and_a_frame_are_sources(tmp_path: Path) -> None:
    folder = make_run(tmp_path, SMALL, "diet")

    class HasPath:
        path = folder

    frame = ledger.read_ledger(folder)
    sources: list[Any] = [folder, str(folder), [folder], HasPath(), frame]
    sql = "select sum(ndcg_10) as s from ledger"
    totals = [float(load(source).query(sql)["s"].iloc[0]) for source in sources]
    assert totals == pytest.approx([float(frame["ndcg_10"].sum())] * 5)
    assert load(load(folder)).labels == ("diet",)
    assert load(frame).labels == ("run",)


def test_a_label_in_env_json_wins(tmp_path: Path) -> None:
    made = load([make_run(tmp_path, SMALL, "diet"), make_run(tmp_path, SMALL, "diet", label="mg")])
    assert made.labels == ("diet", "mg")


def test_labels_that_are_given_win(tmp_path: Path) -> None:
    made = [make_run(tmp_path, SMALL, "diet", label=label) for label in ("mg", "all")]
    assert load(made, ["a", "b"]).labels == ("a", "b")
    assert load(made, ["a", "a"]).members("a") == [0, 1]


def test_methods_that_share_a_label_are_told_apart_by_their_settings(tmp_path: Path) -> None:
    first = make_run(tmp_path / "a", SMALL, "diet")
    second = make_run(tmp_path / "b", SMALL, "diet")
    scenario = second / "scenario.toml"
    scenario.write_text(scenario.read_text() + "keep = 0.3\n")
    assert load([first, second]).labels == (
        "diet",
        "diet, keep 0.3",
    )


def test_scenarios_and_repeated_runs_are_told_apart(tmp_path: Path) -> None:
    first = make_run(tmp_path, SMALL, "diet")
    again = make_run(tmp_path / "again", SMALL, "diet")
    other = make_run(tmp_path, World("other", edges=6, rounds=2), "diet")
    assert load([first, again]).labels == ("diet", "diet (2)")
    labels = load([first, other]).labels
    assert labels[0].startswith("diet (small)")
    assert labels[1].startswith("diet (other)")


def test_what_is_no_finished_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"'.*' is no run directory: it has no scenario.toml"):
        load(tmp_path)
    with pytest.raises(RunError, match="no run to analyse"):
        load([])
    folder = make_run(tmp_path, World("short", edges=3, rounds=0), "static")
    with pytest.raises(RunError, match="has no committed round yet; resume it"):
        load(folder)


def test_a_scenario_that_tells_nothing_is_an_error(tmp_path: Path) -> None:
    run = make_run(tmp_path, SMALL, "diet")
    (run / "scenario.toml").write_text("")
    with pytest.raises(RunError, match=r"scenario\.toml: says no name, seed and strategy"):
        load(run)


def test_runs_without_a_common_cutoff_are_an_error(runs: Runs) -> None:
    first, *others = runs.infos
    with pytest.raises(RunError, match=r"no cut-off is in all runs: .* has \[5000\]; report them"):
        Runs([first, replace(others[0], ks=(5000,))], {})


def test_a_run_without_its_edges_is_an_error(tmp_path: Path) -> None:
    folder = make_run(tmp_path, SMALL, "diet")
    (folder / "edges.parquet").unlink()
    with pytest.raises(StoreError, match=r"'.*diet-run-0' has no edges.parquet.*; restore that"):
        load(folder)


def test_a_damaged_run_is_an_error(tmp_path: Path) -> None:
    folder = make_run(tmp_path, SMALL, "diet")
    (folder / "ledger" / "round-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=r"cannot read .*round-00001"):
        load(folder)


def test_a_damaged_table_of_edges_is_an_error(tmp_path: Path) -> None:
    folder = make_run(tmp_path, SMALL, "diet")
    (folder / "edges.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=r"'edges' cannot be read: .*edges\.parquet.*; restore"):
        load(folder)
