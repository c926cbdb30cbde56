"""Does a population of 100,000 edges cost per edge what 10,000 do, in bounded memory?

Runs DIET over five rounds on two Ray workers, each size in a process of its own, and prints
seconds per edge and the peak of the proportional memory of all its processes together.
Only rounds are timed: from the ledger's file of round 0 to that of the last. Each size trains
for itself before that, on 512 edges (population.fit_edges) however many there are, so that the
time of training does not grow with the population. A small run first fills numba's caches.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

SIZES = {"small": (1_000, 10_000), "large": (10_000, 100_000)}

PROGRAM = """
import sys
from fedsim.engine.run import run
from fedsim.display import Display
run("quickstart", out=sys.argv[1], display=Display(), **{
    "name": "scale", "rounds": 5, "population.edges": int(sys.argv[2]),
    "population.cell_size": 256, "strategy.name": "diet", "controls.every": 0,
    "population.fit_edges": 512, "train.epochs": 1, "engine.grid": "ray", "engine.workers": 2,
})
"""


@pytest.mark.parametrize("size", SIZES)
def test_cost_per_edge_and_memory_stay_flat(size: str, tmp_path: Path) -> None:
    few, many = SIZES[size]
    measured(tmp_path, 512)
    (few_s, few_gib), (many_s, many_gib) = measured(tmp_path, few), measured(tmp_path, many)
    print(f"\n{few:>9,} edges: {few_s * 1e3 / few:.3f} ms an edge, peak {few_gib:.2f} GiB")
    print(f"{many:>9,} edges: {many_s * 1e3 / many:.3f} ms an edge, peak {many_gib:.2f} GiB")
    print(f"seconds per edge, {many:,} against {few:,}: {many_s / many * few / few_s:.3f}")


def measured(folder: Path, edges: int) -> tuple[float, float]:
    """Return seconds from the first round's start to the end, and the peak in GiB."""
    environment = os.environ | {"FEDSIM_CACHE": str(folder / "cache")}
    arguments = [sys.executable, "-c", PROGRAM, str(folder), str(edges)]
    child = subprocess.Popen(arguments, env=environment)
    peak = Peak(child.pid)
    assert child.wait() == 0
    run_dir = max((folder / "scale").iterdir(), key=lambda path: path.stat().st_mtime)
    rounds = [(run_dir / "ledger" / f"round-{r:05d}.parquet").stat().st_mtime for r in (0, 5)]
    return rounds[1] - rounds[0], peak.stop() / 2**30


class Peak:
    """Samples the proportional set size of a process and all it started."""

    def __init__(self, pid: int) -> None:
        self.process, self.most, self.done = psutil.Process(pid), 0, threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()

    def _watch(self) -> None:
        while not self.done.is_set():
            self.most = max(self.most, self._now())
            time.sleep(0.5)

    def _now(self) -> int:
        total = 0
        try:
            processes = [self.process, *self.process.children(recursive=True)]
        except psutil.Error:
            return 0
        for process in processes:
            try:
                total += process.memory_full_info().pss
            except psutil.Error:
                continue
        return total

    def stop(self) -> int:
        self.done.set()
        self.thread.join()
        return self.most
