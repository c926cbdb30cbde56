"""Runs: what they write, how they go on after being stopped or killed, what they refuse."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedsim.engine.run import Interrupted, Run, resume, run
from fedsim.errors import ConfigError, RunError, StoreError
from fedsim.scenario import ScenarioConfig
from fedsim.study import compare
from tests.studies import StopAfter, ledger_bytes, tiny


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def test_a_run_directory_tells_what_was_run(tmp_path: Path) -> None:
    done = run(tiny("diet"), out=tmp_path)
    assert done.scenario == tiny("diet")
    environment = json.loads((done.path / "env.json").read_text())
    assert environment["seed"] == 0
    assert environment["packages"]["flwr"].startswith("1.41")
    assert done.path.name.endswith(tiny("diet").identity()[:8])


def test_the_ledger_of_a_tiny_run_by_hand(tmp_path: Path) -> None:
    """Bytes follow from sizes: 5 items of 2 bytes and 6 of header up, a mask and 12 down."""
    done = run(tiny("diet"), out=tmp_path)
    ledger, edges = done.ledger, done.edges
    later = ledger[ledger["round"] > 0]
    assert set(later.uplink_bytes) == {5 * 2 + 6}
    assert set(later.downlink_bytes) == {40_960 // 8 + 12}
    assert set(later.paper_bits) == {40_960}
    assert (later.stale_rounds == 0).all()
    shared = 40_960 * 4
    assert (edges.shared_stored_bytes >= shared).all()
    assert (edges.shared_stored_bytes < shared + 200).all()
    provision = ledger[ledger["round"] == 0]
    assert (provision.candidate_bytes > 61 * 64 * 4).all()
    assert set(provision.paper_bits) == {40_960}
    up, down = later.uplink_bytes * 8e-3 / 3, later.downlink_bytes * 8e-3 / 4
    assert later.latency_ms.to_numpy() == pytest.approx((20 + up + down).to_numpy(), rel=1e-5)


def test_what_is_shipped_once_has_a_size_by_the_papers_rule(tmp_path: Path) -> None:
    """32 bits a weight of Base; 64 a kept weight, a tenth of each layer, of a pruned model."""
    for strategy, bits in (("static", 32 * 40_960), ("random_prune", 64 * 10 * 410)):
        ledger = run(tiny(strategy), out=tmp_path).ledger
        assert set(ledger[ledger["round"] == 0].paper_bits) == {bits}
        assert set(ledger[ledger["round"] > 0].paper_bits) == {0}


def test_an_edge_that_does_not_ask_keeps_its_answer(tmp_path: Path) -> None:
    done = run(tiny("diet", **{"request": {"name": "every_k", "k": 2}}), out=tmp_path)
    by_round = done.ledger.groupby("round")[["requested", "downlink_bytes", "stale_rounds"]].max()
    assert by_round.requested.tolist() == [False, True, False, True]
    assert by_round.downlink_bytes.tolist()[2] == 0
    assert by_round.stale_rounds.tolist() == [0, 0, 1, 0]


def test_a_bucket_pays_when_it_is_full_enough(tmp_path: Path) -> None:
    """A diet costs 5,148 bytes up and down: at 2,600 a round every second round pays."""
    budget = {"budget.bytes_per_round": 2600.0, "budget.burst_bytes": 5200.0}
    ledger = run(tiny("diet", rounds=4, **budget), out=tmp_path).ledger
    by_round = ledger.groupby("round")[["answered", "refused", "stale_rounds"]].max()
    assert by_round.answered.tolist() == [False, False, True, False, True]
    assert by_round.refused.tolist() == [False, True, False, True, False]
    assert by_round.stale_rounds.tolist() == [0, 1, 0, 1, 0]


def test_an_edge_whose_request_was_refused_asks_again(tmp_path: Path) -> None:
    changes = {"request": {"name": "every_k", "k": 6}, "budget.bytes_per_round": 2000.0}
    by_round = run(tiny("diet", rounds=4, **changes), out=tmp_path).ledger.groupby("round")
    assert by_round.requested.max().tolist() == [False, True, True, True, False]
    assert by_round.answered.max().tolist() == [False, False, False, True, False]


def test_edges_that_cannot_train_are_not_refused(tmp_path: Path) -> None:
    ledger = run(tiny("fedavg", **{"data.length": 4}), out=tmp_path).ledger
    assert not ledger.refused.any()
    assert ledger.answered.any()


def test_candidates_are_paid_by_the_round_and_not_in_advance(tmp_path: Path) -> None:
    ledger = run(tiny("static", **{"evaluation.candidates": 20}), out=tmp_path).ledger
    paid = ledger.groupby("round").candidate_bytes.max().tolist()
    assert paid == [0] + [20 * (4 + 4 * 64)] * 3


def test_another_provision_than_the_run_began_with_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Interrupted) as stopped:
        run(tiny("static"), out=tmp_path, display=StopAfter(1))
    began = stopped.value.path / "provision"
    began.write_text("provision-00000000\n")
    with pytest.raises(RunError, match=r"began with provision-00000000, but training gives"):
        resume(stopped.value.path)


def test_killed_mid_round_a_run_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    scenario = tiny("diet", rounds=6)
    whole = run(scenario, out=tmp_path / "whole")
    out = tmp_path / "killed"
    code = (
        "import sys; from tests.studies import tiny; from fedsim.engine.run import run;"
        "run(tiny('diet', rounds=6), out=sys.argv[1])"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(out)], cwd=Path.cwd())
    deadline = time.monotonic() + 120
    while not list(out.glob("tiny/*/ledger/round-00002.parquet")):
        assert child.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    path = next(out.glob("tiny/*"))
    assert 2 <= Run(path).rounds_done < 6
    assert ledger_bytes(resume(path)) == ledger_bytes(whole)


def test_a_round_is_on_disk_before_the_ledger_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every flush all the round's files are there, but for the ledger's."""
    seen = []

    def note() -> None:
        files = {file.name for file in tmp_path.rglob("*") if file.is_file()}
        rounds = range(4)
        cells = {r: sum(f"-r{r:04d}.bin" in name for name in files) for r in rounds}
        booked = [r for r in rounds if f"round-{r:05d}.parquet" in files]
        kept = sorted(file.name for file in tmp_path.rglob("learnt-*"))
        seen.append((max(booked, default=-1), [r for r in rounds if cells[r] == 3], kept))

    monkeypatch.setattr("fedsim.files.os.sync", note)
    run(tiny("full_download", **{"controls.every": 0}), out=tmp_path)
    learnt = [f"learnt-r{r:04d}.safetensors" for r in range(4)]
    assert seen == [
        (-1, [], []),
        (0, [1], learnt[1:2]),
        (1, [1, 2], learnt[1:3]),
        (2, [2, 3], learnt[2:4]),
    ]


