"""The base of every strategy: a Flower strategy that answers uploads, and its edge half.

A strategy file fills in the hooks of two classes. The cloud half, `EdgeCloudStrategy`, is a
`flwr.serverapp.strategy.Strategy` whose rounds are one conversation: ``configure_train``
asks the cells for uploads, ``aggregate_train`` takes them, ``configure_evaluate`` yields the
cells' answers one by one, ``aggregate_evaluate`` books the ledger. The edge half, `EdgeHalf`,
runs on the edges of a cell together. Shapes: B edges, K windows an edge, L window length,
D embedding size, V items, N maskable parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from numpy.typing import NDArray

from fedsim.answers import majority_row
from fedsim.codecs.base import Column
from fedsim.data.base import Streams
from fedsim.errors import ConfigError, PluginError
from fedsim.plugins import Options, Plugin
from fedsim.setting import Arrays, Provision, Setting, Uploads

if TYPE_CHECKING:
    from fedsim.cloud.desk import Desk
    from fedsim.population import ChannelStreams


class StrategyConfig(Options):
    """Options every strategy has."""


class EdgeHalf:
    """What an edge does with the provision and its answers, for B edges at once.

    The default serves a backbone whose weights come from `weights`, whose other parameters
    are the arrays named ``small.*`` of the channel's provision, and ranks by the inner
    product with the item embeddings of the channel's candidates.
    """

    asks: ClassVar[bool] = True
    """Edges ask the cloud for answers."""
    adapts: ClassVar[bool] = False
    """Edges train what they hold on their own items, and keep the outcome to themselves."""

    def __init__(self, setting: Setting, config: Any, provision: Provision) -> None:
        self.setting, self.config, self.provision = setting, config, provision
        self.backbone = setting.backbone
        self.items = [
            torch.from_numpy(part["items"].copy())
            for part in provision.candidates
            if "items" in part
        ]
        self.small = [_small(arrays) for arrays in provision.channels]

    @property
    def upload_length(self) -> int:
        """Items of an upload: the backbone's window unless a strategy wants more."""
        return self.backbone.window

    @property
    def reads_all_channels(self) -> bool:
        """Whether an upload holds the edge's last items in all channels, for all of them.

        They are numbered as in `fedsim.timeline`. Otherwise each channel uploads its own.
        """
        return False

    def weights(self, channel: int, rows: Arrays) -> Sequence[torch.Tensor]:
        """Return one tensor (B or 1, rows, columns) for each maskable layer.

        `rows` are the decoded answers by column name, (B or 1, n) each, and empty for a
        strategy that never answers.
        """
        raise NotImplementedError(f"{type(self).__name__} gives no weights")

    def queries(self, channel: int, rows: Arrays, windows: NDArray[np.int32]) -> torch.Tensor:
        """Return what the backbone makes of windows (B, K, L): float32 (B, K, D)."""
        ids = torch.from_numpy(windows).long()
        return self.backbone.forward(
            self.weights(channel, rows), self.small[channel], self.items[channel][ids], ids == 0
        )

    def scores(self, channel: int, rows: Arrays, windows: NDArray[np.int32]) -> torch.Tensor:
        """Return a score for every item after each window: float32 (B, K, V + 1)."""
        return self.queries(channel, rows, windows) @ self.items[channel].T

    def macs(self, channel: int, rows: Arrays) -> NDArray[np.int64]:
        """Return multiply-accumulates of one inference, int64 (B or 1)."""
        return self.backbone.macs(None)

    def paper_bits(self, channel: int, rows: Arrays) -> NDArray[np.int64] | None:
        """Return the size of these answers by a paper's formula, int64 (B or 1) bits.

        None: 1 bit for an element of a mask, 32 for a float.
        """
        return None

    def parts(self, channel: int, rows: Arrays) -> NDArray[np.bool_] | None:
        """Return which parts of an answer edges hold, bool (B or 1, parts); None without parts."""
        return None

    def shrink(self, channel: int, rows: Arrays, memory: NDArray[np.int64]) -> Arrays:
        """Return what edges keep of rows (B, n) whose record does not fit into memory bytes (B).

        An edge that cannot drop parts keeps everything, which is the default.
        """
        return rows

    def adapt(
        self,
        channel: int,
        rows: Arrays,
        streams: ChannelStreams,
        edges: NDArray[np.int64],
        round: int,
    ) -> Arrays:
        """Return what edges hold after training on their own items (where `adapts`).

        After the round's answers are applied, before its items are ranked; arguments as for
        `update`, whose outcome would be sent.
        """
        raise NotImplementedError(f"{type(self).__name__} does not adapt on the edge")

    def adapt_macs(self, channel: int, known: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return multiply-accumulates of `adapt` for edges that know so many items, int64 (B)."""
        return np.zeros(len(known), np.int64)

    def update(
        self,
        channel: int,
        rows: Arrays,
        streams: ChannelStreams,
        edges: NDArray[np.int64],
        round: int,
    ) -> Arrays:
        """Return the edges' own new rows after local training (federated strategies only).

        `edges` are positions in the cell; `rows` what those edges hold.
        """
        raise NotImplementedError(f"{type(self).__name__} does not train on the edge")

    def examples(self, known: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return how many examples edges train on that know so many items, float64 (B)."""
        return np.maximum(known - 1, 0).astype(np.float64)


class EdgeCloudStrategy(Strategy, Plugin):
    """The cloud half of a strategy, made as ``cls(config, setting)``.

    Hooks: `columns`, `fit`, `provision`, `initial` and `answer`; strategies that learn on
    line also `learn`, `state` and `restore`.
    """

    Config = StrategyConfig
    edge: ClassVar[type[EdgeHalf]] = EdgeHalf
    federated: ClassVar[bool] = False
    """Edges upload weights they trained themselves instead of items."""

    def __init__(self, config: Any, setting: Setting) -> None:
        self.config, self.setting = config, setting
        self._desk: Desk | None = None

    # ---- hooks ------------------------------------------------------------------------

    @property
    def personalises(self) -> bool:
        """Whether answers differ between edges, so that the controls mean something."""
        return False

    def columns(self) -> tuple[Column, ...]:
        """Return what an answer consists of; nothing if edges are never answered."""
        return ()

    def columns_of(self, channel: int) -> tuple[Column, ...]:
        """Return what an answer in a channel consists of, where channels differ in size.

        Known before `fit`; the names are those of `columns`.
        """
        return self.columns()

    def codec(self, column: Column) -> Options:
        """Return the codec of a column: the option named ``codec`` unless overridden.

        Raises
        ------
        PluginError
            There is no such option.
        """
        options = getattr(self.config, "codec", None)
        if not isinstance(options, Options):
            raise PluginError(
                f"{type(self.config).__name__} has no option 'codec' that says how column "
                f"'{column.name}' travels; add to it: codec: CodecOptions = "
                f"Field(default='{'dense' if column.kind == 'dense' else 'bitmask'}')"
            )
        return options

    def fit(self, history: tuple[Streams, ...]) -> None:
        """Learn in the cloud from the in-distribution edges' history, one Streams a channel."""

    def provision(self) -> Provision:
        """Return what every edge is given once."""
        raise NotImplementedError(f"{type(self).__name__} provisions nothing")

    def initial(self, channel: int) -> Arrays:
        """Return the answer every edge is provisioned with, (1, n) a column."""
        return {}

    def sample(self, channel: int) -> Arrays:
        """Return typical answers (any number, n) a codec may fit its prior on."""
        return {}

    def answer(self, channel: int, uploads: Uploads, round: int) -> Arrays:
        """Return answers, (B, n) a column, or (1, n) where all edges get the same.

        A pure function of what was fitted or learnt and of the uploads.
        """
        return {}

    def majority(self, channel: int, rows: Arrays) -> Arrays:
        """Return one answer for all: the bits most edges keep, or the mean, (1, n) a column.

        A mask's majority keeps, in each layer, as many elements as the edges' masks do on
        average, those kept by most edges.
        """
        columns = self.columns_of(channel)
        return {column.name: majority_row(column, rows[column.name]) for column in columns}

    def learn(self, round: int, uploads: Sequence[Iterable[Uploads]]) -> None:
        """Learn on line from all uploads of a round, for each channel cell by cell."""

    def take_update(self, channel: int, mean: Arrays) -> None:
        """Take the example-weighted mean of the edges' updates (federated strategies)."""

    def state(self) -> Arrays:
        """Return what `learn` and `take_update` changed, to be kept with every round."""
        return {}

    def restore(self, state: Arrays) -> None:
        """Take back what `state` returned."""

    # ---- Flower's conversation --------------------------------------------------------

    def attach(self, desk: Desk) -> None:
        """Give the strategy the desk that carries its messages in this run."""
        self._desk = desk

    @property
    def desk(self) -> Desk:
        """The desk of this run."""
        if self._desk is None:
            raise ConfigError(
                f"{type(self).__name__} has no desk; start it with fedsim.run or 'fedsim run'"
            )
        return self._desk

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask every cell for its edges' uploads."""
        return self.desk.ask(server_round)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Take the uploads, and learn from them where the strategy does."""
        self.desk.take(server_round, replies)
        return None, None

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Answer the uploads cell by cell, as fast as the grid asks for the next message."""
        return self.desk.answers(server_round)

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Book the cells' rows and commit the round."""
        return self.desk.book(server_round, replies)

    def summary(self) -> None:
        """Say nothing: the display and the run's own log tell what runs."""


def _small(arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix("small."): torch.from_numpy(value.copy())
        for name, value in arrays.items()
        if name.startswith("small.")
    }
