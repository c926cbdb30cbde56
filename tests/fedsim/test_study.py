"""Studies: same streams, side by side, nothing run twice; tables from files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import fedsim
from analysis.load import load
from fedsim.errors import ConfigError
from fedsim.folders import runs_in
from fedsim.papers import load_paper, paper, paper_specs
from fedsim.study import compare
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


@pytest.mark.parametrize("name", list(paper_specs()))
def test_every_table_that_comes_along_is_sound(name: str) -> None:
    spec = load_paper(name)
    labels = [row.label for row in spec.rows]
    assert len(set(labels)) == len(labels)
    assert {label for pair in spec.pairs for label in pair} <= set(labels)


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
    with pytest.raises(ConfigError, match=r"no variant 'Bas'; did you mean 'Base'"):
        paper(str(tmp_path / "mine.toml"), labels=["Bas"], out=tmp_path)


def test_the_package_offers_its_verbs(tmp_path: Path) -> None:
    assert set(fedsim.__all__) <= set(dir(fedsim))
    done = fedsim.run(tiny(), out=tmp_path, rounds=2)
    assert done.rounds_done == 2
    assert fedsim.paper is paper
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        fedsim.runn  # noqa: B018
