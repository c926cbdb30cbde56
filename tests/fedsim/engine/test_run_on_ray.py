"""Whole runs on Ray: the same bytes as in process, whatever the workers and their fate."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("ray")

from fedsim.engine.run import Run, run
from tests.studies import ledger_bytes, tiny

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.usefixtures("local_ray")]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(tiny("diet"), out=tmp_path_factory.mktemp("local"))


@pytest.mark.parametrize("workers", [1, 2])
def test_ledgers_do_not_depend_on_workers(reference: Run, workers: int, tmp_path: Path) -> None:
    scenario = tiny("diet", **{"engine.grid": "ray", "engine.workers": workers})
    assert ledger_bytes(run(scenario, out=tmp_path)) == ledger_bytes(reference)


def test_a_worker_killed_mid_round_changes_nothing(tmp_path: Path) -> None:
    many = {"population.edges": 60, "population.cell_size": 4, "rounds": 4}
    whole = run(tiny("diet", **many), out=tmp_path / "whole")
    killed: list[int] = []
    stop = threading.Event()

    def kill_one_worker() -> None:
        while not stop.is_set():
            begun = list((tmp_path / "ray").glob("tiny/*/state/cell-000003-r000[23].bin"))
            own = psutil.Process().children(recursive=True) if begun else []
            if workers := [process for process in own if "ray::Worker" in title(process)]:
                os.kill(workers[0].pid, signal.SIGKILL)
                killed.append(workers[0].pid)
                return
            time.sleep(0.005)

    watcher = threading.Thread(target=kill_one_worker)
    watcher.start()
    scenario = tiny("diet", **many, **{"engine.grid": "ray", "engine.workers": 2})
    done = run(scenario, out=tmp_path / "ray")
    stop.set()
    watcher.join()
    assert killed, "no worker was found to kill"
    assert ledger_bytes(done) == ledger_bytes(whole)


def title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
