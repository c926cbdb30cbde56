"""A plugin in a folder of one's own, from the command line as it is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAME = "byhand:Own"


@pytest.fixture
def folder(tmp_path: Path, tiny_file: Path) -> Path:
    """Return a folder that nothing but the commands given in it knows of."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "byhand.py").write_text((ROOT / "tests" / "own.py").read_text())
    return own


def fedsim(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Give a command in a folder; like a script that pip made, it does not import from there."""
    code = "from fedsim.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def succeed(folder: Path, *arguments: object) -> Path:
    done = fedsim(folder, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return Path(json.loads(done.stdout)[-1]["paths"][0])


def test_it_runs_and_resumes_from_anywhere(folder: Path, tiny_file: Path, tmp_path: Path) -> None:
    path = succeed(folder, "run", tiny_file, "--strategy", NAME, "--out", tmp_path)
    (path / "ledger" / "round-00002.parquet").unlink()
    assert succeed(tmp_path, "run", "--resume", path) == path
    assert (path / "ledger" / "round-00002.parquet").is_file()
    assert succeed(tmp_path, "run", tiny_file, "--strategy", NAME, "--resume", path) == path


def test_a_study_finds_it_in_its_processes(folder: Path, tiny_file: Path, tmp_path: Path) -> None:
    names = f"{NAME},popularity"
    succeed(folder, "compare", tiny_file, "--strategies", names, "--jobs", 2, "--out", tmp_path)


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_workers_find_it_wherever_a_run_is_resumed(
    folder: Path, tiny_file: Path, tmp_path: Path
) -> None:
    arguments = ("run", tiny_file, "--strategy", NAME, "--out", tmp_path, "--workers", 1)
    path = succeed(folder, *arguments)
    (path / "ledger" / "round-00002.parquet").unlink()
    assert succeed(tmp_path, "run", "--resume", path, "--workers", 1) == path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("byhnad:Own", "there is no module 'byhnad': neither is one installed, nor is there byhn"),
        ("byhand:Own", "give the command in the folder of byhand.py, or set PYTHONPATH to it"),
        ("mine.byhand:Own", "there is no module 'mine.byhand': .*nor is there mine/byhand.py in"),
    ],
)
def test_elsewhere_it_is_told_what_to_do(
    name: str, said: str, folder: Path, tiny_file: Path, tmp_path: Path
) -> None:
    done = fedsim(tmp_path, "run", tiny_file, "--strategy", name, "--out", tmp_path)
    assert done.returncode == 1
    assert said.partition(": .*")[0] in done.stderr
    assert said.rpartition(".*")[2] in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def (:", "'byhand' cannot be loaded: SyntaxError: invalid syntax (byhand.py, line 1); m"),
        ("import no_such", "'byhand' cannot be loaded: ModuleNotFoundError: No module named 'no_s"),
        ("", "cannot load 'byhand:Own': module 'byhand' has no attribute 'Own'; mend the name"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_told(
    text: str, said: str, folder: Path, tiny_file: Path, tmp_path: Path
) -> None:
    (folder / "byhand.py").write_text(text)
    done = fedsim(folder, "run", tiny_file, "--strategy", NAME, "--out", tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
