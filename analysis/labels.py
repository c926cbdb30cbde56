"""Labels that tell runs apart: one label per method, shared by its seeds alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fedsim.nested import flat

if TYPE_CHECKING:
    from analysis.load import RunInfo

IGNORED = ("seed", "engine", "description")
"""Sections that make no difference between two methods."""


def distinct_labels(infos: Sequence[RunInfo]) -> list[RunInfo]:
    """Return the runs, relabelled where one label would stand for different methods.

    Runs of several scenarios get their scenario's name; what then still shares a label gets
    the settings in which it differs, and a repeated run of one seed a number.
    """
    labels = [info.label for info in infos]
    if len({info.name for info in infos}) > 1:
        labels = [f"{label} ({info.name})" for label, info in zip(labels, infos, strict=True)]
    labels = _by_difference(labels, [_settings(info) for info in infos])
    return [
        replace(info, label=label)
        for info, label in zip(infos, _numbered(labels, infos), strict=True)
    ]


def _by_difference(labels: list[str], settings: list[dict[str, Any]]) -> list[str]:
    groups = defaultdict(list)
    for index, label in enumerate(labels):
        groups[label].append(index)
    out = list(labels)
    for members in groups.values():
        keys = sorted({key for i in members for key in settings[i]})
        differing = [key for key in keys if len({str(settings[i].get(key)) for i in members}) > 1]
        for i in members:
            parts = [f"{key}={settings[i].get(key)}" for key in differing[:3]]
            out[i] = ", ".join([labels[i], *parts])
    return out


def _numbered(labels: Sequence[str], infos: Sequence[RunInfo]) -> Iterator[str]:
    seen: dict[tuple[str, int], int] = defaultdict(int)
    for label, info in zip(labels, infos, strict=True):
        seen[label, info.seed] += 1
        again = seen[label, info.seed]
        yield label if again == 1 else f"{label} ({again})"


def _settings(info: RunInfo) -> dict[str, Any]:
    return flat({name: value for name, value in info.scenario.items() if name not in IGNORED})
