"""A whole study in one TOML file: the models it is checked with, loading and overriding.

Every section is a frozen pydantic model that allows no unknown key. Sections that choose a
plugin (`data`, `drift`, `request`, `model`, `strategy`) are checked by the plugin's own
options model, so a new plugin brings its own keys.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from fedsim.devices import DEVICES
from fedsim.errors import ConfigError, nearest
from fedsim.explain import explain
from fedsim.overrides import depth, set_dotted, split_override
from fedsim.plugins import (
    BackboneOptions,
    DatasetOptions,
    DriftOptions,
    Family,
    PolicyOptions,
    StrategyOptions,
)

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Room = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """Base of every section: frozen, no unknown key."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )


class PopulationConfig(Section):
    """Who takes part."""

    edges: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """At most so many edges of those the data has; all of them when unset (synthetic: 1,000)."""
    cell_size: Count = 256
    """Edges one Flower node hosts and computes together; 1 is one client per node."""
    ood_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of edges whose history the cloud never sees (out of distribution)."""
    availability: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Chance of an edge to take part in a round."""
    devices: dict[str, Annotated[float, Field(gt=0)]] = {"4g": 1.0}
    """Device classes and their shares."""
    fit_edges: Count = 4096
    """At most this many in-distribution edges' history trains the cloud."""

    @model_validator(mode="after")
    def _known_devices(self) -> PopulationConfig:
        if not self.devices:
            raise ValueError(
                f"name at least one device class and its share; {nearest('', DEVICES)}"
            )
        for name in self.devices:
            if name not in DEVICES:
                raise ValueError(f"unknown device class '{name}'; {nearest(name, DEVICES)}")
        return self


class StreamConfig(Section):
    """How a stream is cut into history and rounds."""

    history: Annotated[float, Field(gt=0, lt=1)] | Literal["leave_one_out"] = 0.5
    """Share of each stream known before round 1, or all but its last item."""
    slices: Literal["count", "time"] = "count"
    """Cut what follows into rounds by number of items or by time."""
    items_per_round: Count | None = None
    """With slices by count: at most this many items a round; evenly spread when unset."""
    max_items: Annotated[int, Field(ge=3)] | None = None
    """Keep only each stream's last so many items."""
    hold_out: Annotated[int, Field(ge=0)] = 0
    """Leave out each stream's newest so many items, as if they had not happened yet; what is
    tuned this way cannot see the test."""

    @model_serializer(mode="wrap")
    def _plain(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write no `hold_out` of 0, so that runs from before it keep their names."""
        table: dict[str, Any] = write(self)
        return table if self.hold_out else {k: v for k, v in table.items() if k != "hold_out"}


class ChannelConfig(Section):
    """One recommender an edge uses."""

    name: str
    genres: tuple[str, ...] = ()
    """Real data: the genres whose items make this channel's catalogue."""


class BudgetConfig(Section):
    """A token bucket of bytes per edge: what cannot be paid is not sent."""

    bytes_per_round: Annotated[float, Field(gt=0)] | None = None
    """Bytes (up and down) an edge earns each round; no limit when unset."""
    burst_bytes: Annotated[float, Field(gt=0)] | None = None
    """Most it can save up, at least one round's worth; four rounds' when unset."""

    @model_validator(mode="after")
    def _room_for_a_round(self) -> BudgetConfig:
        rate, burst = self.bytes_per_round, self.burst_bytes
        if rate is not None and burst is not None and burst < rate:
            raise ValueError(
                f"burst_bytes = {burst:g} is less than bytes_per_round = {rate:g}: a bucket must "
                "hold a round's worth; raise burst_bytes, or leave it out for four rounds' worth"
            )
        return self


class MemoryConfig(Section):
    """Room for answers on an edge: what does not fit is not sent."""

    bytes: Room | dict[str, Room] | None = None
    """Bytes for one channel's answer, for all edges or by device class (a class that is not
    named has no limit); no limit when unset."""
    least: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Other apps want memory too: the share of the bytes that is free is drawn anew for each
    edge, uniformly from here to 1."""
    every: Count = 1
    """Rounds a draw lasts."""

    @model_validator(mode="after")
    def _known_devices(self) -> MemoryConfig:
        for name in self.bytes if isinstance(self.bytes, dict) else ():
            if name not in DEVICES:
                raise ValueError(f"unknown device class '{name}'; {nearest(name, DEVICES)}")
        return self


class TrainConfig(Section):
    """Training in the cloud on history."""

    epochs: Count = 12
    batch: Count = 256
    lr: Annotated[float, Field(gt=0)] = 1e-3
    peak: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Where the triangular learning rate peaks, as a share of all steps."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    patience: Count = 3
    """Stop after so many epochs without a better validation NDCG."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_targets: Count = 200_000
    """At most this many training targets an epoch."""


class EvaluationConfig(Section):
    """Prequential ranking: every next item is predicted before it is seen."""

    ks: tuple[Count, ...] = (10,)
    """Cut-offs of the metrics, each once."""
    exclude: Literal["none", "window", "seen"] = "none"
    """Left out of ranking and of training softmax: nothing, the window, all seen items."""
    candidates: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Rank against so many sampled items; 0 ranks the whole catalogue."""

    @field_validator("ks")
    @classmethod
    def _distinct_ks(cls, ks: tuple[int, ...]) -> tuple[int, ...]:
        if not ks or len(set(ks)) != len(ks):
            raise ValueError("give at least one cut-off, and each once, as in [5, 10]")
        return ks


class ControlsConfig(Section):
    """Own, stale, another's and the majority's diet, on a sample of edges."""

    every: Annotated[int, Field(ge=0)] = 5
    """Measure in the first round and every so many rounds; 0 never."""
    edges: Count = 256
    """At most this many edges in the whole population."""
    lags: tuple[Count, ...] = (1, 5)
    """Age of stale diets, in interactions."""


class EngineConfig(Section):
    """How it is computed; never changes a result, so no part of the scenario's identity."""

    grid: Literal["local", "ray"] = "local"
    workers: Count | None = None
    """Ray actors; the number of cores when unset."""
    ray_address: str | None = None
    """An existing Ray cluster; a private local one when unset."""


class ScenarioConfig(Section):
    """A study: everything a run's result depends on, and how to compute it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")] = "scenario"
    description: str = ""
    seed: Annotated[int, Field(ge=0)] = 0
    rounds: Count = 10
    population: PopulationConfig = PopulationConfig()
    data: DatasetOptions
    channels: tuple[ChannelConfig, ...] = (ChannelConfig(name="home"),)
    stream: StreamConfig = StreamConfig()
    drift: DriftOptions = Field(default="none")
    request: PolicyOptions = Field(default="always")
    budget: BudgetConfig = BudgetConfig()
    memory: MemoryConfig = MemoryConfig()
    model: BackboneOptions = Field(default="sasrec")
    strategy: StrategyOptions = Field(default="diet")
    train: TrainConfig = TrainConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    controls: ControlsConfig = ControlsConfig()
    engine: EngineConfig = EngineConfig()

    @field_validator("channels")
    @classmethod
    def _distinct_channels(cls, channels: tuple[ChannelConfig, ...]) -> tuple[ChannelConfig, ...]:
        names = [channel.name for channel in channels]
        if not names:
            raise ValueError("give at least one channel, as in [{name = 'home'}]")
        if len(set(names)) != len(names):
            raise ValueError(f"channels need distinct names, got {names}")
        return channels

    def identity(self) -> str:
        """Return a hash of everything a result depends on (not `engine`)."""
        return digest(self.model_dump(mode="json", exclude={"engine", "description"}))


def digest(value: object) -> str:
    """Return 16 hex digits that name a JSON-like value."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def load_scenario(
    path: str | Path, overrides: Iterable[str] = (), changes: Mapping[str, object] | None = None
) -> ScenarioConfig:
    """Read a scenario file (or a shipped scenario by name) and override by dotted names.

    `overrides` are ``key=value`` strings (values as TOML, or bare words); `changes` the
    same with Python values. Both win over the file, `changes` over `overrides`.

    Raises
    ------
    ConfigError
        No such file, not TOML, or a key, type or range is wrong.
    """
    file = find_scenario(path)
    table = read_table(file)
    table.setdefault("name", file.stem)
    pairs = dict(split_override(text) for text in overrides) | dict(changes or {})
    return build(table, pairs, source=f"{file} as overridden" if pairs else str(file))


