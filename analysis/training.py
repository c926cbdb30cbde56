"""How long strategies trained in the cloud, before the first round."""

from __future__ import annotations

import json
import math
from statistics import fmean

from analysis.load import RunInfo, Runs, read
from analysis.style import listed


def epochs(runs: Runs) -> dict[str, float]:
    """Return the epochs of all trainings of a channel together, by label.

    Means over channels and seeds; stopping early counts. Nan where no run tells.
    """
    found: dict[str, list[float]] = {label: [] for label in runs.labels}
    for info in runs.infos:
        found[info.label] += _epochs(info, len(runs.channels))
    return {label: fmean(counts) if counts else math.nan for label, counts in found.items()}


def unequal(runs: Runs) -> str:
    """Return a sentence on who trained for how long; nothing where all trained alike or not at all.

    A strategy that trains nothing is left out.
    """
    by_count: dict[str, list[str]] = {}
    for label, count in epochs(runs).items():
        if count > 0:
            by_count.setdefault(f"{count:.3g}", []).append(label)
    if len(by_count) < 2:
        return ""
    parts = (f"{count} with {listed(labels)}" for count, labels in by_count.items())
    return f"Epochs of training in the cloud differ: {'; '.join(parts)}."


def _epochs(info: RunInfo, channels: int) -> list[float]:
    file = info.path / "training.json" if info.path else None
    if file is None or not file.is_file():
        return []
    return [sum(len(each["epochs"]) for each in read(file, json.loads, "JSON")) / channels]
