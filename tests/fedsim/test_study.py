"""Studies: same streams, side by side, nothing run twice; tables from files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import fedsim
from analysis.load import load
from fedsim.errors import ConfigError, RunError
from fedsim.folders import runs_in
from fedsim.paper_spec import lines_of
from fedsim.paper_toml import load_paper, paper_specs
from fedsim.papers import paper
from fedsim.scenario import build, load_scenario
from fedsim.study import Variant, compare, run_variants
from tests.studies import ledger_bytes, tiny


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def test_strategies_meet_the_same_streams(tmp_path: Path) -> None:
    runs = compare(tiny(), ["static", "diet"], seeds=2, out=tmp_path, jobs=1)
    assert [run.path.name.split("-s")[0] for run in runs] == ["static"] * 2 + ["diet"] * 2
    keys = ["round", "edge", "channel", "drift_score", "targets"]
    for ours, theirs in zip(runs[:2], runs[2:], strict=True):
        assert ours.ledger[keys].equals(theirs.ledger[keys])
    assert not runs[0].ledger[keys].equals(runs[1].ledger[keys])


def test_side_by_side_equals_one_by_one(tmp_path: Path) -> None:
    alone = compare(tiny(), ["static", "diet"], out=tmp_path / "1", jobs=1)
    told: list[str] = []
    both = compare(tiny(), ["static", "diet"], out=tmp_path / "2", jobs=2, tell=told.append)
    assert [ledger_bytes(run) for run in both] == [ledger_bytes(run) for run in alone]
    assert len(told) == 2


def test_a_finished_run_of_a_study_is_taken_as_it_is(tmp_path: Path) -> None:
    first = compare(tiny(), ["static"], out=tmp_path, jobs=1)[0]
    stamp = (first.path / "ledger" / "round-00003.parquet").stat().st_mtime_ns
    again = compare(tiny(), ["static"], out=tmp_path, jobs=1)[0]
    assert again.path == first.path
    assert (again.path / "ledger" / "round-00003.parquet").stat().st_mtime_ns == stamp


def test_a_run_begun_with_other_code_is_taken_but_told(tmp_path: Path) -> None:
    first = compare(tiny(), ["static"], out=tmp_path, jobs=1)[0]
    told: list[str] = []
    compare(tiny(), ["static"], out=tmp_path, jobs=1, tell=told.append)
    assert not any("begun with other" in line for line in told)
    file = first.path / "env.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"code": "0", "data": "1"}))
    compare(tiny(), ["static"], out=tmp_path, jobs=1, tell=told.append)
    assert "begun with other code, data; it is taken as it is, delete it" in told[-2]


def test_what_cannot_be_is_told_before_anything_is_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'forward_ofa' leaves out .* 'caser' has none; set mod"):
        compare(tiny(**{"model.name": "caser"}), ["static", "forward_ofa"], out=tmp_path, jobs=1)
    assert not any(tmp_path.rglob("scenario.toml"))


def test_a_run_whose_process_is_killed_is_named(tmp_path: Path) -> None:
    variants = [
        Variant("dies", {"strategy.name": "tests.fedsim.engine.fates:Dying"}),
        *(Variant(name, {"strategy.name": "static"}) for name in ("lives", "waits")),
    ]
    with pytest.raises(RunError, match=r"^the process of 'dies, seed 0'.* was killed \(out of mem"):
        run_variants(tiny(), variants, seeds=1, folder=tmp_path, jobs=2)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_run_that_does_not_tell_what_it_began_with_is_refused(text: str, tmp_path: Path) -> None:
    first = compare(tiny(), ["static"], out=tmp_path, jobs=1)[0]
    (first.path / "env.json").write_text(text)
    with pytest.raises(RunError, match=r"env\.json: cannot be read: .*; restore that file, or"):
        compare(tiny(), ["static"], out=tmp_path, jobs=1)


def test_a_study_with_other_settings_is_not_mixed_in(tmp_path: Path) -> None:
    first = compare(tiny(), ["static"], out=tmp_path, jobs=1)[0]
    other = compare(tiny(rounds=2), ["static"], out=tmp_path, jobs=1)[0]
    folder = first.path.parent
    assert other.path.parent == folder
    assert runs_in(folder) == [other.path]
    assert [info.path for info in load(folder).infos] == [other.path]
    assert runs_in(first.path) == [first.path]


def test_a_strategy_is_compared_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"named once each, got \['diet', 'diet'\]"):
        compare(tiny(), ["diet", "diet"], out=tmp_path)


def test_seeds_count_up_from_the_one_a_variant_sets(tmp_path: Path) -> None:
    variants = [Variant("plain"), Variant("own", {"seed": 7})]
    runs = run_variants(tiny(), variants, seeds=2, folder=tmp_path, jobs=1)
    assert [run.scenario.seed for run in runs] == [0, 1, 7, 8]
    assert [run.path.name.rpartition("-")[0] for run in runs[2:]] == ["own-s7", "own-s8"]
    assert not runs[2].ledger.equals(runs[3].ledger)


@pytest.mark.parametrize("name", list(paper_specs()))
def test_every_table_that_comes_along_is_sound(name: str) -> None:
    """Every line is a scenario there is, and no two lines are one."""
    spec = load_paper(name)
    table = load_scenario(spec.scenario).model_dump(mode="json", exclude_none=True)
    data: dict[str, dict[str, object]] = {place: {} for place in spec.data or [""]}
    rows = [row.label for row in spec.rows]
    lines = lines_of(spec, data, list(spec.backbones or [""]), rows)
    identities = [build(table, line.changes, line.label).identity() for line in lines]
    trials = [(line, trial) for line in lines for trial in spec.trials(line.row)]
    for line, trial in trials:
        build(table, replace(line, tuned=trial).changes, f"{line.label}, {trial}")
    assert len(set(identities)) == len({line.label for line in lines}) == len(lines)
    assert {line.row.label for line in lines} == set(rows)
    assert spec.rows or any(place.paper for place in spec.data.values())


TABLE = """
title = "A table"
scenario = "quickstart"
[set]
rounds = 1
"population.edges" = 24
"train.epochs" = 1
[[rows]]
label = "Base"
set = { "strategy.name" = "static" }
paper = { ndcg_10 = 0.05 }
"""


def test_a_table_is_run_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TABLE)
    made = paper(str(tmp_path / "mine.toml"), seeds=2, out=tmp_path, jobs=1)
    assert {label: len(runs) for label, runs in made.runs.items()} == {"Base": 2}
    assert made.runs["Base"][0].rounds_done == 1


SWEPT = """
title = "A figure"
scenario = "quickstart"
[set]
rounds = 1
"strategy.keep" = 0.5
"model.dim" = 8
[sweep]
key = "strategy.keep"
values = [0.25, 0.5]
title = "kept"
[data.here]
set = { rounds = 2, "model.dim" = 16 }
[data.there]
[backbones.sasrec]
set = { "model.blocks" = 3, "model.dim" = 24 }
[[rows]]
label = "DIET"
set = { "strategy.name" = "diet" }
on.there.sasrec.set = { rounds = 4, "model.dim" = 32 }
on.there.sasrec.paper = { ndcg_10 = 0.5 }
[[rows]]
label = "Base"
swept = false
set = { "strategy.name" = "static" }
paper = { hit_10 = 0.25 }
"""


def test_what_is_nearest_to_a_line_changes_it_last(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(SWEPT)
    spec = load_paper(str(tmp_path / "mine.toml"))
    lines = lines_of(spec, {"there": {}, "here": {"rounds": 9}}, ["sasrec"], ["Base", "DIET"])
    assert [line.label for line in lines] == [
        "DIET 0.25, there, sasrec", "DIET 0.5, there, sasrec", "Base, there, sasrec",
        "DIET 0.25, here, sasrec", "DIET 0.5, here, sasrec", "Base, here, sasrec",
    ]  # fmt: skip
    assert [line.x for line in lines[:3]] == [0.25, 0.5, None]
    assert [line.changes["strategy.keep"] for line in lines[:3]] == [0.25, 0.5, 0.5]
    assert [line.changes["rounds"] for line in lines] == [4, 4, 1, 9, 9, 9]
    assert [line.changes["model.dim"] for line in lines] == [32, 32, 24, 24, 24, 24]
    assert {line.changes["model.blocks"] for line in lines} == {3}
    assert [dict(line.paper) for line in lines[1:4]] == [{"ndcg_10": 0.5}, {"hit_10": 0.25}, {}]


def test_wrong_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no paper table 'ml-100'"):
        paper("ml-100", out=tmp_path)
    (tmp_path / "bad.toml").write_text(TABLE + "\nseed = 3\n")
    with pytest.raises(ConfigError, match=r"unknown key 'rows\.0\.seed'; did you mean 'set'"):
        load_paper(str(tmp_path / "bad.toml"))
    (tmp_path / "twice.toml").write_text(TABLE + '[[rows]]\nlabel = "Base"\n')
    with pytest.raises(ConfigError, match=r"rows need distinct labels, got \['Base', 'Base'\]"):
        load_paper(str(tmp_path / "twice.toml"))
    (tmp_path / "pair.toml").write_text('pairs = [["Base", "Bass"]]\n' + TABLE)
    with pytest.raises(ConfigError, match="'pairs' names no row 'Bass'; did you mean 'Base'"):
        load_paper(str(tmp_path / "pair.toml"))
    (tmp_path / "mine.toml").write_text(TABLE)
    (tmp_path / "place.toml").write_text(TABLE + "on.ml-1m.sasrec.goal = { hit_10 = 1 }\n")
    with pytest.raises(ConfigError, match="row 'Base' names 'ml-1m', which the table does not"):
        load_paper(str(tmp_path / "place.toml"))
    with pytest.raises(ConfigError, match=r"no method 'Bas'; did you mean 'Base'"):
        paper(str(tmp_path / "mine.toml"), methods=["Bas"], out=tmp_path)


def test_the_package_offers_its_verbs(tmp_path: Path) -> None:
    assert set(fedsim.__all__) <= set(dir(fedsim))
    done = fedsim.run(tiny(), out=tmp_path, rounds=2)
    assert done.rounds_done == 2
    assert fedsim.paper is paper
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        fedsim.runn  # noqa: B018
