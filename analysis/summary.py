"""A report's head: what was run, under which title, and what the scenario says of itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from analysis.labels import by_difference
from analysis.load import RunInfo, Runs
from analysis.settings import alternatives, apart, assigned, changed, ranked
from analysis.streams import stream_settings


def facts(runs: Runs) -> dict[str, list[str]]:
    """Return what was run, as name and values: one, or one for every kind of streams in order."""
    parts = runs.parts()
    if len(parts) == 1:
        return {fact: [value] for fact, value in _facts(runs).items()}
    each = [_facts(part) for part in parts]
    found = {"Scenario": titles(parts)}
    for fact in dict.fromkeys(fact for part in each for fact in part if fact != "Scenario"):
        values = [part.get(fact, "none") for part in each]
        found[fact] = values if len(set(values)) > 1 else values[:1]
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
    return f"{scenarios}: {counted(runs)} {same}"


def counted(runs: Runs) -> str:
    """Return what is compared in words: ``4 strategies``, ``2 runs of diet``."""
    strategies = list(dict.fromkeys(info.strategy for info in runs.infos))
    labels = len(runs.labels)
    if labels == len(strategies):
        return f"{labels} strategies"
    what = "runs" if len(runs.infos) == labels else "settings"
    of = strategies[0] if len(strategies) == 1 else f"{len(strategies)} strategies"
    return f"{labels} {what} of {of}"


def description(runs: Runs) -> str:
    """Return the scenario's own words, what was changed since, and in what runs differ.

    A description tells numbers of its scenario file, and stays when these are overridden.
    There is none for runs on different streams.
    """
    differing = alternatives(apart(runs)) if len(runs.scenarios) == 1 else ""
    told = f"The runs differ in {differing}." if differing else ""
    text = str(runs.infos[0].scenario.get("description", "")).rstrip(".")
    if not text or len(runs.parts()) > 1:
        return told
    ours = [changed(info) for info in runs.infos]
    common = {k: v for k, v in ours[0].items() if all(k in o and o[k] == v for o in ours)}
    said = f"As shipped: {text}. Changed here: {assigned(common)}." if common else text
    return f"{said.rstrip('.')}. {told}" if told else said


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
        "Ranked": ranked(infos),
        "OOD edges": f"{edges['ood'].mean():.0%}" if edges["ood"].any() else "",
        "Seeds": ", ".join(map(str, sorted({info.seed for info in infos}))),
    }
    return {name: value for name, value in found.items() if value}


def _names(infos: Iterable[RunInfo], section: str) -> str:
    names = [_name(info.scenario.get(section)) for info in infos]
    return ", ".join(dict.fromkeys(name for name in names if name))


def _name(section: Any) -> str:
    return str(section.get("name", "")) if isinstance(section, dict) else str(section or "")
