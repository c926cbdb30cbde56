"""The same apps under ``flwr run``: Flower's simulation, and SuperLink with two SuperNodes.

The bundle ``flwr run .`` makes of the project is looked at by itself; what is run here is a
bundle without code, whose apps come from the working tree, where numba's caches are.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import tomli_w

from fedsim.engine.directory import write_scenario
from fedsim.engine.run import Run, run
from tests.studies import ledger_bytes, tiny

pytestmark = [pytest.mark.flower, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SCENARIO = tiny("diet", **{"rounds": 2, "population.cell_size": 12})
TIMEOUT_S = 300
SLOW_RAY = "The current node timed out during startup"


class Flower:
    """Flower's processes, on free ports of the loopback, with a home of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "flwr"
        self.home.mkdir()
        self.env = os.environ | {
            "FLWR_HOME": str(self.home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray stays on the loopback
            "FEDSIM_CACHE": str(folder / "cache"),
            "PYTHONPATH": str(ROOT),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        project(folder / "app")
        self.processes: list[subprocess.Popen[bytes]] = []
        self.address = ""

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [name, *arguments],
                cwd=self.folder,
                env=self.env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def superlink(self, *arguments: str) -> None:
        """Start a SuperLink and return when it answers."""
        port = free_port()
        link = ["--insecure", "--host", "127.0.0.1", "--port", port, *arguments]
        process = self.start("flower-superlink", *link)
        self.address = f"127.0.0.1:{port}"
        (self.home / "config.toml").write_text(
            f'[superlink.here]\naddress = "{self.address}"\ninsecure = true\n'
        )
        deadline = time.monotonic() + 60
        while not healthy(self.address):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"flower-superlink does not start here: {self.log()[-500:]}")
            time.sleep(0.2)

    def supernode(self, state: Path) -> None:
        link = ["--insecure", "--superlink", self.address]
        here = ["--host", "127.0.0.1", "--port", free_port()]
        self.start("flower-supernode", *link, *here, "--node-config", f'state="{state}"')

    def run(self, *arguments: str, **config: str | int) -> Run:
        """Run the app on the SuperLink to its end and return the run."""
        out = self.folder / "runs"
        pairs = {"scenario": str(self.folder / "tiny.toml"), "out": str(out), **config}
        write_scenario(SCENARIO, self.folder / "tiny.toml")
        text = " ".join(f"{name}={json.dumps(value)}" for name, value in pairs.items())
        process = self.start("flwr", "run", "app", "here", "--stream", "-c", text, *arguments)
        try:
            code = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the run did not end within {TIMEOUT_S} s: {self.log()}")
        if SLOW_RAY in self.log():
            pytest.skip("Ray, which Flower's simulation starts, did not come up in its 30 s here")
        runs = [Run(path) for path in out.glob("*/*")]
        assert code == 0, self.log()
        assert [run.rounds_done for run in runs] == [SCENARIO.rounds], self.log()
        return runs[0]

    def log(self) -> str:
        return (self.folder / "log.txt").read_text()[-5000:]

    def stop(self) -> None:
        """Stop what was started, and whatever that has started in turn."""
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        psutil.wait_procs(list(self.ours()), timeout=10)
        deadline = time.monotonic() + 30
        while (left := list(self.ours())) and time.monotonic() < deadline:
            for lost in left:
                with suppress(psutil.NoSuchProcess):
                    lost.kill()
            psutil.wait_procs(left, timeout=5)
        for process in self.processes:
            process.wait(10)

    def ours(self) -> Iterator[psutil.Process]:
        """Yield every process whose environment names our home."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("FLWR_HOME") == str(self.home):
                    yield process


def project(folder: Path) -> None:
    """Make a project of the same name and apps as this one, but without code."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    table["tool"] = {"flwr": table["tool"]["flwr"]}
    del table["tool"]["flwr"]["app"]["fab-include"]
    folder.mkdir()
    (folder / "pyproject.toml").write_text(tomli_w.dumps(table))


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/health", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return the same run on a LocalGrid."""
    return run(SCENARIO, out=tmp_path_factory.mktemp("local"))


@pytest.fixture
def flower(tmp_path: Path) -> Iterator[Flower]:
    if shutil.which("flower-superlink", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("flower-superlink is not installed beside this Python")
    flower = Flower(tmp_path)
    try:
        yield flower
    finally:
        flower.stop()
        assert not list(flower.ours())


def test_the_bundle_holds_the_apps_and_all_they_load(tmp_path: Path) -> None:
    from flwr.cli.build import build_fab_from_disk

    (tmp_path / "app.fab").write_bytes(build_fab_from_disk(ROOT))
    zipfile.ZipFile(tmp_path / "app.fab").extractall(tmp_path / "app")
    code = """
import fedsim.client_app, fedsim.server_app
from fedsim.plugins import FAMILIES, available, load
from fedsim.scenario import load_scenario, shipped_scenarios
for family in FAMILIES:
    for name in available(family):
        load(family, name)
for name in shipped_scenarios():
    print(name, load_scenario(name).strategy.name, fedsim.__file__)
"""
    told = subprocess.check_output([sys.executable, "-c", code], cwd=tmp_path / "app", text=True)
    assert f"quickstart diet {tmp_path / 'app' / 'fedsim' / '__init__.py'}" in told


def test_a_deployment_ends_in_the_ledger_of_a_local_grid(
    local: Run, flower: Flower, tmp_path: Path
) -> None:
    flower.superlink()
    nodes = [tmp_path / "node-0", tmp_path / "node-1"]
    for state in nodes:
        flower.supernode(state)
    done = flower.run(**{"min-nodes": 2})
    assert ledger_bytes(done) == ledger_bytes(local)
    kept = [sorted((state / done.path.name).glob("cell-*-r0002.bin")) for state in nodes]
    assert [len(files) for files in kept] == [1, 1]


def test_a_simulation_ends_in_the_ledger_of_a_local_grid(
    local: Run, flower: Flower, tmp_path: Path
) -> None:
    flower.superlink("--simulation")
    cores = "num-supernodes=2 client-resources-num-cpus=1"
    done = flower.run("--federation-config", cores, state=str(tmp_path / "nodes"))
    assert ledger_bytes(done) == ledger_bytes(local)
