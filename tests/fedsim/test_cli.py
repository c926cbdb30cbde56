import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner

import fedsim.display
from fedsim.cli import _common, app
from fedsim.engine.run import Interrupted, Run
from fedsim.errors import RunError, StoreError
from fedsim.scenario import load_scenario
from fedsim.study import Variant, _job
from strategies.static import Static
from tests.studies import LONG, alive, study_of_two, wait_until

VERBS = ("run", "compare", "report", "paper", "cost", "list", "doctor", "data fetch", "data stats")


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    fedsim.display.console.cache_clear()


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def succeed(*arguments: object) -> str:
    done = call(*arguments)
    assert done.exit_code == 0, done.stderr
    return str(done.stdout)


def fail(code: int, *arguments: object) -> str:
    done = call(*arguments)
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    return str(done.stderr)


def test_every_verb_is_tested_here() -> None:
    root = get_command(app)
    assert isinstance(root, click.Group)
    named = {
        f"{name} {inner}".strip()
        for name, verb in root.commands.items()
        for inner in (verb.commands if isinstance(verb, click.Group) else [""])
    }
    assert named == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_an_example_of_the_verb(verb: str) -> None:
    assert re.search(rf"Example: +fedsim {verb}", succeed(*verb.split(), "--help"))


def test_version_is_the_packages() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\s*", succeed("--version"))


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from fedsim.cli import app; "
        "sys.exit(','.join({'torch', 'flwr', 'ray', 'pandas', 'numba'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---- run ----------------------------------------------------------------------------------


def test_run_keeps_a_ledger_and_tells_where(tiny_file: Path, tmp_path: Path) -> None:
    told = json.loads(succeed("run", tiny_file, "--out", tmp_path, "--json"))
    run = Run(Path(told[0]["paths"][0]))
    assert run.path.parent == tmp_path / "tiny"
    assert set(run.ledger["round"]) == {0, 1, 2}


def test_short_options_and_set_change_the_scenario(tiny_file: Path, tmp_path: Path) -> None:
    out = succeed(
        *("run", tiny_file, "--out", tmp_path, "--json", "--rounds", 1, "--edges", 7),
        *("--seed", 3, "--set", "evaluation.ks=[5, 10]", "--set", "stream.history=0.4"),
    )
    scenario = Run(Path(json.loads(out)[0]["paths"][0])).scenario
    assert (scenario.rounds, scenario.population.edges, scenario.seed) == (1, 7, 3)
    assert (scenario.evaluation.ks, scenario.stream.history) == ((5, 10), 0.4)


def test_progress_is_a_line_a_round_on_standard_error(
    tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path / "empty"))  # what is found is not trained
    done = call("run", tiny_file, "--out", tmp_path)
    assert [line.split()[1] for line in done.stderr.splitlines() if line.startswith("round")] == [
        "1/2",
        "2/2",
    ]
    assert "training base/home: 0 of " in done.stderr
    assert "round 1/2" not in done.stdout
    assert call("run", tiny_file, "--out", tmp_path, "--quiet").stderr == ""


def test_ctrl_c_says_how_to_go_on(
    tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: fedsim.display.Display, round: int, metrics: Mapping[str, float]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fedsim.display.Display, "round", stop)
        told = fail(130, "run", tiny_file, "--out", tmp_path)
    found = re.search(r"resume with: fedsim run --resume (\S+)", told)
    assert found
    resumed = json.loads(succeed("run", "--resume", found[1], "--json"))
    assert Run(Path(resumed[0]["paths"][0])).rounds_done == 2


