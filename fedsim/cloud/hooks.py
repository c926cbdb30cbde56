"""A strategy's hooks, called and held to what they promise: names, types, shapes, channels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fedsim.codecs.base import Column
from fedsim.errors import PluginError
from fedsim.setting import Arrays, Provision, Uploads
from fedsim.strategy import EdgeCloudStrategy


def provision(strategy: EdgeCloudStrategy) -> Provision:
    """Return what every edge is given once.

    Raises
    ------
    PluginError
        It is not made for the scenario's channels.
    """
    given, wanted = strategy.provision(), len(strategy.setting.channels)
    if len(given.channels) != wanted or len(given.candidates) != wanted:
        raise PluginError(
            f"provision() of {type(strategy).__name__} gave {len(given.channels)} channels and "
            f"{len(given.candidates)} candidates, but the scenario has {wanted} of them; give a "
            "table of arrays, or {}, for each"
        )
    return given


def initial(strategy: EdgeCloudStrategy, channel: int) -> Arrays:
    """Return what edges hold at first, (1, n) a column."""
    return _checked(strategy, "initial", channel, strategy.initial(channel), (1,))


def sample(strategy: EdgeCloudStrategy, channel: int) -> Arrays:
    """Return typical answers, any number of rows of all columns, some or none."""
    return _checked(strategy, "sample", channel, strategy.sample(channel), None)


def answer(strategy: EdgeCloudStrategy, channel: int, uploads: Uploads, round: int) -> Arrays:
    """Return answers to B edges, (B or 1, n) a column."""
    rows = strategy.answer(channel, uploads, round)
    return _checked(strategy, "answer", channel, rows, (len(uploads.edges), 1))


def majority(strategy: EdgeCloudStrategy, channel: int, rows: Arrays) -> Arrays:
    """Return one answer for all, (1, n) a column."""
    return _checked(strategy, "majority", channel, strategy.majority(channel, rows), (1,))


def _checked(
    strategy: EdgeCloudStrategy,
    hook: str,
    channel: int,
    rows: Arrays,
    counts: tuple[int, ...] | None,
) -> Arrays:
    """Return rows whose names, types and shapes are the columns'; `counts` are how many may be.

    Raises
    ------
    PluginError
        They are not, in the words of whoever wrote the strategy.
    """
    columns = {column.name: column for column in strategy.columns_of(channel)}
    said = f"{hook}() of {type(strategy).__name__}"
    if not isinstance(rows, Mapping):
        raise PluginError(
            f"{said} gave a {type(rows).__name__}, wanted a dict of arrays by the names of "
            f"columns(): {_quoted(columns)}; mend {hook}()"
        )
    partly = counts is None
    if not (rows.keys() <= columns.keys() if partly else rows.keys() == columns.keys()):
        raise PluginError(
            f"{said} gave {_quoted(rows)}, columns() names {_quoted(columns)}; use the same names"
        )
    for name, values in rows.items():
        if not _fits(values, columns[name], counts):
            raise PluginError(_misfit(said, hook, values, columns[name], counts))
    return rows


def _fits(values: object, column: Column, counts: tuple[int, ...] | None) -> bool:
    return (
        isinstance(values, np.ndarray)
        and values.dtype == column.dtype
        and values.ndim == 2
        and values.shape[1] == column.width
        and (counts is None or len(values) in counts)
    )


def _misfit(
    said: str, hook: str, values: object, column: Column, counts: tuple[int, ...] | None
) -> str:
    given = f"a {type(values).__name__}"
    if isinstance(values, np.ndarray):
        given = f"{values.dtype} {values.shape}"
    rows = "any number" if counts is None else " or ".join(map(str, dict.fromkeys(counts)))
    return (
        f"{said} gave {given} for column '{column.name}', wanted an array of {column.dtype} "
        f"({rows}, {column.width}), as columns() says; mend {hook}()"
    )


def _quoted(names: Mapping[str, object]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "nothing"
