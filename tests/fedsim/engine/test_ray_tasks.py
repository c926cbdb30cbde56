"""Studies as Ray tasks: the same bytes as on this machine, and runs that survive their tasks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("ray")
import ray

from fedsim.engine.directory import only_here
from fedsim.engine.run import Run
from fedsim.errors import ConfigError, RunError
from fedsim.study import Variant, _job, compare, run_variants
from tests.studies import ledger_bytes, study_of_two, tiny, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.usefixtures("local_ray")]

ROOT = Path(__file__).parents[3]
FATES = "tests.fedsim.engine.fates"
BOTH = ["static", "popularity"]


def on_ray(out: Path, *strategies: str, **options: object) -> list[Run]:
    return compare(tiny(), strategies, out=out, ray_address="local", **options)  # type: ignore[arg-type]


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return where the Ray of these tests takes commands of other processes.

    It listens on 127.0.0.1 only, which Ray replaces in any address unless clusters are off.
    """
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    return str(ray.get_runtime_context().gcs_address)


def test_ledgers_and_lines_are_those_of_this_machine(tmp_path: Path) -> None:
    told: list[str] = []
    alone = compare(tiny(), BOTH, seeds=2, out=tmp_path / "1", jobs=1)
    tasks = on_ray(tmp_path / "2", *BOTH, seeds=2, tell=told.append)
    assert [run.path.name for run in tasks] == [run.path.name for run in alone]
    assert [ledger_bytes(run) for run in tasks] == [ledger_bytes(run) for run in alone]
    titles, ends = zip(*(line.split(": ") for line in told), strict=True)
    assert set(titles) == {f"{name}, seed {seed}" for name in BOTH for seed in (0, 1)}
    assert ends == ("done, 3 to go", "done, 2 to go", "done, 1 to go", "done")
    assert not list((tmp_path / "2").glob("tiny/compare/.study-*"))


def test_finished_runs_are_taken_and_others_go_on(tmp_path: Path) -> None:
    first = on_ray(tmp_path, *BOTH)
    before = [ledger_bytes(run) for run in first]
    (first[1].path / "ledger" / "round-00003.parquet").unlink()
    stamps = [changed(run) for run in first]
    again = on_ray(tmp_path, *BOTH)
    assert changed(again[0]) == stamps[0]
    assert changed(again[1])[:-1] == stamps[1]
    assert [ledger_bytes(run) for run in again] == before


def changed(run: Run) -> list[int]:
    files = sorted((run.path / "ledger").glob("round-*.parquet"))
    return [file.stat().st_mtime_ns for file in files]


def test_no_more_are_begun_than_asked_for(tmp_path: Path) -> None:
    begun: list[int] = []
    on_ray(
        tmp_path,
        *(*BOTH, "cooccurrence"),
        jobs=1,
        tell=lambda _: begun.append(len(list(tmp_path.glob("tiny/compare/*/scenario.toml")))),
    )
    assert begun == [1, 2, 3]


def test_each_run_is_computed_in_its_task_whatever_its_engine(tmp_path: Path) -> None:
    asked = tiny(**{"engine.grid": "ray", "engine.ray_address": "127.0.0.1:1"})
    (done,) = compare(asked, ["static"], out=tmp_path, ray_address="local")
    assert done.scenario.engine.grid == "local"


def test_a_task_whose_process_is_killed_goes_on(tmp_path: Path) -> None:
    told: list[str] = []
    flag = tmp_path / "flag"
    variants = [
        Variant("dies", {"strategy": {"name": f"{FATES}:Dying", "flag": str(flag)}}),
        Variant("lives", {"strategy.name": "static"}),
    ]
    folders = (tmp_path / "ray", tmp_path / "here")
    died = run_variants(
        *(tiny(), variants), seeds=1, folder=folders[0], ray_address="local", tell=told.append
    )
    lived = run_variants(tiny(), variants, seeds=1, folder=folders[1], jobs=1)
    assert "dies, seed 0: its process was lost; it goes on from its last committed round" in told
    assert len(told) == 3
    first_round = died[0].path / "ledger" / "round-00001.parquet"
    assert first_round.stat().st_mtime_ns <= flag.stat().st_mtime_ns
    assert [ledger_bytes(run) for run in died] == [ledger_bytes(run) for run in lived]


def test_a_run_that_kills_every_process_is_given_up_and_named(tmp_path: Path) -> None:
    variants = [
        Variant("lives", {"strategy.name": "static"}),
        Variant("dies", {"strategy.name": f"{FATES}:Dying"}),
    ]
    with pytest.raises(
        RunError,
        match=r"^dies, seed 0: given up after 3 processes were lost on it, the last with "
        "WorkerCrashedError: .* give the command again, with fewer jobs: finished runs are kept",
    ):
        run_variants(tiny(), variants, seeds=1, folder=tmp_path, jobs=1, ray_address="local")
    assert {run.name.split("-")[0]: Run(run).rounds_done for run in runs(tmp_path)} == {
        "lives": 3,
        "dies": 1,
    }


def runs(folder: Path) -> list[Path]:
    return [file.parent for file in folder.glob("*/scenario.toml")]


