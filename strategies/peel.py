"""PEEL: item embeddings of an edge's own, as many blocks of them as its memory holds.

Zheng, Qu, Chen, Zheng, Shi, Yin: Personalized Elastic Embedding Learning for On-Device
Recommendation. 2023. https://arxiv.org/abs/2306.10532

The conversation, top to bottom: an edge uploads recent items; the cloud finds its group of
users, whose item embedding table is cut into blocks, each with a weight that tells what it
contributes; the answer is the blocks of largest weight that fit into the edge's memory in
this round, of which only those are sent that the edge does not hold yet; the edge ranks with
what it holds. When its memory shrinks it drops the blocks of least weight, which costs no
bytes. What was learned serves all budgets: without a limit every block is sent, once.

Stated in the abstract, which is all that was read: a global embedding table is pretrained;
users are clustered into groups; tables are refined within each group on local interactions;
a controller optimises weights that indicate what each embedding block contributes to the
local performance; for a memory budget the blocks of the largest weights are selected, once
for all; a diversity-driven regularizer keeps blocks expressive.

Ours, because the equations were not read:

- A user is seen as the mean global embedding of the last `upload` items, at unit length.
  Groups are k-means clusters of users; an upload joins the nearest centre, so users whose
  history the cloud never saw are served alike.
- Blocks are slices of the embedding times clusters of items. The clusters are of equal size,
  so that every edge knows the blocks from the size of the catalogue.
- The backbone reads the window and asks, as in every other strategy here: it was pretrained
  with the global table (it is `static`'s), is trained on with the tables, is shared by all
  groups and provisioned once. A slice that is not held is zero in what it reads and in what
  is ranked, so an item of which nothing is held scores 0. Scores are not multiplied by all
  over kept blocks: done for each item, those of which little is held win by chance; done for
  all alike, it changes no ranking and only sharpens the softmax. On validation both were worse.
- The loss is the softmax cross entropy that all strategies here are trained with, not a
  pairwise one, so that a comparison is not one of losses. Training is bi-level, in turns: tables
  and backbone take a step on training interactions, then the controller, a logit for each group
  and block, one on validation interactions. Both see random numbers of blocks in an order drawn
  by these. The controller climbs the expected discounted gain of a target at its
  rank (REINFORCE: Williams, Machine Learning 8, 1992), two orders of each target being each
  other's baseline (Kool, van Hoof, Welling: Buy 4 REINFORCE Samples, Get a Baseline for Free!
  ICLR workshop, 2019); a gradient straight through the choice of blocks ordered them worse than
  chance. The epoch is chosen on the same interactions, at four budgets.
- Diversity is ``-λ mean ‖b_i - b_j‖²`` over slices of the same items, taken at unit length:
  otherwise it could be had for nothing by growing without bound.
- An edge holds nothing before its first answer, and ranks nothing then. Items' embeddings
  are the answers: none are provisioned as candidates.
- Blocks are sent in fp16, with their group's weights, by which the edge drops them.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from fedsim import plugins, rng
from fedsim.codecs.base import Codec, Column
from fedsim.data.base import Streams
from fedsim.errors import ConfigError
from fedsim.layout import Layer, Layout
from fedsim.models.cost import FLOAT_BITS
from fedsim.plugins import CodecOptions, Options
from fedsim.setting import Arrays, Provision, Setting, Uploads
from fedsim.strategy import EdgeCloudStrategy, StrategyConfig
from fedsim.training.fit import fit
from fedsim.training.learner import DenseLearner
from fedsim.training.targets import windows
from fedsim.wire import at_rest, seal
from strategies._blocks import Grid, clustered_order, kept_first, kmeans_centres
from strategies._dense import ShippedEdge, trained_bases
from strategies._peel import PeelLearner, Refiner, user_embeddings


class PeelConfig(StrategyConfig):
    """Options of PEEL; the global table trains by the scenario's `train` section."""

    name: str = "peel"
    groups: Annotated[int, Field(ge=1)] = 4
    """Groups of users, each with a table of its own."""
    clusters: Annotated[int, Field(ge=1)] = 4
    """Clusters of items a table is cut into."""
    slices: Annotated[int, Field(ge=1)] = 4
    """Slices of the embedding a table is cut into; must divide `model.dim`."""
    diversity: Annotated[float, Field(ge=0)] = 0.1
    """λ: what the distance between slices weighs in the loss."""
    upload: Annotated[int, Field(ge=1)] = 100
    """Items an edge uploads, by which the cloud finds its group."""
    epochs: Annotated[int, Field(ge=1)] = 5
    """Epochs of refinement after the global table, with a fresh optimiser and schedule."""
    controller_lr: Annotated[float, Field(gt=0)] = 0.01
    """Learning rate of the controller."""
    codec: CodecOptions = Field(default={"name": "blockdelta", "dtype": "fp16"})
    """How blocks travel."""


