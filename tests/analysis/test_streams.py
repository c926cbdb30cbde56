from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from analysis import compare, differences, load
from analysis.findings import findings
from analysis.report import write_report
from analysis.summary import facts, headline
from fedsim.errors import ConfigError, RunError
from tests.analysis.factory import World, make_run

WORLD = World("quick", edges=12, rounds=6, controls=2)


def stop(folder: Path, at: int) -> Path:
    """Leave of a run what a stopped one has."""
    for file in [*folder.glob("ledger/*"), *folder.glob("controls/*")]:
        if int(file.stem[-5:]) > at:
            file.unlink()
    return folder


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return make_run(tmp_path, WORLD, "static")


@pytest.fixture
def half(tmp_path: Path) -> Path:
    return stop(make_run(tmp_path, WORLD, "diet"), 2)


def test_runs_are_compared_over_the_rounds_all_of_them_have(whole: Path, half: Path) -> None:
    other = make_run(whole.parents[1], WORLD, "long_diet")
    assert load([whole, half, other]).query("select max(round) as r from controls")["r"][0] == 1
    runs = load([whole, half])
    assert [info.last_round for info in runs.infos] == [2, 2]
    rounds = runs.query("select run, max(round) as r from ledger group by run order by run")
    assert rounds["r"].tolist() == [2, 2]
    same = compare([stop(whole, 2), half]).numbers
    assert compare(runs).numbers.equals(same)


def test_everything_says_who_is_unfinished(whole: Path, half: Path, tmp_path: Path) -> None:
    runs = load([whole, half])
    said = (
        "Unfinished: diet (seed 0), 2 of 6 rounds. All runs are compared over rounds 1 to 2 alone."
    )
    assert compare(runs).note.startswith(said)
    assert differences(runs).note.startswith(said)
    assert facts(runs)["Rounds"] == ["2 of 6"]
    text = write_report(runs, tmp_path / "out").read_text()
    assert f"<dt>Please note</dt><dd>{said}</dd>" in text


def test_a_single_unfinished_run_is_named(half: Path) -> None:
    assert load(half).remarks == ["Unfinished: diet (seed 0), 2 of 6 rounds."]
    assert load(half).last_round == 2


def test_finished_runs_need_no_remark(whole: Path, tmp_path: Path) -> None:
    assert load([whole, make_run(tmp_path, WORLD, "diet")]).remarks == []


def test_seeds_that_only_some_have_are_told(whole: Path, tmp_path: Path) -> None:
    more = [make_run(tmp_path, WORLD, "diet", seed) for seed in (0, 1)]
    assert load([whole, *more]).remarks == [
        "Not all have the same seeds: static seed 0; diet seeds 0, 1. Each has its own streams."
    ]


def test_a_run_without_a_round_is_left_out_and_told(whole: Path, half: Path) -> None:
    stop(half, 0)
    runs = load(whole.parent)
    assert runs.labels == ("static",)
    assert runs.remarks == ["Left out: quick/diet-run-0 has no committed round."]
    for alone in (half, [half]):
        with pytest.raises(RunError, match="diet-run-0' has no committed round yet; resume it"):
            load(alone)
    with pytest.raises(RunError, match="has no committed round yet"):
        load([whole, half], ["a", "b"])


@pytest.mark.parametrize(("name", "kind"), [("scenario.toml", "TOML"), ("env.json", "JSON")])
@pytest.mark.parametrize("damage", [b"[[", b"\xff\xfe"])
def test_a_damaged_file_is_an_error_that_names_it(
    whole: Path, name: str, kind: str, damage: bytes
) -> None:
    (whole / name).write_bytes(damage)
    message = rf"cannot be read by this fedsim: .*{name}: not valid {kind}: .*; restore that file"
    with pytest.raises(RunError, match=message):
        load(whole)


def test_runs_on_other_streams_are_not_ranked(whole: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "more", replace(WORLD, edges=20), "long_diet")
    runs = load([whole, other, make_run(tmp_path, WORLD, "diet")])
    assert not runs.comparable
    assert [part.labels for part in runs.parts()] == [("static", "diet"), ("long_diet",)]
    assert runs.remarks == [
        "The runs are on 2 kinds of streams, which differ in population.edges: side by side, "
        "but ranked only within a kind."
    ]
    assert headline(runs) == "quick: 3 strategies on several kinds of streams"
    assert facts(runs)["Edges"] == ["12", "20"]
    with pytest.raises(ConfigError, match=r"only runs on the same streams have differences"):
        differences(runs)


def test_a_page_about_several_scenarios_keeps_them_apart(tmp_path: Path) -> None:
    worlds = [WORLD, replace(WORLD, name="other", ood=0.4, edges=20)]
    made = [make_run(tmp_path, world, name) for world in worlds for name in ("static", "diet")]
    runs = load(made)
    text = write_report(runs, tmp_path / "out").read_text()
    assert "nan" not in text[: text.index("<h2>What each")]
    assert 'class="best"' not in text
    assert 'id="pareto"' not in text
    assert '<h3 class="gap">quick</h3>' in text
    assert '<h3 class="gap">other</h3>' in text
    assert facts(runs)["Edges"] == ["12", "20"]
    assert facts(runs)["Data"] == ["synthetic"]
    quick, other = ({f.about for f in findings(part)} for part in runs.parts())
    assert other - quick == {"OOD edges"}


def test_rounds_of_another_scenario_do_not_shorten_a_run(whole: Path, tmp_path: Path) -> None:
    short = make_run(tmp_path, replace(WORLD, name="other", rounds=2), "static")
    assert [info.last_round for info in load([whole, short]).infos] == [6, 2]


def test_a_folder_keeps_the_order_of_its_study(whole: Path, half: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    for name in ("b-static", "a-diet"):
        shutil.copytree(whole if "static" in name else half, study / name)
    assert load(study).labels == ("diet", "static")
    (study / "study.txt").write_text("b-static\na-diet\n")
    assert load(study).labels == ("static", "diet")