def read_table(file: Path) -> dict[str, Any]:
    """Return what a TOML file says.

    Raises
    ------
    ConfigError
        It cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}; mend its rights") from error


def build(
    table: Mapping[str, Any], changes: Mapping[str, object] | None = None, source: str = "scenario"
) -> ScenarioConfig:
    """Check a scenario given as nested tables, after setting dotted names in it.

    The order of the dotted names does not matter: plugins are chosen before their options.
    """
    merged = json.loads(json.dumps(dict(table)))
    _name_plugins(merged)
    for dotted, value in sorted((changes or {}).items(), key=depth):
        set_dotted(merged, dotted, value)
    _name_plugins(merged)
    try:
        return ScenarioConfig.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(f"{source}: {explain(error, merged, ScenarioConfig)}") from error


def from_run_config(config: Mapping[str, str]) -> ScenarioConfig:
    """Return the scenario a Flower run's config describes.

    ``scenario`` names a file or a shipped one and ``overrides`` changes it (``key=value``
    pairs, separated by semicolons).
    """
    overrides = [text for text in config.get("overrides", "").split(";") if text.strip()]
    return load_scenario(config.get("scenario", "quickstart"), overrides)


def find_scenario(path: str | Path) -> Path:
    """Return the file named, or the shipped scenario of that name."""
    file = Path(path)
    if file.suffix == ".toml" and file.is_file():
        return file
    shipped = shipped_scenarios()
    if str(path) in shipped:
        return shipped[str(path)]
    if file.is_dir():
        raise ConfigError(f"'{path}' is a folder; name the scenario file in it, a .toml")
    if file.is_file():
        raise ConfigError(f"'{path}' is no scenario file: its name must end in .toml; rename it")
    raise ConfigError(f"no scenario file '{path}'; {nearest(str(path), shipped)}")


def shipped_scenarios() -> dict[str, Path]:
    """Return the scenarios that come with fedsim, by name."""
    import importlib

    folder = Path(str(importlib.import_module("scenarios").__file__)).parent
    return {file.stem: file for file in sorted(folder.glob("*.toml"))}


def _name_plugins(table: dict[str, Any]) -> None:
    """Name the default plugin in every section that has one and names none."""
    for section, field in ScenarioConfig.model_fields.items():
        inner = table.get(section, {})
        marked = any(isinstance(mark, Family) for mark in field.metadata)
        if marked and isinstance(field.default, str) and isinstance(inner, dict):
            table[section] = {"name": field.default} | inner
