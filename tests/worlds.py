"""Scenarios for tests of populations, and where real data is found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from fedsim.plugins import Options
from fedsim.scenario import ScenarioConfig

_UNUSED = {"request": Options(), "model": Options(), "strategy": Options()}


def world(**sections: Any) -> ScenarioConfig:
    """A scenario of 40 small synthetic edges, with the sections given instead."""
    defaults = {
        "data": {"name": "synthetic", "items": 60, "topics": 5, "length": 20},
        "population": {"edges": 40, "cell_size": 16},
    }
    return ScenarioConfig(**(_UNUSED | defaults | sections))


def real_data(path: str) -> Path:
    """A file or folder of real data; skips the test where it is not."""
    here = Path(__file__).resolve().parents[1]
    folders = [here.parent / "shared" / "data", here / "data"]
    if os.environ.get("FEDSIM_DATA"):
        folders.insert(0, Path(os.environ["FEDSIM_DATA"]))
    for folder in folders:
        if (folder / path).exists():
            return folder / path
    pytest.skip(f"no real data '{path}' in {', '.join(map(str, folders))}; set FEDSIM_DATA")