@pytest.mark.parametrize(
    "strategy",
    [
        {"name": "diet", "codec": "delta"},
        {"name": "full_download", "steps": 2},
        {"name": "fedavg"},
    ],
    ids=["delta's mirror", "learns on line", "learns on edges"],
)
def test_stopped_at_any_file_of_a_round_a_run_resumes_to_the_same_bytes(
    strategy: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a round writes appears file by file: stop just before and just after each."""
    scenario = tiny(strategy, **{"population.edges": 12, "population.cell_size": 6})
    whole = ledger_bytes(run(scenario, out=tmp_path / "whole"))
    replace = Path.replace
    points = 0
    while True:
        out = tmp_path / str(points)
        begun: list[Path] = []

        def stopping(self: Path, target: Path, begun: list[Path] = begun, at: int = points) -> Path:
            if begun or "r0002" in target.name or "round-00002" in target.name:
                begun.append(target)
            if len(begun) == at // 2 + 1 and at % 2 == 0:
                raise KeyboardInterrupt
            moved = replace(self, target)
            if len(begun) == at // 2 + 1:
                raise KeyboardInterrupt
            return moved

        monkeypatch.setattr(Path, "replace", stopping)
        stopped = _stopped(scenario, out)
        monkeypatch.setattr(Path, "replace", replace)
        if stopped is None:
            break
        assert ledger_bytes(resume(stopped)) == whole
        points += 1
    assert points >= 10


def _stopped(scenario: ScenarioConfig, out: Path) -> Path | None:
    try:
        run(scenario, out=out)
    except Interrupted as stopped:
        return stopped.path
    return None


def test_parts_that_do_not_go_together_leave_no_directory(tmp_path: Path) -> None:
    scenario = tiny("static", **{"evaluation.candidates": 61})
    for start in (
        lambda: run(scenario, out=tmp_path),
        lambda: compare(scenario, ["static"], out=tmp_path),
    ):
        with pytest.raises(ConfigError, match=r"candidates = 61, but channel 'home' has only 60"):
            start()
    assert not list(tmp_path.rglob("scenario.toml"))


def test_weights_that_diverge_are_told_with_the_edge(tmp_path: Path) -> None:
    scenario = tiny({"name": "fedavg", "lr": 1e30})
    with pytest.raises(RunError, match=r"edge \d+, channel 0, round 1: its scores are not numb"):
        run(scenario, out=tmp_path)


def test_a_run_keeps_a_log(tmp_path: Path) -> None:
    with pytest.raises(Interrupted) as stopped:
        run(tiny("static"), out=tmp_path, display=StopAfter(2))
    resume(stopped.value.path)
    log = (stopped.value.path / "run.log").read_text()
    assert [f"round {number}: hit_10 " in log for number in (1, 2, 3)] == [True] * 3
    assert logging.getLogger("fedsim").handlers == []


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    done = run(tiny("static"), out=tmp_path)
    before = {name: os.stat(done.path / name).st_mtime_ns for name in ledger_bytes(done)}
    assert resume(done.path).path == done.path
    assert before == {name: os.stat(done.path / name).st_mtime_ns for name in before}


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match=r"resume with: fedsim run --resume .*tiny") as stopped:
        run(tiny("static"), out=tmp_path, display=StopAfter(2))
    assert resume(stopped.value.path).rounds_done == 3


def test_two_processes_do_not_go_on_with_one_run(tmp_path: Path) -> None:
    with pytest.raises(Interrupted) as stopped:
        run(tiny(), out=tmp_path, display=StopAfter(1))
    code = (
        "import sys, pathlib, fedsim.engine.directory as directory\n"
        "with directory.only_here(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    path = stopped.value.path
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    before = ledger_bytes(Run(path))
    with pytest.raises(RunError, match=r"another process is at this run; wait until it ends"):
        resume(path)
    assert ledger_bytes(Run(path)) == before
    other.kill()
    other.wait()
    assert resume(path).rounds_done == 3


def test_a_run_of_another_scenario_is_not_resumed(tmp_path: Path) -> None:
    done = run(tiny("static"), out=tmp_path)
    other = tiny("static", **{"evaluation.exclude": "seen", "engine.workers": 2})
    with pytest.raises(RunError, match=r"another scenario: evaluation\.exclude = 'seen'"):
        resume(done.path, scenario=other)
    assert resume(done.path, scenario=tiny("static", **{"engine.workers": 2})).path == done.path


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run directory: it has no scenario\.toml"):
        resume(tmp_path)


def test_a_missing_round_in_the_middle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Interrupted) as stopped:
        run(tiny("static"), out=tmp_path, display=StopAfter(2))
    (stopped.value.path / "ledger" / "round-00001.parquet").unlink()
    with pytest.raises(StoreError, match=r"round-00001.parquet is missing"):
        resume(stopped.value.path)


def test_a_full_disk_loses_nothing_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tiny("static"), out=tmp_path / "whole")
    replace, calls = Path.replace, []

    def full(self: Path, target: Path) -> Path:
        calls.append(target)
        if "cell-000001-r0002" in str(target):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StoreError, match=r"cell-000001-r0002.*disk is full; free some space"):
        run(tiny("static"), out=tmp_path / "full")
    monkeypatch.undo()
    path = next((tmp_path / "full").glob("tiny/*"))
    assert Run(path).rounds_done == 1
    assert ledger_bytes(resume(path)) == ledger_bytes(whole)
