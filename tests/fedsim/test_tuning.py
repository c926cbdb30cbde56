"""Tuning a table: the same trials for every row, judged where the test is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import scenarios
from fedsim.cli import app
from fedsim.engine.run import Run
from fedsim.errors import ConfigError
from fedsim.paper_spec import lines_of
from fedsim.paper_toml import load_paper, paper_specs
from fedsim.papers import paper
from fedsim.population import Population
from fedsim.tuned import settings_of
from fedsim.tuning import Tunings, tune

TABLE = """
title = "Rivals"
scenario = "{scenario}"
seeds = 1
pairs = [["Base", "Popular"]]
[set]
seed = 3
rounds = 1
"stream.history" = "leave_one_out"
"population.edges" = 100
"train.epochs" = 3
"train.lr" = 0.02
[tuning]
note = "A note."
trials = [{{ "train.lr" = 1e-9 }}, {{}}, {{ "train.lr" = 0.02 }}]
[data.here]
[[rows]]
label = "Base"
set = {{ "strategy.name" = "static", "train.dropout" = 0.1 }}
[[rows]]
label = "Full"
trials = [{{ "train.lr" = 1e-9 }}, {{ "train.dropout" = 0.9 }}, {{ "train.dropout" = 0.125 }}]
set = {{ "strategy.name" = "full_download" }}
[[rows]]
label = "Popular"
tune = false
set = {{ "strategy.name" = "popularity" }}
"""


@pytest.fixture
def file(tiny_file: Path, tmp_path: Path) -> Path:
    made = tmp_path / "mine.toml"
    made.write_text(TABLE.format(scenario=tiny_file))
    return made


def settings(name: str, row: str, backbone: str = "") -> str:
    """Return what names the settings of a row's line."""
    spec = load_paper(name)
    (line,) = lines_of(spec, {"here": {}}, [backbone], [row])
    return settings_of(spec, line)


def changed(file: Path, old: str, new: str) -> str:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return str(file)


def chosen(done: Tunings) -> dict[str, int]:
    return {each.row: each.trial for each in done.tried if each.chosen}


def runs_of(out: Path) -> list[Run]:
    return [Run(made.parent) for made in sorted(out.glob("paper/mine/tuning/*/scenario.toml"))]


def test_the_best_trial_on_validation_is_chosen_and_of_equals_the_first(
    file: Path, tmp_path: Path
) -> None:
    done = tune(str(file), out=tmp_path, jobs=1)
    base = [each.ndcg_10 for each in done.tried if each.row == "Base"]
    assert base[0] < base[1] == base[2]
    assert chosen(done)["Base"] == 2
    assert chosen(done)["Full"] in (2, 3)
    assert [each.row for each in done.tried] == ["Base"] * 3 + ["Full"] * 3


def test_trials_never_see_the_test(file: Path, tmp_path: Path) -> None:
    """Their target is the item before last, and what they train on ends before it."""
    tune(str(file), out=tmp_path, jobs=1, methods=["Base"])
    edges = np.arange(100)
    table = paper(str(file), out=tmp_path, jobs=1, methods=["Popular"]).runs["Popular, here"][0]
    test = Population(table.scenario).gather(edges).channels[0]
    runs = runs_of(tmp_path)
    assert len(runs) == 3
    for run in runs:
        assert run.scenario.stream.hold_out == 1
        part = Population(run.scenario).gather(edges).channels[0]
        assert np.array_equal(part.cuts[:, 1], test.cuts[:, 1] - 1)
        assert np.array_equal(part.cuts[:, 0], test.cuts[:, 0] - 1)
        assert np.array_equal(np.diff(part.offsets), np.diff(test.offsets) - 1)


def test_each_trial_has_as_many_seeds(file: Path, tmp_path: Path) -> None:
    name = changed(file, 'note = "A note."', "seeds = 2\nhold_out = 2")
    done = tune(name, out=tmp_path, jobs=1, methods=["Base"])
    runs = runs_of(tmp_path)
    found = sorted((run.scenario.train.lr, run.scenario.seed) for run in runs)
    assert found == [(1e-9, 3), (1e-9, 4), (0.02, 3), (0.02, 3), (0.02, 4), (0.02, 4)]
    assert {run.scenario.stream.hold_out for run in runs} == {2}
    scores = [
        run.ledger["ndcg_10"].sum() / run.ledger["targets"].sum()
        for run in runs
        if run.scenario.train.lr == 1e-9
    ]
    assert done.tried[0].ndcg_10 == pytest.approx(np.mean(scores))