class PeelEdge(ShippedEdge):
    """Uploads its last items; ranks with the blocks it holds."""

    @property
    def upload_length(self) -> int:
        return int(self.config.upload)

    @cached_property
    def grids(self) -> list[Grid]:
        """How each channel's table is cut."""
        return grids(self.setting, self.config)

    def scores(self, channel: int, rows: Arrays, windows: NDArray[np.int32]) -> Tensor:
        grid, held = self.grids[channel], rows["table"].astype(np.float32, copy=False)
        place = self.provision.channels[channel]["place"].astype(np.int64)
        table = np.zeros((len(held), grid.items + 1, grid.dim), np.float32)
        table[:, 1:] = grid.unfold(held)[:, place]
        ids = torch.from_numpy(windows).long()
        items = torch.from_numpy(table)
        which = torch.arange(len(held))[:, None, None]
        queries = self.backbone.forward(
            self.weights(channel, rows), self.small[channel], items[which, ids], ids == 0
        )
        return queries @ items.transpose(1, 2)

    def paper_bits(self, channel: int, rows: Arrays) -> NDArray[np.int64]:
        grid = self.grids[channel]
        there = grid.there(rows["table"].astype(np.float32, copy=False))
        return np.asarray(FLOAT_BITS * (there @ grid.layout.block_sizes), np.int64)

    def shrink(self, channel: int, rows: Arrays, memory: NDArray[np.int64]) -> Arrays:
        grid = self.grids[channel]
        table, weights = (rows[name].astype(np.float32) for name in ("table", "weights"))
        there = grid.there(table)
        ranked = np.where(there, weights, -np.inf)
        over = np.arange(len(table))
        for count in range(grid.blocks - 1, -1, -1):
            kept = kept_first(ranked[over], np.full(len(over), count)) & there[over]
            table[over] = grid.only(table[over], kept)
            part = {"table": table[over], "weights": weights[over]}
            sizes = seal(stored_columns(grid, self.config), part).sizes
            over = over[sizes > memory[over]]
            if not len(over):
                break
        return {"table": table, "weights": weights}


