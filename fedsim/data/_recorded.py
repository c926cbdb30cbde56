"""What data sets read from files share: the protocol, the catalogues, the streams."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedsim.data.base import SHORTEST, Channel, Dataset, DatasetConfig, Streams, held_out
from fedsim.data.interests import clustered, normalised
from fedsim.errors import ConfigError, DataError, nearest
from fedsim.scenario import ChannelConfig, Count, ScenarioConfig
from fedsim.slices import take

Least = Annotated[int, Field(ge=0)]
"""How many interactions an item or a user must have to be kept."""


class RecordedConfig(DatasetConfig):
    """Options every recorded data set has."""

    path: Path
    """File or folder; looked for from the working directory and in ``$FEDSIM_DATA``."""
    min_item_count: Least = 0
    """Drop items with fewer interactions, in one pass; 0 drops none."""
    k_core: Least = 0
    """Drop users and items with fewer interactions until none is left; 0 drops none."""
    min_interactions: Least = 0
    """Then drop users with fewer interactions; 0 drops none."""
    clusters: Count = 16
    """Interests found by clustering, where the data has no genres."""


@dataclass(frozen=True, slots=True)
class Log:
    """Interactions in file order: codes of users and items, seconds where known."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    times: NDArray[np.int64] | None
    user_names: NDArray[Any]
    item_names: NDArray[Any]

    def keep(self, rows: NDArray[np.bool_]) -> Log:
        """Return some of the interactions, users and items numbered anew without gaps."""
        users, user_codes = np.unique(self.users[rows], return_inverse=True)
        items, item_codes = np.unique(self.items[rows], return_inverse=True)
        times = None if self.times is None else self.times[rows]
        return Log(user_codes, item_codes, times, self.user_names[users], self.item_names[items])

    def in_order(self) -> Log:
        """Return the interactions user by user, each by time, ties in file order."""
        keys = (self.users,) if self.times is None else (self.times, self.users)
        order = np.lexsort(keys)
        times = None if self.times is None else self.times[order]
        return replace(self, users=self.users[order], items=self.items[order], times=times)


@dataclass(frozen=True, slots=True)
class Details:
    """What is known of items, by their names in the file: title, and names of genres."""

    titles: Mapping[Any, str] = field(default_factory=dict)
    genres: Mapping[Any, tuple[str, ...]] = field(default_factory=dict)
    genre_names: tuple[str, ...] = ()


