"""Says what is wrong with a table of options, in the words of whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from fedsim.errors import nearest
from fedsim.plugins import Family, load

_WORDS = {
    "tuple_type": "give a list, as in [10]",
    "string_pattern_mismatch": "use letters, digits, '.', '_' and '-' only",
}
"""What pydantic's words for a mistake leave open: how to mend it."""


def explain(error: ValidationError, table: Mapping[str, Any], model: type[BaseModel]) -> str:
    """Return every mistake in a table checked by `model`.

    Each names the key, the value, what is allowed and, for an unknown key, a near one.
    """
    return "; ".join(_explain(item, table, model) for item in error.errors())


def _explain(item: ErrorDetails, table: Mapping[str, Any], model: type[BaseModel]) -> str:
    where = _where(item, table)
    if item["type"] == "extra_forbidden":
        allowed = _siblings(item, table, model)
        return f"unknown key '{where}'; {nearest(str(item['loc'][-1]), allowed)}"
    if item["type"] == "missing":
        return f"'{where}' is missing; add it"
    said = _WORDS.get(item["type"], item["msg"].removeprefix("Value error, "))
    return f"'{where}' = {item['input']!r}: {said}"


def _where(item: ErrorDetails, table: Any) -> str:
    """Return the dotted name of a mistake, without pydantic's marks below a plain value."""
    parts = []
    for part in item["loc"]:
        if isinstance(table, Mapping):
            table = table.get(str(part))
        elif isinstance(table, list) and isinstance(part, int):
            table = table[part]
        else:
            break
        parts.append(str(part))
    return ".".join(parts)


def _siblings(item: ErrorDetails, table: Any, model: type[BaseModel]) -> list[str]:
    """Return the keys allowed where an unknown one was found."""
    for part in item["loc"][:-1]:
        table = table[part]
        if isinstance(part, str) and part in model.model_fields:
            model = _model_of(model.model_fields[part], table) or model
    return list(model.model_fields)


def _model_of(field: FieldInfo, value: Any) -> type[BaseModel] | None:
    for mark in field.metadata:
        if isinstance(mark, Family) and isinstance(value, Mapping):
            config: type[BaseModel] = load(mark.name, value["name"]).Config
            return config
    kinds = [field.annotation, *get_args(field.annotation)]
    models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return models[0] if models else None