def test_only_the_edges_that_count_are_judged(file: Path, tmp_path: Path) -> None:
    changed(file, "seeds = 1", 'seeds = 1\nedges = "unseen"')
    name = changed(file, "rounds = 1", 'rounds = 1\n"population.ood_fraction" = 0.3')
    done = tune(name, out=tmp_path, jobs=1, methods=["Base"])
    (run,) = [run for run in runs_of(tmp_path) if "trial-1" in run.path.name]
    rows = run.ledger.query("round > 0").merge(run.edges[["edge", "ood"]]).query("ood")
    assert len(rows) == 30
    assert done.tried[0].ndcg_10 == pytest.approx(rows["ndcg_10"].sum() / rows["targets"].sum())


def test_tuning_goes_on_and_runs_nothing_twice(file: Path, tmp_path: Path) -> None:
    tune(str(file), out=tmp_path, jobs=1, methods=["Base"])
    before = {run.path: (run.path / "env.json").stat().st_mtime_ns for run in runs_of(tmp_path)}
    done = tune(str(file), out=tmp_path, jobs=1, methods=["full", "BASE"])
    after = {run.path: (run.path / "env.json").stat().st_mtime_ns for run in runs_of(tmp_path)}
    assert len(after) == 6
    assert before.items() <= after.items()
    assert len(done.tried) == 6


def test_what_another_command_tuned_stays_while_the_budget_is_the_same(
    file: Path, tmp_path: Path
) -> None:
    tune(str(file), out=tmp_path, jobs=1, methods=["Base"])
    assert set(chosen(tune(str(file), out=tmp_path, jobs=1, methods=["Full"]))) == {"Base", "Full"}
    changed(file, '"static", "train.dropout" = 0.1', '"static", "train.dropout" = 0.2')
    assert set(chosen(tune(str(file), out=tmp_path, jobs=1, methods=["Full"]))) == {"Full"}
    assert set(chosen(tune(str(file), out=tmp_path, jobs=1, methods=["Base"]))) == {"Base", "Full"}
    changed(file, 'label = "Full"', 'label = "Renamed"')
    assert set(chosen(tune(str(file), out=tmp_path, jobs=1, methods=["Base"]))) == {"Base"}
    changed(file, 'label = "Renamed"', 'label = "Full"')
    name = changed(file, "{},", '{ "train.lr" = 0.01 },')
    assert set(chosen(tune(name, out=tmp_path, jobs=1, methods=["Full"]))) == {"Full"}


def test_the_table_takes_what_was_chosen(file: Path, tmp_path: Path) -> None:
    """After the row's own settings; labels stay, and what is set here alone still wins."""
    name = changed(file, "[data.here]", "[data.here]\n[backbones.sasrec]")
    changed(file, "{},", '{ "train.dropout" = 0.25, "train.weight_decay" = 0.01 },')
    only = 'on.here.sasrec.set = { "train.weight_decay" = 0.5 }\nset = { "strategy.name" = "static"'
    changed(file, 'set = { "strategy.name" = "static"', only)
    plain = paper(name, out=tmp_path, jobs=1)
    (tmp_path / "mine.tuned.toml").write_text(
        "trials = 3\nseeds = 1\nhold_out = 1\n[[lines]]\nrow = 'Base'\ndata = 'here'\n"
        f"backbone = 'sasrec'\nsettings = '{settings(name, 'Base', 'sasrec')}'\ntrial = 2\n"
        "set = { 'train.dropout' = 0.25, 'train.weight_decay' = 0.01 }\n"
    )
    tuned = paper(name, out=tmp_path, jobs=1)
    assert [line.label for line in tuned.lines] == [line.label for line in plain.lines]
    train = tuned.runs["Base, here, sasrec"][0].scenario.train
    assert (train.dropout, train.weight_decay, train.lr) == (0.25, 0.5, 0.02)
    full = "Full, here, sasrec"
    assert tuned.runs[full][0].path == plain.runs[full][0].path
    assert plain.tuned.startswith("Nothing is tuned yet: there is no mine.tuned.toml")
    assert "3 trials of one seed each for every row: the best NDCG@10 with the newest item" in (
        tuned.tuned
    )
    assert tuned.tuned.endswith("Nothing to tune: Popular. Not tuned: Full, here, sasrec.")


