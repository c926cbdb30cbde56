"""A finished run's edges, looked at: what they hold, and what they rank first with it.

What `fedsim paper` shows beyond ledgers. Notation: `B` edges, `L` window length, `V` items.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from fedsim.answers import held_rows, spread
from fedsim.cloud.kit import Kit
from fedsim.data._recorded import RecordedDataset
from fedsim.data.base import Channel
from fedsim.edges.side import EdgeSide
from fedsim.engine.run import Run
from fedsim.errors import ConfigError
from fedsim.layout import Layout
from fedsim.models.cost import kept_rows
from fedsim.population import Population
from fedsim.server_app import PROVISION
from fedsim.setting import Arrays
from fedsim.store import CellStore


class Probe:
    """The edges of a run after its last round, in its first channel."""

    def __init__(self, run: Run) -> None:
        self.run, self.folder = run, run.path / "state"
        self.population = Population(run.scenario)
        kit = Kit.read(self.folder, (run.path / PROVISION).read_text().strip())
        self.side = EdgeSide.make(run.scenario, self.population, kit.parts, self.folder)

    @property
    def layout(self) -> Layout:
        """The maskable parameters."""
        return self.side.setting.backbone.layout

    @property
    def channel(self) -> Channel:
        """The catalogue."""
        return self.population.channels[0]

    @cached_property
    def held(self) -> Arrays:
        """What all edges hold, decoded: (B, n) a column."""
        parts = list(self._held())
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _held(self) -> Iterator[Arrays]:
        columns = self.side.store_columns[0]
        for cell in range(self.population.num_cells):
            edges = self.population.cell(cell).edges
            store = CellStore.open(self.folder, cell, self.run.rounds_done)
            rows = held_rows(store, columns, 0, np.arange(len(edges)), edges)
            yield spread(rows, len(edges))

    @cached_property
    def last(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Every edge's window before its last item (B, L), and that item (B)."""
        streams = self.population.gather(np.arange(self.population.num_edges)).channels[0]
        edges, ends = np.arange(len(streams.cuts)), streams.cuts[:, -1] - 1
        length = self.side.setting.backbone.window
        return streams.windows_before(edges, ends, length), streams.at(edges, ends)

    def scores(self, rows: Arrays) -> NDArray[np.float32]:
        """Return scores of all items after each edge's window with these answers: (B, V)."""
        windows = self.last[0][:, None]
        with torch.no_grad():
            scores: NDArray[np.float32] = self.side.half.scores(0, rows, windows)[:, 0, 1:].numpy()
        return scores

    def item(self, number: int) -> str:
        """Return an item's title and genres, or its number."""
        titles, dataset = self.channel.titles, self.population.dataset
        if not titles:
            return f"item {number}"
        genres: tuple[str, ...] = ()
        if isinstance(dataset, RecordedDataset) and len(dataset.log.item_names) + 1 == len(titles):
            name = dataset.log.item_names[number - 1].item()
            genres = tuple(dataset.details.genres.get(name, ()))
        return f"{titles[number]} ({', '.join(genres)})" if genres else titles[number]


def shares_of_rows(run: Run) -> dict[str, float]:
    """Return for each layer the share of rows that keep an element, the mean over edges.

    Raises
    ------
    ConfigError
        The run's edges hold no masks.
    """
    probe = Probe(run)
    if "mask" not in probe.held:
        raise ConfigError(
            f"edges of '{run.scenario.strategy.name}' hold no masks whose rows could be counted; "
            "leave the row out of the table"
        )
    layers = probe.layout.layers
    kept = kept_rows(probe.layout, np.asarray(probe.held["mask"], np.uint8)).mean(axis=0)
    return {
        layer.name: float(count) / layer.rows for layer, count in zip(layers, kept, strict=True)
    }


@dataclass(frozen=True, slots=True)
class Case:
    """A user served with an answer of its own and with another user's.

    Items are titles with genres. `first` holds by the name of each network the items ranked
    first, `hits` the share of all users whose next item is among so many.
    """

    user: int
    other: int
    window: list[str]
    others_window: list[str]
    following: str
    first: dict[str, list[str]]
    hits: dict[str, float]


def compatible(base: Run, diet: Run, count: int = 3) -> Case:
    """Return the first user whose next item only an answer of its own puts among the first.

    Another user's answer is that of whoever has the least similar interests. All items are
    ranked. If there is no such user the first one is taken.
    """
    shared, own = Probe(base), Probe(diet)
    windows, wanted = own.last
    others = _least_similar(own.channel.interests[windows].sum(axis=1))
    swapped = {name: values[others] for name, values in own.held.items()}
    scores = {
        "Base": shared.scores(shared.held),
        "own": own.scores(own.held),
        "another's": own.scores(swapped),
    }
    firsts = {
        name: np.argsort(-each, axis=1, kind="stable")[:, :count] + 1
        for name, each in scores.items()
    }
    hit = {name: (each == wanted[:, None]).any(axis=1) for name, each in firsts.items()}
    user = int(np.argmax(hit["own"] & ~hit["Base"] & ~hit["another's"]))
    other = int(others[user])
    return Case(
        user=user,
        other=other,
        window=[own.item(int(item)) for item in windows[user] if item],
        others_window=[own.item(int(item)) for item in windows[other] if item],
        following=own.item(int(wanted[user])),
        first={name: [own.item(int(i)) for i in each[user]] for name, each in firsts.items()},
        hits={name: float(each.mean()) for name, each in hit.items()},
    )


def _least_similar(interests: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return for each row the one of lowest cosine, of several the first."""
    sizes = np.linalg.norm(interests, axis=1, keepdims=True)
    unit = interests / np.maximum(sizes, 1e-12)
    places: NDArray[np.int64] = np.argmin(unit @ unit.T, axis=1)
    return places
