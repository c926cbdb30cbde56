"""Finds strategies, codecs, drifts, data sets, backbones and request policies by name.

A plugin is one module in its family's package, holding one public class that extends the
family's base; the module's name is the plugin's name. Nothing is registered by hand.
Outside packages add theirs by an entry point in the group ``fedsim.FAMILY`` or are named
in full as ``my.module:Class``, a file of the current folder among them.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, SerializeAsAny

from fedsim.errors import PluginError, nearest

FAMILIES = {
    "strategies": ("strategies", "fedsim.strategy:EdgeCloudStrategy"),
    "codecs": ("fedsim.codecs", "fedsim.codecs.base:Codec"),
    "drifts": ("fedsim.drift", "fedsim.drift.base:Drift"),
    "datasets": ("fedsim.data", "fedsim.data.base:Dataset"),
    "backbones": ("fedsim.models", "fedsim.models.base:Backbone"),
    "policies": ("fedsim.policies", "fedsim.policies.base:Policy"),
}
"""Family -> (package whose modules are its members, base class)."""


class Options(BaseModel):
    """Base of every plugin's options; `name` is the plugin's own name."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    name: str = ""


class Plugin:
    """What every plugin class has: the model its options are checked with."""

    Config: ClassVar[type[Options]] = Options


@cache
def available(family: str) -> dict[str, str]:
    """Return every member of a family: its name and where it is (``module:Class``)."""
    package_name, base_path = FAMILIES[family]
    base = _attribute(base_path)
    package = importlib.import_module(package_name)
    found = {}
    for info in pkgutil.iter_modules(package.__path__):
        module_name = f"{package_name}.{info.name}"
        if not info.name.startswith("_") and module_name != base.__module__:
            cls = _member(module_name, base)
            if cls is not None:
                found[info.name] = f"{module_name}:{cls.__name__}"
    for point in entry_points(group=f"fedsim.{family}"):
        found.setdefault(point.name, point.value)
    return dict(sorted(found.items()))


def load(family: str, name: str) -> Any:
    """Return the class of a plugin named as ``diet`` or ``my.module:Class``.

    Raises
    ------
    PluginError
        The name is unknown, or what it names does not extend the family's base.
    """
    if ":" in name:
        look_in([Path.cwd()])
    path = name if ":" in name else available(family).get(name)
    if path is None:
        hint = nearest(name, available(family))
        raise PluginError(f"unknown name '{name}' in family '{family}'; {hint}")
    cls, base = _attribute(path), _attribute(FAMILIES[family][1])
    if not (inspect.isclass(cls) and issubclass(cls, base)):
        raise PluginError(f"'{name}' is no member of '{family}': it must extend {base.__name__}")
    return cls


def look_in(folders: Iterable[str | Path]) -> None:
    """Let modules be imported from folders, too, after whatever is installed.

    Processes that are started for a run are told the same folders.
    """
    sys.path += [str(folder) for folder in folders if str(folder) not in sys.path]


def folders_of(config: BaseModel) -> list[str]:
    """Return the folders of the modules a config's plugins are named in full by."""
    found = set()
    for value in dict(config).values():
        if isinstance(value, Options) and ":" in value.name:
            module = importlib.import_module(value.name.partition(":")[0])
            depth = module.__name__.count(".") + hasattr(module, "__path__")
            if file := getattr(module, "__file__", None):
                found.add(str(Path(file).resolve().parents[depth]))
        if isinstance(value, BaseModel):
            found.update(folders_of(value))
    return sorted(found)


def options(family: str, value: object) -> Options:
    """Check a plugin's table, or its bare name, with the plugin's own options model."""
    if isinstance(value, Options):
        return value
    table = {"name": value} if isinstance(value, str) else value
    if not isinstance(table, dict) or not isinstance(table.get("name"), str):
        hint = nearest("", available(family))
        raise PluginError(f"{value!r} names no member of '{family}': give a name; {hint}")
    checked: Options = load(family, table["name"]).Config.model_validate(table)
    return checked


@dataclass(frozen=True, slots=True)
class Family:
    """Marks a config's field as the options of a plugin of this family."""

    name: str


def _section(family: str) -> Any:
    def check(value: object) -> Options:
        try:
            return options(family, value)
        except PluginError as error:
            raise ValueError(str(error)) from error  # which pydantic tells the key of

    return Annotated[SerializeAsAny[Options], BeforeValidator(check), Family(family)]


StrategyOptions = _section("strategies")
CodecOptions = _section("codecs")
DriftOptions = _section("drifts")
DatasetOptions = _section("datasets")
BackboneOptions = _section("backbones")
PolicyOptions = _section("policies")


def _attribute(path: str) -> Any:
    module, _, name = path.partition(":")
    try:
        return getattr(_import(module), name)
    except AttributeError as error:
        raise PluginError(f"cannot load '{path}': {error}; mend the name") from error


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _broken(name, error) from error
        file = f"{name.replace('.', '/')}.py"
        raise PluginError(
            f"there is no module '{name}': neither is one installed, nor is there {file} in "
            f"{Path.cwd()}; give the command in the folder of {file}, or set PYTHONPATH to it"
        ) from error
    except Exception as error:
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> PluginError:
    return PluginError(
        f"'{name}' cannot be loaded: {type(error).__name__}: {error}; mend it, or move it away"
    )


def _member(module_name: str, base: type) -> type | None:
    for name, value in vars(_import(module_name)).items():
        own = inspect.isclass(value) and value.__module__ == module_name
        if own and not name.startswith("_") and issubclass(value, base):
            return value  # type: ignore[no-any-return]
    return None
