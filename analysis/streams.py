"""What runs have in common: the streams their edges meet, and the rounds they all have.

Only runs on the same streams can be ranked; they are compared over the rounds that all of
them have committed. Runs are on the same streams where every setting that makes them agrees;
`rounds` is one of them, because streams are spread and drift is placed over the whole run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from analysis.style import rounds_text
from fedsim.nested import flat

if TYPE_CHECKING:
    from analysis.load import RunInfo, Runs

SECTIONS = ("name", "rounds", "data", "channels", "stream", "drift")
KEYS = ("population.edges", "evaluation.exclude", "evaluation.candidates")
"""Settings that make the streams, and what a next item is ranked against."""


def stream_settings(info: RunInfo) -> dict[str, Any]:
    """Return what makes a run's streams, as flat settings."""
    settings = flat(info.scenario)
    return {k: v for k, v in settings.items() if k.partition(".")[0] in SECTIONS or k in KEYS}


def groups(infos: Sequence[RunInfo]) -> list[list[int]]:
    """Return the runs by number, those on the same streams together, in order."""
    found: dict[str, list[int]] = {}
    for number, info in enumerate(infos):
        key = json.dumps(stream_settings(info), sort_keys=True, default=str)
        found.setdefault(key, []).append(number)
    return list(found.values())


def over_common_rounds(infos: Sequence[RunInfo]) -> list[RunInfo]:
    """Return the runs, each to be read up to the last round that all on its streams have."""
    out = list(infos)
    for members in groups(infos):
        last = min(infos[i].committed for i in members)
        for i in members:
            out[i] = replace(infos[i], last_round=last)
    return out


def remarks(runs: Runs) -> list[str]:
    """Return what a reader must know before comparing: who is unfinished, left out, elsewhere."""
    parts = (_unfinished(runs), _seeds(runs), [elsewhere(runs.infos)], runs.skipped)
    return [text for part in parts for text in part if text]


def _unfinished(runs: Runs) -> Iterator[str]:
    for members in groups(runs.infos):
        infos = [runs.infos[i] for i in members]
        short = [
            f"{info.label} (seed {info.seed}), {info.committed} of {rounds_text(info.planned)}"
            for info in infos
            if info.committed < info.planned
        ]
        if short:
            yield f"Unfinished: {'; '.join(short)}."
        if any(info.committed > info.last_round for info in infos):
            on = f" on {infos[0].name}" if len(runs.scenarios) > 1 else ""
            yield f"All runs{on} are compared over {_span(infos[0].last_round)} alone."


def _seeds(runs: Runs) -> Iterator[str]:
    for members in groups(runs.infos):
        seeds: dict[str, list[int]] = {}
        for i in members:
            seeds.setdefault(runs.infos[i].label, []).append(runs.infos[i].seed)
        if len({tuple(sorted(each)) for each in seeds.values()}) > 1:
            parts = [f"{label} {_numbers(each)}" for label, each in seeds.items()]
            yield f"Not all have the same seeds: {'; '.join(parts)}. Each has its own streams."


def elsewhere(infos: Sequence[RunInfo]) -> str:
    """Say that runs are on different streams, and by which settings; "" if they are not."""
    first, *others = (stream_settings(infos[each[0]]) for each in groups(infos))
    if not others:
        return ""
    keys = sorted({key for each in (first, *others) for key in each})
    differing = [key for key in keys if any(each.get(key) != first.get(key) for each in others)]
    more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
    return (
        f"The runs are on {len(others) + 1} kinds of streams, which differ in "
        f"{', '.join(differing[:3])}{more}: side by side, but ranked only within a kind."
    )


def _span(last: int) -> str:
    return "round 1" if last == 1 else f"rounds 1 to {last}"


def _numbers(seeds: Sequence[int]) -> str:
    return ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(map(str, sorted(seeds)))
