"""Labels that tell runs apart: one label per method, shared by its seeds alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fedsim.nested import flat

if TYPE_CHECKING:
    from analysis.load import RunInfo

IGNORED = ("seed", "engine", "description")
"""Sections that make no difference between two methods."""

SHOWN = 3
"""So many differing settings are named, more only where these do not tell runs apart."""

LONGEST = 24
"""Letters of a value; what is longer is cut."""


def distinct_labels(infos: Sequence[RunInfo]) -> list[RunInfo]:
    """Return the runs, relabelled where one label would stand for different methods.

    Runs of several scenarios get their scenario's name; what then still shares a label gets
    the settings in which it differs, as in ``diet, keep 0.2``, and a repeated run of one seed
    a number.
    """
    labels = [info.label for info in infos]
    if len({info.name for info in infos}) > 1:
        labels = [f"{label} ({info.name})" for label, info in zip(labels, infos, strict=True)]
    labels = by_difference(labels, [_settings(info) for info in infos])
    return [
        replace(info, label=label)
        for info, label in zip(infos, _numbered(labels, infos), strict=True)
    ]


def by_difference(labels: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the labels, equal ones followed by the settings in which they differ."""
    members = defaultdict(list)
    for index, label in enumerate(labels):
        members[label].append(index)
    out = list(labels)
    for group in members.values():
        words = _words([settings[i] for i in group])
        for i, parts in zip(group, words, strict=True):
            out[i] = ", ".join([labels[i], *parts])
    return out


def _words(settings: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return of each the settings that tell it from the others, in words."""
    keys = _chosen(settings)
    short = _shortest(keys)
    words = [
        [f"{short[key]} {_text(each[key])}" for key in keys if each.get(key) is not None]
        for each in settings
    ]
    kinds: dict[str, list[str]] = defaultdict(list)
    for parts, each in zip(words, settings, strict=True):
        alike = kinds[", ".join(parts)]
        kind = str(sorted(each.items()))
        if kind not in alike:
            alike.append(kind)
        if number := alike.index(kind):
            parts.append(f"variant {number + 1}")
    return words


def _chosen(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys to name: plugins first, then the strategy's, then all others.

    Options of a plugin that is another one altogether say nothing new and come last.
    """
    differing = [
        key
        for key in sorted({key for each in settings for key in each})
        if len({str(each.get(key)) for each in settings}) > 1
    ]
    plugins = [key.removesuffix("name") for key in differing if key.endswith(".name")]
    options = {k for k in differing for p in plugins if k.startswith(p) and k != f"{p}name"}
    own = [key for key in differing if key not in options]
    own.sort(key=lambda key: (not key.endswith(".name"), not key.startswith("strategy.")))
    rest = sorted(options)
    kinds = len({str([each.get(key) for key in differing]) for each in settings})
    chosen: list[str] = []
    for key in own + rest:
        apart = len({str([each.get(k) for k in chosen]) for each in settings})
        more = len({str([each.get(k) for k in [*chosen, key]]) for each in settings})
        if (key in own and len(chosen) < SHOWN) or (apart < kinds and more > apart):
            chosen.append(key)
    return chosen


def _shortest(keys: Sequence[str]) -> dict[str, str]:
    """Return of each key its last part, or of a plugin's name its section; more if needed.

    >>> _shortest(["strategy.codec.name", "strategy.keep", "train.lr", "strategy.lr"])
    {'strategy.codec.name': 'codec', 'strategy.keep': 'keep', 'train.lr': 'train.lr', \
'strategy.lr': 'strategy.lr'}
    """
    paths = {key: key.removesuffix(".name").split(".") for key in keys}
    lasts = [path[-1] for path in paths.values()]
    return {
        key: path[-1] if lasts.count(path[-1]) == 1 else ".".join(path)
        for key, path in paths.items()
    }


def _text(value: Any) -> str:
    """Return a setting's value in few letters.

    >>> _text(0.20), _text(True), _text(["home", "video"]), _text([{"name": "home"}])
    ('0.2', 'on', 'home video', 'home')
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return _text(" ".join(_text(each) for each in value))
    text = str(value.get("name", value)) if isinstance(value, Mapping) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}\u2026"


def _numbered(labels: Sequence[str], infos: Sequence[RunInfo]) -> Iterator[str]:
    seen: dict[tuple[str, int], int] = defaultdict(int)
    for label, info in zip(labels, infos, strict=True):
        seen[label, info.seed] += 1
        again = seen[label, info.seed]
        yield label if again == 1 else f"{label} ({again})"


def _settings(info: RunInfo) -> dict[str, Any]:
    return flat({name: value for name, value in info.scenario.items() if name not in IGNORED})
