"""Overriding nested tables by dotted names, as in ``strategy.keep=0.2``."""

from __future__ import annotations

import tomllib
from typing import Any

from fedsim.errors import ConfigError


def split_override(text: str) -> tuple[str, object]:
    """Split ``a.b=3`` into name and value; the value is TOML, or else a bare word.

    >>> split_override("strategy.keep=0.2"), split_override("drift.name=sudden")
    (('strategy.keep', 0.2), ('drift.name', 'sudden'))
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"override '{text}' is not of the form key=value")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()


def set_dotted(table: dict[str, Any], dotted: str, value: object) -> None:
    """Set ``a.b.c`` in nested tables; a plugin's new name drops the old one's options.

    A number names an entry of a list, as in ``channels.0.name``.
    """
    *parents, last = dotted.split(".")
    within_list = False
    inner: Any = table
    for part in parents:
        within_list = isinstance(inner, list)
        inner = _entered(inner, part, dotted)
    renamed = last == "name" and parents and not within_list
    if renamed and isinstance(inner, dict) and inner.get("name") != value:
        inner.clear()
    if isinstance(inner, list):
        inner[_index(inner, last, dotted)] = value
    else:
        inner[last] = value


def _entered(table: Any, part: str, dotted: str) -> Any:
    """Return what is inside a table or a list, a new table where there is none."""
    if isinstance(table, list):
        return table[_index(table, part, dotted)]
    inner = table.get(part)
    if isinstance(inner, str):
        inner = {"name": inner}
    table[part] = inner if isinstance(inner, dict | list) else {}
    return table[part]


def _index(entries: list[Any], part: str, dotted: str) -> int:
    if not part.isdecimal() or int(part) >= len(entries):
        raise ConfigError(
            f"'{dotted}': '{part}' names no entry of a list of {len(entries)}; "
            f"give a number from 0 to {len(entries) - 1}, or set the whole list"
        )
    return int(part)


def depth(change: tuple[str, object]) -> int:
    """Return how deep a dotted name is; ``strategy.name`` stands for ``strategy``."""
    return change[0].removesuffix(".name").count(".")