class RecordedDataset(Dataset):
    """A data set read from files; edge i is the i-th user that is left."""

    Config = RecordedConfig

    def __init__(self, config: RecordedConfig, scenario: ScenarioConfig) -> None:
        self.config = config
        self.seed = scenario.seed
        self.log = protocol(self.read(), config).in_order()
        if not len(self.log.items):
            raise DataError(
                f"{config.path}: no interaction is left with min_item_count = "
                f"{config.min_item_count}, k_core = {config.k_core}, min_interactions = "
                f"{config.min_interactions}; lower them"
            )
        self.details = self.read_details()
        self._select(scenario.channels)

    @abstractmethod
    def read(self) -> Log:
        """Read the interactions."""

    def read_details(self) -> Details:
        """Read what is known of items; nothing by default."""
        return Details()

    @property
    def num_edges(self) -> int:
        """Users left by the protocol."""
        return len(self.log.user_names)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """A catalogue for each channel, of the items of its genres."""
        return self._channels

    def streams(self, channel: int, edges: NDArray[np.int64]) -> Streams:
        """Return the recorded streams."""
        everything = self._streams[channel]
        edges = np.asarray(edges, np.int64)
        return take(everything, everything.offsets[edges], everything.lengths[edges])

    def boundaries(self, history: float, rounds: int) -> NDArray[np.int64]:
        """End history when that share of all interactions has been; then equal spans."""
        if self.log.times is None:
            raise DataError(
                f"{self.config.path}: the data has an order but no times; "
                f"set stream.slices = 'count'"
            )
        start = int(np.quantile(self.log.times, history))
        return np.linspace(start, int(self.log.times.max()), rounds + 1).astype(np.int64)

    def fingerprint(self) -> str:
        state = hashlib.blake2b(digest_size=8)
        for part in (self.log.users, self.log.items, self.log.times):
            state.update(b"" if part is None else np.ascontiguousarray(part).tobytes())
        return state.hexdigest()

    def check(self, least: int = SHORTEST) -> None:
        """Refuse users with too few interactions."""
        lengths = np.bincount(self.log.users)
        short = int(np.argmax(lengths < least))
        if lengths[short] < least:
            raise DataError(
                f"user '{self.log.user_names[short]}' of {self.config.path} has {lengths[short]} "
                f"interactions; an edge needs at least {least}{held_out(least)}; set "
                f"data.min_interactions = {least} to drop such users"
            )

    def _select(self, channels: tuple[ChannelConfig, ...]) -> None:
        flags = self._genre_flags()
        picked = [self._pick(channel, flags, len(channels)) for channel in channels]
        interests = normalised(flags) if flags.size else self._clusters()
        titles = self._titles()
        self._streams = tuple(self._catalogue_streams(chosen) for chosen in picked)
        self._channels = tuple(
            Channel(
                index,
                channel.name,
                int(chosen.sum()),
                interests[np.concatenate([[True], chosen])],
                ("", *(t for t, c in zip(titles, chosen, strict=True) if c)) if titles else (),
            )
            for index, (channel, chosen) in enumerate(zip(channels, picked, strict=True))
        )

    def _pick(
        self, channel: ChannelConfig, flags: NDArray[np.bool_], count: int
    ) -> NDArray[np.bool_]:
        names = self.details.genre_names
        if not channel.genres:
            if count > 1:
                raise ConfigError(
                    f"channel '{channel.name}' has no genres, so its catalogue is unknown beside "
                    f"{count - 1} others; name some ({nearest('', names)}) or leave one channel"
                )
            return np.ones(len(self.log.item_names), np.bool_)
        for genre in channel.genres:
            if genre not in names:
                raise ConfigError(
                    f"channel '{channel.name}': {self.config.path} knows no genre '{genre}'; "
                    f"{nearest(genre, names)}"
                )
        columns = [names.index(genre) for genre in channel.genres]
        chosen: NDArray[np.bool_] = np.any(flags[:, columns], axis=1)
        if not chosen.any():
            raise ConfigError(
                f"channel '{channel.name}': no item left in {self.config.path} has one of its "
                f"genres {list(channel.genres)}; add genres or lower data.min_item_count"
            )
        return chosen

    def _catalogue_streams(self, chosen: NDArray[np.bool_]) -> Streams:
        ids = np.cumsum(chosen, dtype=np.int32)
        rows = chosen[self.log.items]
        counts = np.bincount(self.log.users[rows], minlength=self.num_edges)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        times = None if self.log.times is None else self.log.times[rows]
        return Streams(ids[self.log.items[rows]], offsets, times)

    def _genre_flags(self) -> NDArray[np.bool_]:
        place = {name: index for index, name in enumerate(self.details.genre_names)}
        flags = np.zeros((len(self.log.item_names), len(place)), np.bool_)
        for row, item in enumerate(self.log.item_names.tolist()):
            flags[row, [place[genre] for genre in self.details.genres.get(item, ())]] = True
        return flags

    def _clusters(self) -> NDArray[np.float32]:
        return clustered(self.log.users, self.log.items, self.config.clusters, self.seed)

    def _titles(self) -> list[str]:
        if not self.details.titles:
            return []
        return [self.details.titles.get(item, str(item)) for item in self.log.item_names.tolist()]


def protocol(log: Log, config: RecordedConfig) -> Log:
    """Drop rare items and users as the options say."""
    if config.min_item_count:
        log = log.keep(np.bincount(log.items)[log.items] >= config.min_item_count)
    if config.k_core:
        log = k_core(log, config.k_core)
    if config.min_interactions:
        log = log.keep(np.bincount(log.users)[log.users] >= config.min_interactions)
    return log


def k_core(log: Log, least: int) -> Log:
    """Drop users and items with fewer interactions until every one left has `least`."""
    alive = np.ones(len(log.items), np.bool_)
    while True:
        users = np.bincount(log.users[alive], minlength=len(log.user_names))
        items = np.bincount(log.items[alive], minlength=len(log.item_names))
        keep = alive & (users[log.users] >= least) & (items[log.items] >= least)
        if (keep == alive).all():
            return log.keep(alive)
        alive = keep
