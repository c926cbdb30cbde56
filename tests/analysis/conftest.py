from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest

from analysis import Runs, load
from analysis.report import write_report
from tests.analysis.factory import World, make_run

matplotlib.use("Agg")

WORLD = World(
    "interest_drift",
    edges=60,
    rounds=8,
    channels=("home", "video", "music"),
    drift_round=5,
    ood=0.25,
    controls=3,
)
LABELS = ("static", "diet", "long_diet", "full_download")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four strategies, two seeds each, with drift, unseen edges, controls and channels."""
    root = tmp_path_factory.mktemp("runs")
    return [make_run(root, WORLD, label, seed) for label in LABELS for seed in (0, 1)]


@pytest.fixture(scope="session")
def runs(folders: list[Path]) -> Runs:
    return load(folders)


@pytest.fixture(scope="session")
def page(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(runs, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """One strategy that never answers; no drift, no controls, nobody unseen, one round."""
    world = World("plain", edges=20, rounds=1, controls=0)
    return load(make_run(tmp_path_factory.mktemp("plain"), world, "static"))
