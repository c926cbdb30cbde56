"""What a process that hosts edges holds: population, edge half, codecs, policy, budgets."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedsim import plugins
from fedsim.answers import Columns
from fedsim.budget import Budget
from fedsim.codecs.base import Codec
from fedsim.devices import DEVICES
from fedsim.errors import ConfigError
from fedsim.memory import Memory
from fedsim.policies.base import Policy
from fedsim.population import Population
from fedsim.ragged import Ragged
from fedsim.scenario import ScenarioConfig
from fedsim.setting import Arrays, Provision, Setting
from fedsim.strategy import EdgeCloudStrategy, EdgeHalf
from fedsim.wire import at_rest, open_records


@dataclass(frozen=True)
class EdgeSide:
    """Everything a process that hosts cells needs, made once from scenario and provision."""

    scenario: ScenarioConfig
    population: Population
    half: EdgeHalf
    columns: tuple[Columns, ...]
    """For each channel its answers' columns and codecs."""
    policy: Policy
    budget: Budget
    memory: Memory
    federated: bool
    fixed_bytes: tuple[int, ...]
    """For each channel the bytes of its provision that no answer replaces."""
    folder: Path

    @property
    def setting(self) -> Setting:
        """The setting the edge half works in."""
        return self.half.setting

    @cached_property
    def store_columns(self) -> tuple[Columns, ...]:
        """The columns with codecs whose records stand alone, as an edge keeps them."""
        return tuple(tuple(at_rest(columns)) for columns in self.columns)

    @cached_property
    def links(self) -> dict[str, NDArray[np.float64]]:
        """Mbit/s down and up and round trip in ms, by number of device class."""
        classes = DEVICES.values()
        return {
            "down": np.asarray([device.down_mbit_s for device in classes]),
            "up": np.asarray([device.up_mbit_s for device in classes]),
            "rtt": np.asarray([device.rtt_ms for device in classes]),
        }

    def paper_bits(self, channel: int, rows: Arrays) -> NDArray[np.int64]:
        """Bits of answers by the papers' rule, 1 a masked parameter and 32 a dense one, int64.

        Unless the strategy has a rule of its own; (B or 1).
        """
        own = self.half.paper_bits(channel, rows)
        if own is not None:
            return own
        bits = sum(
            column.layout.size * (1 if column.kind == "mask" else 32)
            for column, _ in self.columns[channel]
        )
        return np.array([bits])

    def first_rows(self, channel: int) -> Arrays:
        """Return what every edge holds at first, decoded: (1, n) a column."""
        columns = self.store_columns[channel]
        return open_records(columns, self.initial(channel)) if columns else {}

    @staticmethod
    def make(
        scenario: ScenarioConfig, population: Population, parts: Mapping[str, bytes], folder: Path
    ) -> EdgeSide:
        """Unpack a provision; `folder` is where the cells' files are."""
        setting = make_setting(scenario, population)
        strategy = plugins.load("strategies", scenario.strategy.name)(scenario.strategy, setting)
        provision = Provision.decode(parts)
        policy = plugins.load("policies", scenario.request.name)(scenario.request, scenario)
        return EdgeSide(
            scenario=scenario,
            population=population,
            half=strategy.edge(setting, scenario.strategy, provision),
            columns=tuple(
                make_columns(strategy, c, arrays) for c, arrays in enumerate(provision.channels)
            ),
            policy=policy,
            budget=Budget(scenario.budget),
            memory=Memory(scenario, population),
            federated=strategy.federated,
            fixed_bytes=tuple(
                len(parts[f"channel.{c}"]) - arrays.get("initial", np.empty(0)).nbytes
                for c, arrays in enumerate(provision.channels)
            ),
            folder=folder,
        )

    def initial(self, channel: int) -> Ragged:
        """Return the record every edge holds at first: one row, or no bytes."""
        record = self.half.provision.channels[channel].get("initial")
        return Ragged.empty(1) if record is None else Ragged.fixed(record[None].astype(np.uint8))


def make_setting(
    scenario: ScenarioConfig, population: Population, cache_dir: Path | None = None
) -> Setting:
    """Return the setting both halves of a strategy work in."""
    backbone = plugins.load("backbones", scenario.model.name)(scenario.model)
    return Setting(scenario, population.channels, backbone, cache_dir)


def make_columns(strategy: EdgeCloudStrategy, channel: int, provision: Arrays) -> Columns:
    """Return a channel's columns with codecs that have taken their side information.

    An answer of another model, seed or strategy is another network's, whatever its layout.
    """
    scenario = strategy.setting.scenario
    network = [scenario.model.model_dump_json(), scenario.strategy.name, str(scenario.seed)]
    salt = zlib.crc32("\n".join(network).encode())
    made = []
    for plain in strategy.columns_of(channel):
        column = replace(plain, salt=salt)
        config = strategy.codec(column)
        codec: Codec = plugins.load("codecs", config.name)(config, column)
        side = provision.get(f"codec.{column.name}")
        if side is not None:
            codec.load(side.tobytes())
        if codec.needs_held and strategy.edge.adapts:
            raise ConfigError(
                f"strategy.codec = '{config.name}' needs the answer an edge was sent, but "
                f"'{scenario.strategy.name}' edges train theirs on; take 'dense' or 'csr'"
            )
        made.append((column, codec))
    return tuple(made)
