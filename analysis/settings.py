"""What the settings of runs say: what was changed, in what runs differ, what was ranked."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from analysis.labels import IGNORED
from analysis.load import RunInfo, Runs
from fedsim.nested import flat
from fedsim.scenario import ChannelConfig, ScenarioConfig, Section, shipped_scenarios

OWN = ("name", "description", "seed", "strategy", "engine")
"""What a description does not speak of: the run's own, whatever the scenario."""

SHOWN = 4
"""At most so many settings are listed."""


def changed(info: RunInfo) -> dict[str, Any]:
    """Return the settings that are others than in the shipped scenario of the same words.

    What the file leaves out stands for its default. None stands for a setting taken away.
    """
    file = shipped_scenarios().get(info.name)
    shipped = tomllib.loads(file.read_text(encoding="utf-8")) if file else {}
    if not file or shipped.get("description", "") != info.scenario.get("description", ""):
        return {}
    ours, theirs, given = _settings(info.scenario), _settings(_spelt_out(shipped)), flat(shipped)
    limits = [key for key in ours if key not in theirs and key.partition(".")[0] in _sections()]
    known = [key for key in theirs if key in ours or key in given]
    return {key: ours.get(key) for key in known + limits if ours.get(key) != theirs.get(key)}


def apart(runs: Runs) -> dict[str, list[Any]]:
    """Return in which settings labels of one strategy differ, each with its values."""
    firsts: dict[str, list[Mapping[str, Any]]] = {}
    for label in runs.labels:
        info = runs.infos[runs.members(label)[0]]
        firsts.setdefault(info.strategy, []).append(info.scenario)
    found: dict[str, list[Any]] = {}
    for group in firsts.values():
        flats = [
            flat({k: v for k, v in each.items() if k not in (*IGNORED, "name")}) for each in group
        ]
        for key in dict.fromkeys(key for each in flats for key in each):
            values = [each.get(key) for each in flats]
            if any(value != values[0] for value in values):
                known = found.setdefault(key, [])
                known += [value for value in values if value not in known]
    return found


def ranked(infos: Sequence[RunInfo]) -> str:
    """Return what a next item was ranked against, "" where no scenario says it.

    Runs that differ are told one after the other, by label.
    """
    said = {info.label: _ranked(info.scenario.get("evaluation", {})) for info in infos}
    if len(set(said.values())) == 1:
        return next(iter(said.values()))
    return "; ".join(f"{label} {text or 'unknown'}" for label, text in said.items())


def assigned(settings: Mapping[str, Any]) -> str:
    """Return the first settings as TOML, and how many more there are.

    >>> assigned({"rounds": 4, "channels": [{"name": "home"}], "budget.bytes_per_round": None})
    'rounds = 4, channels = [{ name = "home" }], no budget.bytes_per_round'
    """
    told = [f"no {k}" if v is None else f"{k} = {toml_value(v)}" for k, v in settings.items()]
    return _first(told, ", ")


def alternatives(settings: Mapping[str, Sequence[Any]]) -> str:
    """Return the first settings, each with its values, and how many more there are.

    >>> alternatives({"rounds": [12, 8], "budget.bytes_per_round": [None, 512.0]})
    'rounds (12, 8); budget.bytes_per_round (unset, 512.0)'
    """
    told = [
        f"{key} ({', '.join('unset' if v is None else toml_value(v) for v in values)})"
        for key, values in settings.items()
    ]
    return _first(told, "; ")


def toml_value(value: Any) -> str:
    """Return a value as TOML, in one line.

    >>> toml_value([{"name": "home", "genres": []}, True, 0.5])
    '[{ name = "home", genres = [] }, true, 0.5]'
    """
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key} = {toml_value(each)}" for key, each in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _first(told: Sequence[str], mark: str) -> str:
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    return mark.join(told[:SHOWN]) + more


def _ranked(evaluation: Mapping[str, Any]) -> str:
    items = {"none": "all items", "window": "all but the window", "seen": "all but seen items"}
    text = items.get(str(evaluation.get("exclude")), "")
    count = int(evaluation.get("candidates", 0))
    return f"{text}, {count:,} candidates" if text and count else text


def _settings(scenario: Mapping[str, Any]) -> dict[str, Any]:
    return flat({name: value for name, value in scenario.items() if name not in OWN})


def _spelt_out(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a scenario file's table with the defaults of all that is no plugin's option."""
    return dict(table) | dict(_with_defaults(table))


def _with_defaults(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, field in ScenarioConfig.model_fields.items():
        given, default = table.get(name, field.default), field.default
        if name in _sections():
            made = type(default)(**table.get(name, {}))
            yield name, made.model_dump(mode="json", exclude_none=True)
        elif name == "channels":
            made = [each if isinstance(each, Section) else ChannelConfig(**each) for each in given]
            yield name, [each.model_dump(mode="json") for each in made]
        elif name in table or not field.is_required():
            plugin = name not in OWN and isinstance(given, str)
            yield name, {"name": given} if plugin else given


def _sections() -> list[str]:
    """Return the names of the sections that are no plugin's."""
    fields = ScenarioConfig.model_fields.items()
    return [name for name, field in fields if isinstance(field.default, Section)]
