"""The provision as bytes: a strategy's arrays, the codecs' side information, first answers.

The scenario goes with it, so that a node needs no file of the cloud's.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, RecordDict
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fedsim import plugins
from fedsim.answers import Columns
from fedsim.arrays import pack, unpack
from fedsim.cloud import hooks
from fedsim.codecs.base import Codec
from fedsim.edges.side import make_columns
from fedsim.errors import RunError
from fedsim.files import write_atomic
from fedsim.scenario import ScenarioConfig
from fedsim.setting import Provision
from fedsim.strategy import EdgeCloudStrategy
from fedsim.wire import at_rest, seal

SCENARIO = "scenario"
"""The part that tells the study; no edge is booked for it."""


@dataclass(frozen=True)
class Kit:
    """An encoded provision; `name` tells one kit from another."""

    parts: Mapping[str, bytes]

    @property
    def name(self) -> str:
        """A name made of the content."""
        check = 0
        for part in sorted(self.parts):
            check = zlib.crc32(self.parts[part], zlib.crc32(part.encode(), check))
        return f"provision-{check:08x}"

    @staticmethod
    def pack(strategy: EdgeCloudStrategy) -> Kit:
        """Encode what a fitted strategy gives its edges once.

        To each channel's arrays come ``codec.COLUMN``, a codec's side information fitted on
        the strategy's sample answers, and ``initial``, the record every edge holds at first.
        """
        provision = hooks.provision(strategy)
        channels = []
        for c, arrays in enumerate(provision.channels):
            full = dict(arrays) | _side_information(strategy, c)
            columns = make_columns(strategy, c, full)
            if columns:
                initial = seal(at_rest(columns), hooks.initial(strategy, c))
                full["initial"] = np.frombuffer(initial.row(0), np.uint8)
            channels.append(full)
        whole = Provision(provision.shared, tuple(channels), provision.candidates)
        scenario = strategy.setting.scenario.model_dump_json(exclude={"engine", "description"})
        return Kit({SCENARIO: scenario.encode(), **whole.encode()})

    @property
    def scenario(self) -> ScenarioConfig:
        """The study; `engine` has its defaults, as it changes nothing on an edge."""
        return ScenarioConfig.model_validate_json(self.parts[SCENARIO])

    def columns(self, strategy: EdgeCloudStrategy) -> tuple[Columns, ...]:
        """Return each channel's columns and codecs, as the edges have them."""
        provision = Provision.decode(self.parts)
        channels = enumerate(provision.channels)
        return tuple(make_columns(strategy, c, arrays) for c, arrays in channels)

    def record(self) -> ArrayRecord:
        """Return the kit as it travels."""
        return pack({name: np.frombuffer(data, np.uint8) for name, data in self.parts.items()})

    @staticmethod
    def of(content: RecordDict) -> Kit:
        """Return the kit that travelled in a message."""
        arrays = unpack(content, "provision")
        return Kit({name: values.tobytes() for name, values in arrays.items()})

    def write(self, folder: Path) -> None:
        """Keep the kit under its name unless it is there."""
        file = folder / self.name
        if not file.exists():
            arrays = {name: np.frombuffer(data, np.uint8) for name, data in self.parts.items()}
            write_atomic(file, save(arrays))

    @staticmethod
    def read(folder: Path, name: str) -> Kit:
        """Return the kit kept under a name.

        Raises
        ------
        RunError
            There is none, or it is damaged.
        """
        file = folder / name
        try:
            kit = Kit({part: data.tobytes() for part, data in load(file.read_bytes()).items()})
        except (OSError, SafetensorError) as error:
            raise RunError(
                f"no readable provision {file} ({error}); edges are provisioned when a run "
                "starts or resumes: resume it"
            ) from error
        if kit.name != name:
            raise RunError(f"provision {file} is damaged; delete it and resume the run")
        return kit


def _side_information(strategy: EdgeCloudStrategy, channel: int) -> dict[str, NDArray[Any]]:
    found = {}
    sample = hooks.sample(strategy, channel)
    for column in strategy.columns_of(channel):
        config = strategy.codec(column)
        codec: Codec = plugins.load("codecs", config.name)(config, column)
        if column.name in sample:
            codec.fit(sample[column.name])
        side = codec.side_information()
        if side:
            found[f"codec.{column.name}"] = np.frombuffer(side, np.uint8)
    return found
