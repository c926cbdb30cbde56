"""A report's head: what was run, under which title, and what the scenario says of itself."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Any

from analysis.labels import by_difference
from analysis.load import RunInfo, Runs
from analysis.streams import stream_settings
from fedsim.nested import flat
from fedsim.scenario import shipped_scenarios

OWN = ("name", "description", "seed", "strategy", "engine")
"""What a description does not speak of: the run's own, whatever the scenario."""


def facts(runs: Runs) -> dict[str, str]:
    """Return what was run, as name and value; where kinds of streams differ, each by name."""
    parts = runs.parts()
    if len(parts) == 1:
        return _facts(runs)
    names = titles(parts)
    each = [_facts(part) for part in parts]
    found = {"Scenario": ", ".join(names)}
    for fact in dict.fromkeys(fact for part in each for fact in part if fact != "Scenario"):
        values = [part.get(fact, "none") for part in each]
        told = (f"{value} ({name})" for value, name in zip(values, names, strict=True))
        found[fact] = values[0] if len(set(values)) == 1 else ", ".join(told)
    return found


def titles(parts: Iterable[Runs]) -> list[str]:
    """Return a name for every kind of streams: the scenario's, with settings if need be."""
    firsts = [part.infos[0] for part in parts]
    return by_difference([info.name for info in firsts], [stream_settings(i) for i in firsts])


def headline(runs: Runs) -> str:
    """Return the report's title."""
    scenarios = ", ".join(runs.scenarios)
    if len(runs.labels) == 1:
        return f"{runs.labels[0]} on {scenarios}"
    kinds = "on several kinds of streams" if len(runs.scenarios) == 1 else "on several scenarios"
    same = "on the same streams" if len(runs.parts()) == 1 else kinds
    return f"{scenarios}: {len(runs.labels)} strategies {same}"


def description(runs: Runs) -> str:
    """Return the scenario's own words, and what was changed since they were written.

    A description tells numbers of its scenario file, and stays when these are overridden.
    There is none for runs on different streams.
    """
    info = runs.infos[0]
    text = str(info.scenario.get("description", ""))
    if not text or len(runs.parts()) > 1:
        return ""
    changed = _changed(info, text)
    if not changed:
        return text
    more = f" and {len(changed) - 4} more" if len(changed) > 4 else ""
    return f"As shipped: {text}. Changed here: {', '.join(changed[:4])}{more}."


def _changed(info: RunInfo, text: str) -> list[str]:
    """Return the settings of the shipped file that are others in the run, as ``key = value``."""
    file = shipped_scenarios().get(info.name)
    shipped = tomllib.loads(file.read_text(encoding="utf-8")) if file else {}
    if shipped.get("description") != text:
        return []
    ours, theirs = flat(info.scenario), flat(shipped)
    keys = [key for key in theirs if key.partition(".")[0] not in OWN]
    return [f"{key} = {ours.get(key)}" for key in keys if ours.get(key) != theirs[key]]


def _facts(runs: Runs) -> dict[str, str]:
    edges = runs.query("select run, count(*) as n, avg(ood::int) as ood from edges group by run")
    infos = runs.infos
    planned = max(info.planned for info in infos)
    rounds = f"{runs.last_round:,}"
    found = {
        "Scenario": ", ".join(runs.scenarios),
        "Edges": f"{int(edges['n'].max()):,}",
        "Rounds": rounds if runs.last_round >= planned else f"{rounds} of {planned:,}",
        "Channels": ", ".join(runs.channels),
        "Data": _names(infos, "data"),
        "Backbone": _names(infos, "model"),
        "Drift": _names(infos, "drift"),
        "Requests": _names(infos, "request"),
        "Unseen edges": f"{edges['ood'].mean():.0%}" if edges["ood"].any() else "",
        "Seeds": ", ".join(map(str, sorted({info.seed for info in infos}))),
    }
    return {name: value for name, value in found.items() if value}


def _names(infos: Iterable[RunInfo], section: str) -> str:
    names = [_name(info.scenario.get(section)) for info in infos]
    return ", ".join(dict.fromkeys(name for name in names if name))


def _name(section: Any) -> str:
    return str(section.get("name", "")) if isinstance(section, dict) else str(section or "")