def test_a_run_that_fails_says_so_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^strategy\.codec = dense: not today; give another$"):
        on_ray(tmp_path, f"{FATES}:Refusing")
    with pytest.raises(ZeroDivisionError, match=r"^no edges\n") as unforeseen:
        on_ray(tmp_path, f"{FATES}:Failing")
    assert "in fit\n" in unforeseen.value.__notes__[0]
    with pytest.raises(RunError, match=r"^Odd: 1 and 2\n"):
        on_ray(tmp_path, f"{FATES}:Closed")


def test_a_run_that_another_process_is_at_is_left_alone(tmp_path: Path) -> None:
    (first,) = on_ray(tmp_path, "static")
    (first.path / "ledger" / "round-00003.parquet").unlink()
    with only_here(first.path), pytest.raises(RunError, match="another process is at this run"):
        on_ray(tmp_path, "static")
    assert on_ray(tmp_path, "static")[0].rounds_done == 3


def test_a_wrong_address_is_told_at_once(tiny_file: Path, tmp_path: Path) -> None:
    done = fedsim(tmp_path, "compare", tiny_file, "--strategies", "static", at="127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.startswith("fedsim: no Ray cluster answers at '127.0.0.1:1' (")
    assert done.stderr.count("\n") == 1


def test_tasks_find_what_is_named_from_the_folder_of_the_command(
    tiny_file: Path, tmp_path: Path, address: str
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "onray.py").write_text((ROOT / "tests" / "own.py").read_text())
    (own / "items.txt").write_text("".join(f"{n % 12} {n % 7 + n % 5}\n" for n in range(120)))
    data = "data={name='sequence', path='items.txt'}"
    named = ("compare", tiny_file, "--strategies", "onray:Own", "--set", data)
    done = fedsim(own, *named, "--rounds", 1, at=address)
    assert done.returncode == 0, done.stderr
    assert "onray:Own, seed 0: done" in done.stderr


def fedsim(folder: Path, *arguments: object, at: str) -> subprocess.CompletedProcess[str]:
    code = "from fedsim.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *map(str, arguments), "--ray-address", at],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_ctrl_c_ends_the_tasks_of_a_ray_that_goes_on(
    tiny_file: Path, tmp_path: Path, address: str
) -> None:
    folder = tmp_path / "tiny" / "compare"
    study = study_of_two(tiny_file, tmp_path, "--edges", "500", "--ray-address", address)
    try:
        wait_until(lambda: begun(folder) == 2)
        os.kill(study.pid, signal.SIGINT)
        study.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(study.pid, signal.SIGKILL)
    assert study.returncode == 130
    wait_until(lambda: all(map(free, runs(folder))), 10)
    assert all(Run(run).rounds_done >= 1 for run in runs(folder))


def test_a_run_that_fails_ends_the_others_tasks(tmp_path: Path) -> None:
    long = Variant("long", {"strategy.name": "static", "rounds": 9000})
    flag = _job(tiny(), long, 0, tmp_path).path / "ledger" / "round-00001.parquet"
    fails = Variant("fails", {"strategy": {"name": f"{FATES}:Late", "flag": str(flag)}})
    with pytest.raises(ConfigError, match=r"not any more; give another\nresume with: fedsim run"):
        run_variants(tiny(), [long, fails], seeds=1, folder=tmp_path, ray_address="local")
    wait_until(lambda: all(map(free, runs(tmp_path))), 10)
    assert 1 <= Run(flag.parents[1]).rounds_done < 9000


def test_ctrl_c_again_and_again_ends_a_study_in_one_line(tiny_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tiny" / "compare"
    study = study_of_two(tiny_file, tmp_path, "--edges", "500", "--ray-address", "local")
    try:
        wait_until(lambda: begun(folder) == 2)
        start = time.monotonic()
        for _ in range(3):
            os.kill(study.pid, signal.SIGINT)
            time.sleep(0.1)
        told = study.communicate(timeout=60)[1]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(study.pid, signal.SIGKILL)
    assert time.monotonic() - start < 15
    assert told == "interrupted; finished runs are kept, the same command goes on with the others\n"
    assert study.returncode == 130
    assert not list(folder.glob(".study-*"))
    wait_until(lambda: all(map(free, runs(folder))), 10)
    assert all(Run(run).rounds_done >= 1 for run in runs(folder))


@pytest.mark.parametrize("where", ["local", "cluster"])
def test_a_study_that_is_killed_lets_go_of_its_runs(
    where: str, tiny_file: Path, tmp_path: Path, address: str
) -> None:
    folder = tmp_path / "tiny" / "compare"
    at = address if where == "cluster" else "local"
    study = study_of_two(tiny_file, tmp_path, "--edges", "500", "--ray-address", at)
    try:
        wait_until(lambda: begun(folder) == 2)
        study.kill()
        study.communicate(timeout=60)
        wait_until(lambda: all(map(free, runs(folder))), 10)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(study.pid, signal.SIGKILL)


def begun(folder: Path) -> int:
    """Return how many runs of a study have committed a round."""
    return len(list(folder.glob("*/ledger/round-00001.parquet")))


def free(run: Path) -> bool:
    """Tell whether no process is at a run."""
    try:
        with only_here(run):
            return True
    except RunError:
        return False