ABLATION = """
title = "Ablation"
scenario = "{scenario}"
seeds = 1
tuning.table = "{table}"
[set]
rounds = 1
"stream.history" = "leave_one_out"
"population.edges" = 100
"train.epochs" = 3
[data.here]
[[rows]]
label = "Full"
set = {{ "strategy.name" = "full_download" }}
"""


@pytest.fixture
def ablation(file: Path, tiny_file: Path, tmp_path: Path) -> Path:
    """A table that has one of the other's rows and is tuned by it."""
    made = tmp_path / "ablation.toml"
    made.write_text(ABLATION.format(scenario=tiny_file, table=file.name))
    return made


def test_a_table_takes_what_another_chose(ablation: Path, tmp_path: Path) -> None:
    plain = paper(str(ablation), out=tmp_path, jobs=1)
    assert "mine.tuned.toml beside the table" in plain.tuned
    assert "mine.toml --tune' makes it, with 3 trials of one seed each" in plain.tuned
    (tmp_path / "mine.tuned.toml").write_text(
        "trials = 3\nseeds = 1\nhold_out = 1\n[[lines]]\nrow = 'Full'\ndata = 'here'\n"
        f"settings = '{settings(str(ablation), 'Full')}'\n"
        "trial = 3\nset = { 'train.dropout' = 0.125 }\n"
        "[[lines]]\nrow = 'Base'\ndata = 'here'\nsettings = ''\ntrial = 2\nset = {}\n"
    )
    tuned = paper(str(ablation), out=tmp_path, jobs=1)
    assert tuned.runs["Full, here"][0].scenario.train.dropout == 0.125
    assert tuned.tuned.startswith("Tuned on validation in table '")
    with pytest.raises(ConfigError, match=r"tuned by another table.*fedsim paper .*mine\.toml --t"):
        tune(str(ablation), out=tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"full_download"', '"fedavg"', r"row 'Full' is to be tuned by .* no row of that label"),
        ("[set]", "tuning.trials = [{}]\n[set]", r"but this one has trials of its own; leave out"),
        ("mine.toml", "./ablation.toml", r"but it has none of its own; leave out one"),
        ('"mine.toml"', '"none.toml"', r"no paper table '.*none\.toml'"),
    ],
)
def test_a_table_that_another_cannot_tune_is_refused(
    ablation: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_paper(changed(ablation, old, new))


def call(*arguments: object) -> Any:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("text", ["{", "[]", '{"tried": []}'])
def test_a_damaged_record_is_told_before_anything_is_run(
    text: str, file: Path, tmp_path: Path
) -> None:
    record = tmp_path / "paper" / file.stem / "tuning" / "tuning.json"
    record.parent.mkdir(parents=True)
    record.write_text(text)
    with pytest.raises(ConfigError, match=r"tuning\.json: not what tuning wrote.*delete it"):
        tune(str(file), out=tmp_path, jobs=1)
    assert not runs_of(tmp_path)


def test_from_tuning_to_the_table_by_the_command_line(file: Path, tmp_path: Path) -> None:
    arguments = ("paper", file, "--out", tmp_path, "--jobs", 1, "--quiet", "--methods", "base")
    text = call(*arguments, "--tune")
    assert text.startswith("Rivals: 3 trials of one seed each\n")
    folder = tmp_path / "paper" / "mine" / "tuning"
    record = json.loads((folder / "tuning.json").read_text())
    assert json.loads(call(*arguments, "--tune", "--json")) == record["tried"]
    assert record["budget"]["trials"] == [{"train.lr": 1e-9}, {}, {"train.lr": 0.02}]
    assert (record["budget"]["seeds"], record["budget"]["hold_out"]) == (1, 1)
    (folder / "mine.tuned.toml").rename(tmp_path / "mine.tuned.toml")
    made = json.loads(call(*arguments, "--json"))
    assert made["tuning"]["chosen"] == {"Base, here": {}}
    assert (made["tuning"]["note"], made["tuning"]["seeds"]) == ("A note.", 1)
    page = (tmp_path / "paper" / "mine" / "mine.md").read_text()
    assert "A note.\n\nTuned on validation, 3 trials of one seed each for every row" in page


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '{ "train.dropout" = 0.9 }, ', "",
            r"row 'Full' has 2 trials and the table 3; all rows are tuned with the same budget: "
            r"give it 3, or leave them out",
        ),
        (
            "tune = false", "tune = false\ntrials = [{}, {}, {}]",
            r"row 'Popular' has trials, but tune = false; leave out one",
        ),
        (
            "{},", '{ "evaluation.exclude" = "seen", "strategy.name" = "diet" },',
            r"trials set evaluation\.exclude, strategy\.name; they may set options in train, ",
        ),
        ('note = "A note."', "hold_out = 0", r"'tuning\.hold_out' = 0"),
        ("[tuning]\nnote", "[tuning]\nnot", r"unknown key 'tuning\.not'; did you mean 'note'"),
    ],
)  # fmt: skip
def test_unequal_budgets_and_other_protocols_are_refused(
    file: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_paper(changed(file, old, new))


def test_all_wrong_trials_are_told_at_once_before_anything_is_run(
    file: Path, tmp_path: Path
) -> None:
    name = changed(file, '{}, { "train.lr"', '{ "train.lrr" = 1.0 }, { "strategy.kep"')
    with pytest.raises(ConfigError) as told:
        tune(name, out=tmp_path, jobs=1)
    message = str(told.value)
    assert "trial 2: unknown key 'train.lrr'; did you mean 'lr'?" in message
    assert "trial 3: unknown key 'strategy.kep'" in message
    assert "(row Base)" in message
    assert not (tmp_path / "paper").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"leave_one_out"', "0.5", r"stream\.history = 0\.5: only the test of 'leave_one_out'"),
        ("rounds = 1", 'rounds = 1\n"evaluation.ks" = [5]', r"ks = \[5\]: .* NDCG@10; add 10"),
    ],
)
def test_a_test_that_cannot_be_hidden_is_not_tuned_on(
    file: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        tune(changed(file, old, new), out=tmp_path)


def test_a_table_of_nothing_to_tune_says_so(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to tune; give the table trials, as in"):
        tune(str(file), out=tmp_path, methods=["Popular"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trials = 4\nseeds = 1\nhold_out = 1", r"= \(4, 1, 1\), but the table has \(3, 1, 1\)"),
        (
            "trials = 3\nseeds = 1\nhold_out = 1\n[[lines]]\nrow = 'Base'\ndata = 'here'\n"
            "settings = ''\ntrial = 1\nset = { 'train.lr' = 0.5 }",
            r"row 'Base' has no trial 1 that sets \{'train\.lr': 0\.5\}; tune again \(--tune\)",
        ),
        (
            "trials = 3\nseeds = 1\nhold_out = 1\n[[lines]]\nrow = 'Base'\ndata = 'here'\n"
            "settings = 'others'\ntrial = 2\nset = {}",
            r"^Base, here: tuned under other settings than the table has now; tune again",
        ),
        ("trials = 3\nseeds = 1\nhold_out = 1\nline = []", "unknown key 'line'; did you mean"),
    ],
)
def test_what_was_chosen_by_other_trials_is_refused(
    file: Path, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "mine.tuned.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        paper(str(file), out=tmp_path)


def test_what_was_chosen_is_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "papers").mkdir()
    for name in ("one.toml", "one.tuned.toml"):
        (tmp_path / "papers" / name).touch()
    monkeypatch.setattr(scenarios, "__file__", str(tmp_path / "__init__.py"))
    assert list(paper_specs()) == ["one"]