class Peel(EdgeCloudStrategy):
    """Answers with the blocks of item embeddings that are worth most and fit into memory."""

    Config = PeelConfig
    edge = PeelEdge
    config: PeelConfig

    def __init__(self, config: PeelConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        dim = setting.backbone.dim
        if dim % config.slices:
            raise ConfigError(
                f"strategy.slices = {config.slices} does not divide the embedding size "
                f"model.dim = {dim}; take one of "
                f"{[size for size in range(1, dim + 1) if dim % size == 0]}"
            )
        self.grids = grids(setting, config)

    @property
    def personalises(self) -> bool:
        return True

    def columns(self) -> tuple[Column, ...]:
        return self.columns_of(0)

    def columns_of(self, channel: int) -> tuple[Column, ...]:
        return table_columns(self.grids[channel])

    def codec(self, column: Column) -> Options:
        return column_codec(self.config, column)

    def fit(self, history: tuple[Streams, ...]) -> None:
        bases = trained_bases(self.setting, history)
        self._learners = [
            self._refined(c, streams, base)
            for c, (base, streams) in enumerate(zip(bases, history, strict=True))
        ]
        self._tables = [_folded(learner) for learner in self._learners]
        self._weights = [learner.block_weights() for learner in self._learners]
        self._sizes = [self._record_sizes(c) for c in range(len(history))]

    def provision(self) -> Provision:
        return Provision(
            channels=tuple(
                {
                    "weights": learner.flat.detach().numpy(),
                    "place": _small_ints(learner.order.argsort().numpy()),
                    **learner.small_arrays(),
                }
                for learner in self._learners
            ),
            candidates=tuple({} for _ in self._learners),
        )

    def initial(self, channel: int) -> Arrays:
        return {
            column.name: np.zeros((1, column.width), np.float32)
            for column in self.columns_of(channel)
        }

    def answer(self, channel: int, uploads: Uploads, round: int) -> Arrays:
        group = self._learners[channel].groups(uploads.items)
        counts = np.full(len(group), self.grids[channel].blocks)
        if uploads.memory is not None:
            sizes = self._sizes[channel][group]
            counts = np.maximum((sizes <= uploads.memory[:, None]).sum(axis=1), 1)
        return self._rows(channel, group, counts)

    def majority(self, channel: int, rows: Arrays) -> Arrays:
        """Return the blocks most edges hold, as many as they hold on average, and their means."""
        grid, table = self.grids[channel], rows["table"].astype(np.float32, copy=False)
        held = grid.there(table).sum(axis=0)
        count = round(held.sum() / len(table))
        mean = table.sum(axis=0) / np.repeat(np.maximum(held, 1), grid.layout.block_sizes)
        kept = kept_first(held[None].astype(np.float32), np.array([count]))
        weights = rows["weights"].mean(axis=0, keepdims=True, dtype=np.float64)
        return {
            "table": grid.only(mean[None].astype(np.float32), kept),
            "weights": weights.astype(np.float32),
        }

    def _refined(self, channel: int, streams: Streams, base: DenseLearner) -> PeelLearner:
        """Return a channel's tables, refined from the global one, and their controller."""
        setting, config, grid = self.setting, self.config, self.grids[channel]
        seed, purpose = setting.scenario.seed, f"peel/{setting.channels[channel].name}"
        items = base.items.detach().numpy()
        draw = rng.generator(seed, f"{purpose}/clusters")
        order = clustered_order(items[1:], grid, int(draw.integers(2**31)))
        learner = PeelLearner(
            base,
            grid,
            self._centres(items, streams, int(draw.integers(2**31))),
            order,
            config,
            rng.torch_generator(seed, f"{purpose}/start"),
        )
        fit(
            learner,
            streams,
            setting,
            purpose=purpose,
            options=config.model_dump(mode="json", exclude={"codec", "epochs"}),
            epochs=config.epochs,
            trainer_type=Refiner,
        )
        return learner

    def _centres(
        self, items: NDArray[np.float32], streams: Streams, seed: int
    ) -> NDArray[np.float32]:
        """Return the mean users of the groups, from all but the last item of their history."""
        edges = np.flatnonzero(streams.lengths > 1)
        known = windows(streams, edges, streams.lengths[edges] - 1, self.config.upload)
        return kmeans_centres(user_embeddings(items, known), self.config.groups, seed)

    def _rows(
        self, channel: int, group: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> dict[str, NDArray[np.float32]]:
        """Return groups' tables with so many blocks, those of largest weight."""
        weights = self._weights[channel][group]
        kept = kept_first(weights, counts)
        table = self.grids[channel].only(self._tables[channel][group], kept)
        return {"table": table, "weights": weights}

    def _record_sizes(self, channel: int) -> NDArray[np.int64]:
        """Return the bytes of stored records with 1, 2, ... blocks, int64 (G, blocks)."""
        grid = self.grids[channel]
        columns = stored_columns(grid, self.config)
        counts = np.arange(1, grid.blocks + 1)
        groups = range(len(self._weights[channel]))
        rows = (self._rows(channel, np.full(len(counts), group), counts) for group in groups)
        return np.stack([seal(columns, part).sizes for part in rows])


def grids(setting: Setting, config: PeelConfig) -> list[Grid]:
    """Return how each channel's table is cut."""
    dim = setting.backbone.dim
    return [
        Grid(place.num_items, dim, config.clusters, config.slices) for place in setting.channels
    ]


def table_columns(grid: Grid) -> tuple[Column, ...]:
    """Return the columns of an answer: the table in blocks, and the blocks' weights."""
    weights = Layout((Layer("weights", 1, grid.blocks),))
    return (Column("table", "dense", grid.layout), Column("weights", "dense", weights))


def column_codec(config: PeelConfig, column: Column) -> Options:
    """Return the codec of a column; weights travel once for as long as they stay."""
    return config.codec if column.name == "table" else plugins.options("codecs", "blockdelta")


def stored_columns(grid: Grid, config: PeelConfig) -> list[tuple[Column, Codec]]:
    """Return the columns with codecs that give the sizes of an edge's stored record."""
    made = []
    for column in table_columns(grid):
        options = column_codec(config, column)
        codec: Codec = plugins.load("codecs", options.name)(options, column)
        made.append((column, codec))
    return at_rest(made)


def _folded(learner: PeelLearner) -> NDArray[np.float32]:
    """Return the groups' tables as rows of blocks, float32 (G, V D)."""
    tables = learner.tables.detach()[:, 1 + learner.order]
    return learner.grid.fold(tables.numpy())


def _small_ints(values: NDArray[np.int64]) -> NDArray[np.unsignedinteger[Any]]:
    return values.astype(np.uint16 if len(values) <= 1 << 16 else np.uint32)
