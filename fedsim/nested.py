"""Nested tables as one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def flat(table: Mapping[str, Any], mark: str = ".") -> dict[str, Any]:
    """Return every value of nested tables under its keys, joined by a mark.

    >>> flat({"seed": 1, "stream": {"history": 0.5, "slices": "count"}, "ks": [5, 10]})
    {'seed': 1, 'stream.history': 0.5, 'stream.slices': 'count', 'ks': [5, 10]}
    """
    return dict(_leaves(table, mark))


def _leaves(table: Mapping[str, Any], mark: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}{mark}{rest}", leaf) for rest, leaf in _leaves(value, mark))
        else:
            yield key, value