def test_ctrl_c_in_a_study_says_how_to_go_on(
    tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fedsim.job.resume", stop)
    arguments = ("compare", tiny_file, "--strategies", "static", "--jobs", 1, "--out", tmp_path)
    kept = "interrupted; finished runs are kept, the same command goes on with the others\n"
    assert fail(130, *arguments).endswith(kept)


@pytest.mark.parametrize("hear", ["all", "first"])
def test_ctrl_c_again_and_again_ends_a_study_in_one_line(
    hear: str, tiny_file: Path, tmp_path: Path
) -> None:
    """A terminal tells all processes of Ctrl-C; `kill -INT` only the first of them."""
    study = study_of_two(tiny_file, tmp_path)
    begun = tmp_path / "tiny" / "compare"
    try:
        wait_until(lambda: len(list(begun.glob("*/run.log"))) == 2)
        for _ in range(3):
            (os.killpg if hear == "all" else os.kill)(study.pid, signal.SIGINT)
            time.sleep(0.1)
        told = study.communicate(timeout=60)[1]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(study.pid, signal.SIGKILL)
    assert told == "interrupted; finished runs are kept, the same command goes on with the others\n"
    assert study.returncode == 130
    assert not list(begun.glob("*/**/*.tmp"))


def test_a_study_that_is_killed_takes_its_processes_with_it(
    tiny_file: Path, tmp_path: Path
) -> None:
    study = study_of_two(tiny_file, tmp_path)
    try:
        wait_until(lambda: len(list(tmp_path.glob("tiny/compare/*/run.log"))) == 2)
        study.kill()
        study.communicate(timeout=60)
        wait_until(lambda: not alive(study.pid))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(study.pid, signal.SIGKILL)


def test_a_run_that_fails_ends_a_study_at_once(tiny_file: Path, tmp_path: Path) -> None:
    """The others' finished rounds are kept; nobody waits for what is left of them."""
    begun = tmp_path / "tiny" / "compare"
    begun.mkdir(parents=True)
    scenario = load_scenario(tiny_file, changes=LONG)
    variant = Variant("popularity", {"strategy.name": "popularity"})
    _job(scenario, variant, 0, begun).path.write_text("no folder")
    study = study_of_two(tiny_file, tmp_path)
    try:
        told = study.communicate(timeout=120)[1]
        wait_until(lambda: not alive(study.pid))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(study.pid, signal.SIGKILL)
    assert study.returncode == 1
    assert told.startswith("fedsim: ")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    "verb", [["compare", "--strategies", "static"], ["paper"], ["paper", "--tune"]]
)
def test_every_study_asks_the_ray_that_is_named(
    verb: list[str], tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster that is not there is told before anything is computed."""

    def start(workers: int, address: str | None, object_store_bytes: int) -> bool:
        raise RunError(f"no cluster at {address} for {workers} workers")

    monkeypatch.setattr("fedsim.engine.ray_tasks.start_ray", start)
    table = tmp_path / "mine.toml"
    table.write_text(TUNED.format(scenario=tiny_file))
    named = tiny_file if verb[0] == "compare" else table
    options = ("--ray-address", "head:6379", "--jobs", 3, "--out", tmp_path / "out", "--quiet")
    told = fail(1, verb[0], named, *verb[1:], *options)
    assert told == "fedsim: no cluster at head:6379 for 1 workers\n"
    assert not (tmp_path / "out").exists()


TUNED = """
title = "Mine"
scenario = "{scenario}"
[set]
"stream.history" = "leave_one_out"
[tuning]
trials = [{{}}]
[[rows]]
label = "Base"
set = {{ "strategy.name" = "static" }}
"""


def test_ctrl_c_in_training_does_not_speak_of_rounds(
    tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("strategies.static.Static.fit", stop)
    told = fail(130, "run", tiny_file, "--out", tmp_path)
    assert "interrupted; no round was committed, resume with: fedsim run --resume /" in told


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc, where nobody makes folders")
def test_a_folder_that_cannot_be_made_is_named(tiny_file: Path) -> None:
    told = fail(1, "run", tiny_file, "--out", "/proc/fedsim")
    assert "there is no /proc/fedsim, and it cannot be made; choose another folder" in told


def test_an_error_in_mid_run_says_how_to_go_on(
    tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: fedsim.display.Display, round: int, metrics: Mapping[str, float]) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(fedsim.display.Display, "round", stop)
    told = fail(1, "run", tiny_file, "--out", tmp_path, "--quiet")
    assert told.startswith("fedsim: the disk is full; resume with: fedsim run --resume ")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("evaluation.candidates=61", "candidates = 61, but channel 'home' has only 60 items"),
        ("drift={name='sudden', at=3}", "drift at round 3, but the run has 2 rounds"),
        (
            "strategy={name='diet', codec='dense'}",
            "is of kind 'mask'; choose one of bitmask, csr, delta, entropy",
        ),
    ],
)
def test_parts_that_do_not_fit_are_told_before_a_directory_is_made(
    override: str, message: str, tiny_file: Path, tmp_path: Path
) -> None:
    told = fail(1, "run", tiny_file, "--out", tmp_path / "runs", "--set", override)
    assert message in told
    assert "resume with" not in told
    assert not (tmp_path / "runs").exists()


def test_strategy_keeps_the_options_set_beside_it(tiny_file: Path) -> None:
    chosen = load_scenario(tiny_file, ["strategy.keep=0.2"], _common.changes(strategy="diet"))
    assert chosen.strategy.model_dump()["keep"] == 0.2


def test_an_interruption_pickles() -> None:
    stopped = Interrupted(Path("runs/tiny/1"))
    again = pickle.loads(pickle.dumps(stopped))
    assert (str(again), again.path) == (str(stopped), stopped.path)


def test_resume_refuses_another_scenario(tiny_file: Path, tmp_path: Path) -> None:
    path = json.loads(succeed("run", tiny_file, "--out", tmp_path, "--json"))[0]["paths"][0]
    told = fail(1, "run", "--resume", path, "--set", "population.edges=13")
    assert "is a run of another scenario: population.edges = 13 (the run has 12)" in told
    told = fail(1, "run", tiny_file, "--seed", 9, "--resume", path)
    assert "is a run of another scenario: seed = 9 (the run has 0)" in told
    told = fail(1, "run", "--resume", path, "--strategy", "popularity", "--rounds", 9)
    assert "scenario: strategy.name = 'popularity' (the run has 'static'), rounds = 9 (the" in told
    told = fail(1, "run", "quickstart", "--resume", path)
    assert "scenario: name = 'quickstart' (the run has 'tiny'), strategy.name = " in told
    assert re.search(r" and \d+ more; resume it without naming a scenario", told)
    succeed("run", tiny_file, "--resume", path, "--workers", 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "quickstat"], "no scenario file 'quickstat'; did you mean 'quickstart'?"),
        (["run", "quickstart", "--set", "rouns=3"], "unknown key 'rouns'; did you mean 'rounds'?"),
        (["run", "quickstart", "--set", "rounds"], "override 'rounds' is not of the form"),
        (["run", "quickstart", "--rounds", "0"], "'rounds' = 0: Input should be greater"),
        (["run", "quickstart", "--strategy", "dieet"], "did you mean 'diet'?"),
        (["run", "--resume", "nowhere"], "nowhere is no run directory"),
        (["compare", "quickstart", "--strategies", "static,static"], "named once each"),
        (["compare", "quickstart", "--strategies", "static,dieet"], "did you mean 'diet'?"),
        (["list", "strategy"], "unknown family 'strategy'; did you mean 'strategies'?"),
        (["cost", "--backbone", "sasrek"], "did you mean 'sasrec'?"),
        (["data", "fetch", "ml-10k"], "no data set 'ml-10k' to fetch; did you mean 'ml-100k'?"),
        (["data", "stats", "ml-100"], "no scenario 'ml-100'; did you mean 'ml-100k'? allowed: "),
        (["data", "stats", "foo"], "; get ml-100k or ml-1m with `fedsim data fetch ml-100k`"),
        (["report", "nowhere"], "nowhere"),
        (["paper", "ml-10k"], "did you mean 'ml-100k'?"),
    ],
)
def test_a_mistake_is_told_on_standard_error_with_code_1(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = fail(1, *arguments)
    assert message in told
    assert told.startswith("fedsim: ")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [["run"], ["run", "quickstart", "--rounds", "x"], ["compare", "quickstart"], ["runn"]],
)
def test_wrong_usage_is_code_2(arguments: list[str]) -> None:
    fail(2, *arguments)


# ---- the other verbs ----------------------------------------------------------------------


def test_compare_sets_an_option_for_all_that_have_it(tiny_file: Path, tmp_path: Path) -> None:
    named = ("compare", tiny_file, "--strategies", "static,diet,dieting")
    arguments = (*named, "--jobs", 1, "--out", tmp_path, "--set", "rounds=1", "--set")
    done = call(*arguments, "strategy.keep=0.5")
    assert "strategy.keep is left out where there is none: static\n" in done.stderr
    runs = [Run(file.parent) for file in tmp_path.glob("*/*/*/scenario.toml")]
    kept: dict[str, Any] = {run.scenario.strategy.name: run.scenario.strategy for run in runs}
    assert (kept["diet"].keep, kept["dieting"].keep) == (0.5, 0.5)
    told = fail(1, *arguments, "strategy.kepe=0.5")
    assert "no strategy here has an option 'kepe'; did you mean 'keep'?" in told


def test_compare_prints_a_line_a_strategy(tiny_file: Path, tmp_path: Path) -> None:
    arguments = ("compare", tiny_file, "--strategies", "static,diet", "--jobs", 1)
    rows = json.loads(succeed(*arguments, "--out", tmp_path, "--json"))
    assert {row["label"] for row in rows} == {"static", "diet"}
    text = succeed(*arguments, "--out", tmp_path)
    assert "static" in text
    assert "diet" in text


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (80, ["strategy NDCG@10 paper up / round stored", "[best] 0.1741 [0.1612, 0.1881] 0.2"]),
        (45, ["strategy NDCG@10 paper", "[best] 0.1741 [0.1612, 0.1881] 0.2", "0 B 168 kB"]),
        (38, ["strategy NDCG@10 paper", "strategy up / round stored", "[best] 0 B 168 kB"]),
    ],
)
def test_a_table_too_wide_for_the_terminal_goes_on_below(
    width: int,
    expected: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(_common, "out", lambda: Console(width=width, highlight=False))
    columns = ["strategy", "NDCG@10", "paper", "up / round", "stored"]
    _common.print_table(columns, [["[best]", "0.1741 [0.1612, 0.1881]", "0.2", "0 B", "168 kB"]])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    told = "\n".join(" ".join(line.split()) for line in lines)
    assert all(text in told for text in expected), told


TABLE = """
title = "Two rivals"
scenario = "{scenario}"
seeds = 2
pairs = [["Neighbours", "{label}"]]
[[rows]]
label = "{label}"
group = "all items"
set = {{ "strategy.name" = "popularity" }}
paper = {{ ndcg_10 = 0.0625 }}
goal = {{ hit_10 = 0.9375 }}
[[rows]]
label = "Neighbours"
group = "all items"
set = {{ "strategy.name" = "cooccurrence" }}
"""


def accuracies(runs: Iterable[Path], metric: str) -> float:
    """A metric of some runs, the mean over them, from their ledgers alone."""
    served = [Run(path).ledger.query("round > 0") for path in runs]
    return float(np.mean([rows[metric].sum() / rows["targets"].sum() for rows in served]))


def test_paper_prints_measured_beside_published_and_wanted(tiny_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(TABLE.format(scenario=tiny_file, label="Popular (all)"))
    arguments = ("paper", file, "--out", tmp_path, "--jobs", 1, "--quiet")
    made = json.loads(succeed(*arguments, "--json"))
    popular, rival = made["rows"]
    (pair,) = made["pairs"]
    assert [row["label"] for row in made["rows"]] == ["Popular (all)", "Neighbours"]
    assert (made["title"], popular["group"], popular["seeds"]) == ("Two rivals", "all items", 2)
    assert (popular["paper"], popular["goal"]) == ({"ndcg_10": 0.0625}, {"hit_10": 0.9375})
    folder = tmp_path / "paper" / "mine"
    for row, name in ((popular, "Popular"), (rival, "Neighbours")):
        runs = sorted(folder.glob(f"{name}-*"))
        assert len(runs) == 2
        assert row["NDCG@10"] == pytest.approx(accuracies(runs, "ndcg_10"))
        assert row["Hit@10"] == pytest.approx(accuracies(runs, "hit_10"))
    assert pair["value"] == pytest.approx(rival["NDCG@10"] - popular["NDCG@10"])
    assert pair["low"] <= pair["value"] <= pair["high"]

    told = call(*arguments[:-1])
    text = told.stdout
    assert told.stderr.startswith(f"runs are kept in {folder}\n")
    assert f"written to {folder}: mine.json, " in text
    assert text.startswith("Two rivals\n\nall items\n")
    line = next(line for line in text.splitlines() if line.startswith("Popular (all)"))
    ndcg = f"{popular['NDCG@10']:.4f} [{popular['NDCG@10_low']:.4f}, {popular['NDCG@10_high']:.4f}]"
    assert ndcg in line
    assert re.search(r"\] +0\.0625 .*\] +0\.9375 ", line)
    side = "above" if popular["NDCG@10"] > 0.0625 else "below"
    assert f"- Popular (all): NDCG@10 {ndcg} is {side} the paper's 0.0625\n" in text
    value = f"{pair['value']:+.4f}".replace("-", "\u2212")
    assert f"- Neighbours \u2212 Popular (all), NDCG@10: {value} [" in text


def test_paper_writes_its_table_and_figure(tiny_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(TABLE.format(scenario=tiny_file, label="Popular_all"))
    arguments = ("paper", file, "--out", tmp_path, "--jobs", 1, "--quiet", "--seeds", 1)
    made = json.loads(succeed(*arguments, "--json"))
    folder = tmp_path / "paper" / "mine"
    assert json.loads((folder / "mine.json").read_text()) == made
    page, latex = ((folder / f"mine.{kind}").read_text() for kind in ("md", "tex"))
    assert page.startswith("# Two rivals\n\n## all items\n\n| strategy | seeds | NDCG@10 | paper |")
    assert r"Popular\_all & 1 & " in latex
    assert "Popular_all" in (folder / "mine.svg").read_text()
    assert (folder / "mine.png").stat().st_size > 1000
    one = json.loads(succeed(*arguments, "--json", "--methods", "popular_ALL"))
    assert [row["label"] for row in one["rows"]] == ["Popular_all"]
    assert one["pairs"] == []


PLACES = """
title = "Two places"
scenario = "{scenario}"
[data.here]
[data.there]
title = "There"
set = {{ "data.name" = "movielens", "data.path" = "nowhere" }}
get = "ask the owner for it"
[backbones.sasrec]
[backbones.caser]
[[rows]]
label = "Everywhere"
set = {{ "strategy.name" = "popularity" }}
on.there.caser.paper = {{ ndcg_10 = 0.5 }}
[[rows]]
label = "SASRec alone"
backbones = ["sasrec"]
set = {{ "strategy.name" = "cooccurrence" }}
"""


UNSEEN = """
title = "Whose accuracy counts"
scenario = "{scenario}"
seeds = 1
set = {{ "population.ood_fraction" = 0.5 }}
[data.everybody]
[data.unseen]
edges = "unseen"
[[rows]]
label = "Popular"
set = {{ "strategy.name" = "popularity" }}
"""


def test_a_data_set_says_whose_accuracy_counts(tiny_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(UNSEEN.format(scenario=tiny_file))
    made = json.loads(succeed("paper", file, "--out", tmp_path, "--jobs", 1, "--quiet", "--json"))
    (run,) = (Run(each.parent) for each in tmp_path.glob("paper/mine/*everybody*/scenario.toml"))
    served = run.ledger[run.ledger["round"] > 0].merge(run.edges[["edge", "ood"]])
    for row, kept in zip(made["rows"], (served, served[served["ood"]]), strict=True):
        assert row["NDCG@10"] == pytest.approx(kept["ndcg_10"].sum() / kept["targets"].sum())
    assert made["rows"][0]["NDCG@10"] != made["rows"][1]["NDCG@10"]


def test_paper_runs_what_it_finds_data_for(tiny_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(PLACES.format(scenario=tiny_file))
    arguments = ("paper", file, "--out", tmp_path, "--jobs", 1, "--quiet", "--seeds", 1)
    made = json.loads(succeed(*arguments, "--json"))
    lines = [(row["data"], row["backbone"], row["label"]) for row in made["rows"]]
    assert lines == [
        ("here", "sasrec", "Everywhere"),
        ("here", "sasrec", "SASRec alone"),
        ("here", "caser", "Everywhere"),
    ]
    assert set(made["missing"]) == {"there"}
    assert made["missing"]["there"].startswith("there: no data at 'nowhere'")
    assert "Not there: there." in (tmp_path / "paper" / "mine" / "mine.md").read_text()
    one = json.loads(succeed(*arguments, "--json", "--data", "here", "--backbone", "gru4rec"))
    assert [(row["backbone"], row["label"]) for row in one["rows"]] == [("gru4rec", "Everywhere")]
    none = fail(1, *arguments, "--data", "here", "--backbone", "caser", "--methods", "SASRec alone")
    assert "no line is left: row 'SASRec alone' has sasrec alone; give --backbone one" in none


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--data", "there"), "there: no data at 'nowhere' (looked at "),
        (("--data", "there=elsewhere"), "there: no data at 'elsewhere' (looked at "),
        (("--data", "there"), "; ask the owner for it"),
        (("--data", "hre"), "no data set 'hre'; did you mean 'here'?"),
        (("--backbone", "sasrek"), "did you mean 'sasrec'?"),
        (("--methods", "Everwhere"), "no method 'Everwhere'; did you mean 'Everywhere'?"),
    ],
)
def test_paper_names_what_it_does_not_have(
    more: tuple[str, str], message: str, tiny_file: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(PLACES.format(scenario=tiny_file))
    assert message in fail(1, "paper", file, "--out", tmp_path, "--jobs", 1, "--quiet", *more)


def test_paper_takes_runs_whose_label_was_reworded(tiny_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    arguments = ("paper", file, "--out", tmp_path, "--jobs", 1, "--quiet", "--json")
    file.write_text(TABLE.format(scenario=tiny_file, label="Popular (all)"))
    before = json.loads(succeed(*arguments, "--seeds", 1))
    file.write_text(TABLE.format(scenario=tiny_file, label="Popular [all]"))
    after = json.loads(succeed(*arguments, "--seeds", 2))
    assert [row["label"] for row in after["rows"]] == ["Popular [all]", "Neighbours"]
    assert [row["seeds"] for row in before["rows"] + after["rows"]] == [1, 1, 2, 2]
    assert len(list((tmp_path / "paper" / "mine").glob("Popular-*"))) == 2
    text = succeed(*arguments[:-1])
    assert "\nPopular [all]  " in text
    assert "\n- Neighbours \u2212 Popular [all], NDCG@10: " in text


def test_report_writes_one_page(tiny_file: Path, tmp_path: Path) -> None:
    path = json.loads(succeed("run", tiny_file, "--out", tmp_path, "--json"))[0]["paths"][0]
    page = Path(succeed("report", path).splitlines()[0])
    assert page.name == "report.html"
    assert page.stat().st_size > 1000


def test_cost_prints_the_papers_figures() -> None:
    text = succeed("cost", "--keep", "0.3", "--channels", "3")
    sasrec = next(line for line in text.splitlines() if line.startswith("sasrec"))
    assert sasrec.split() == ["sasrec", "40,960", "1.3107", "0.0410", "0.7864", "0.2086"]
    caser = next(line for line in text.splitlines() if line.startswith("caser"))
    assert caser.split()[:4] == ["caser", "15,380", "0.4922", "0.0154"]
    assert caser.split()[-1] == "0.0586"
    storage = json.loads(succeed("cost", "--backbone", "sasrec", "--channels", 3, "--json"))
    n = 40_960
    assert storage[0]["storage"][2] == {
        "channels": 3,
        "base_bits": 32 * n * 3,
        "diet_bits": 32 * n + 3 * n,
        "dieting_bits": 32 * 4096 + 3 * n,
    }


def test_list_knows_every_family(tmp_path: Path) -> None:
    found = json.loads(succeed("list", "--json"))
    assert set(found) == {
        *("scenarios", "strategies", "codecs", "drifts", "datasets", "backbones", "policies")
    }
    assert all(line for rows in found.values() for line in rows.values())
    assert "sudden" in succeed("list", "drifts")
    assert "sasrec" not in succeed("list", "drifts")


def test_list_does_not_say_of_a_class_what_its_base_is(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = type("Silent", (Static,), {})
    monkeypatch.setattr("fedsim.plugins.load", lambda *_: silent)
    assert json.loads(succeed("list", "strategies", "--json"))["strategies"]["static"] == ""


def test_data_stats_of_a_synthetic_scenario(tiny_file: Path) -> None:
    rows = json.loads(succeed("data", "stats", tiny_file, "--json"))[str(tiny_file)]
    assert rows[0]["channel"] == "home"
    assert rows[0]["items"] == 60


def test_data_stats_says_what_to_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDSIM_DATA", str(tmp_path))
    assert "run `fedsim data fetch ml-100k`" in fail(1, "data", "stats")


def test_doctor_tells_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDSIM_DATA", str(tmp_path))
    findings = {row["what"]: row for row in json.loads(succeed("doctor", "--json"))}
    assert findings["python"]["state"] == "ok"
    assert findings["data ml-100k"]["state"] == "note"
    assert "fedsim data fetch ml-100k" in findings["data ml-100k"]["advice"]
    told = succeed("doctor")
    assert "fedsim data fetch ml-100k" in told
    assert re.search(r"fedsim can run; what is marked note \(\d\) only some scenarios or", told)
    assert told.endswith("; begin with: fedsim run quickstart\n")


def test_doctor_prints_extras_of_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "fedsim.doctor.version", lambda name: "1.0" if name == "flwr" else version(name)
    )
    done = call("doctor")
    assert done.exit_code == 1
    assert "pip install -c constraints.txt 'flwr[simulation]==1.41.*'" in done.stdout
    assert done.stdout.endswith("fedsim cannot run yet: first mend what is marked bad (1)\n")
