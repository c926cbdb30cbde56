"""What a strategy's two halves are told: the setting, uploads and the provision."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fedsim.data.base import Channel
from fedsim.errors import StoreError
from fedsim.models.base import Backbone
from fedsim.scenario import ScenarioConfig

Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Setting:
    """The study a strategy works in.

    `cache_dir` is where trained weights are kept between runs, or None to keep nothing.
    """

    scenario: ScenarioConfig
    channels: tuple[Channel, ...]
    backbone: Backbone
    cache_dir: Path | None = None


@dataclass(frozen=True, slots=True)
class Uploads:
    """Recent items of B edges in one channel: int32 (B, H), left-padded with 0.

    Or in all channels, numbered as in `fedsim.timeline`, where the edge half says so.
    `memory` is what each has room for: bytes of this channel's stored answer in this round,
    int64 (B), or None without a limit.
    """

    edges: NDArray[np.int64]
    items: NDArray[np.int32]
    memory: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class Provision:
    """What every edge is given once, before round 1.

    `shared` serves all channels, `channels[c]` one of them; `candidates[c]` holds the item
    embeddings an edge ranks with (``items``, float32 (V + 1, D)), booked apart.
    """

    shared: Arrays = field(default_factory=dict)
    channels: tuple[Arrays, ...] = ()
    candidates: tuple[Arrays, ...] = ()

    def encode(self) -> dict[str, bytes]:
        """Return the parts as safetensors bytes: ``shared``, ``channel.C``, ``candidates.C``.

        A part without arrays is no bytes at all.
        """
        parts = {"shared": self.shared}
        parts |= {f"channel.{c}": arrays for c, arrays in enumerate(self.channels)}
        parts |= {f"candidates.{c}": arrays for c, arrays in enumerate(self.candidates)}
        return {name: _save(arrays) for name, arrays in parts.items()}

    @staticmethod
    def decode(parts: Mapping[str, bytes]) -> Provision:
        """Return the provision that `encode` wrote.

        Raises
        ------
        StoreError
            A part is not what was encoded.
        """
        count = sum(name.startswith("channel.") for name in parts)
        try:
            return Provision(
                shared=_load(parts["shared"]),
                channels=tuple(_load(parts[f"channel.{c}"]) for c in range(count)),
                candidates=tuple(_load(parts[f"candidates.{c}"]) for c in range(count)),
            )
        except (SafetensorError, KeyError, json.JSONDecodeError) as error:
            raise StoreError(
                f"the provision cannot be read ({error}); start the run anew"
            ) from error


def _save(arrays: Arrays) -> bytes:
    if not arrays:
        return b""
    return save({name: np.ascontiguousarray(value) for name, value in arrays.items()})


def _load(data: bytes) -> Arrays:
    return load(data) if data else {}
