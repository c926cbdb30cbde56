"""Menu: the cloud answers a long upload with a snack and a list of items to show next. Ours.

Why: a cloud that has read a long upload can say outright what it would recommend next, with
models and tables far too large to ship. Written out, its best items take fewer bytes than any
mask, and no network has to be steered to find them. But a list says nothing of what comes
after the next choice: so there is a snack beside it.

1. A snack, exactly that of `strategies.snack`, for the dense backbone on the edge.
2. A list: the upload's last item, and after it the best M items of the cloud's own ranking
   (`strategies._cloud_ranking`). As long as the last item the edge knows is the one the list
   starts with, its items are ranked first, in its order, and everything else after them by
   the snack. Once the edge knows a newer item the list is void, and the snack ranks alone;
   where items repeat, choosing the list's first item again revives it.

The cloud needs to hear of a choice to write a new list, so a list is worth most where edges
upload after every choice, as in leave one out, and less the more items are ranked a round.
`strategy.models` beyond the first are trained for the cloud's ranking alone, each with its own
backbone, and so is the long diet of `strategy.with_diet`: more training, no more bytes.

With `strategy.reads = "all"` the snack reads all channels. The list is still made of the
channel's own items in the upload, by models that read those alone, and is void where the upload
ends before the channel's last item does (see `fedsim.timeline`).

A list travels and is stored as one row of bits a bit of its ids, by any codec of masks. Edges
multiply no more than with a snack.

Notation: `B` edges, `K` windows of an edge, `M` items of a list, `V` items.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from fedsim.codecs.base import Column
from fedsim.data.base import Streams
from fedsim.errors import ConfigError
from fedsim.layout import Layer, Layout
from fedsim.setting import Arrays, Setting, Uploads
from fedsim.timeline import numbering, own_items
from fedsim.training.learner import Learner
from strategies._cloud_ranking import LARGEST, CloudRanking
from strategies._generated import GeneratingLearner
from strategies._levels import packed, unpacked
from strategies._long_upload import LongUploadConfig, reads_all
from strategies._typical import typical_uploads
from strategies.long_diet import LongDiet, LongDietConfig
from strategies.snack import Snack, SnackConfig, SnackEdge, SnackLearner
from strategies.user_vector import trained_reader


class MenuConfig(SnackConfig):
    """Options of the menu; the snack's are its own, and mean the same."""

    name: str = "menu"
    listed: Annotated[int, Field(ge=1, le=1000)] = 16
    """Items of a list; places are paid for where fewer can be ranked."""
    models: Annotated[int, Field(ge=1)] = 1
    """Models whose chances the cloud averages; the first is the snack's own."""
    with_diet: bool = False
    """Rank by the chances of a long diet's model as well, whose masks are never sent."""
    ridge: Annotated[float, Field(gt=0)] = 150.0
    """EASE's regularisation: what is added to the diagonal of its Gram matrix."""
    reach: Annotated[int, Field(ge=1)] = 10
    """An item counts as following another up to so many interactions later."""
    ease_fade: Annotated[float, Field(gt=0, le=1)] = 0.97
    """Weight of an uploaded item in EASE, relative to the next one's."""
    follow_fade: Annotated[float, Field(gt=0, le=1)] = 0.9
    """The same in what followed."""

    @property
    def snack(self) -> SnackConfig:
        """The options of the snack, under its own name: both are trained once."""
        names = set(SnackConfig.model_fields) - {"name"}
        return SnackConfig(**{name: getattr(self, name) for name in names})

    @property
    def listing(self) -> SnackConfig:
        """The options of the models that rank for lists, which read the channel alone."""
        return self.snack.model_copy(update={"reads": "channel"})

    @property
    def diet(self) -> LongDietConfig:
        """The options of the long diet, which keeps what was chosen for it on history."""
        names = set(LongUploadConfig.model_fields) - {"name", "reads"}
        return LongDietConfig(keep=0.2, **{name: getattr(self, name) for name in names})


class MenuEdge(SnackEdge):
    """Ranks by the list while it is fresh, and by the snack."""

    def scores(self, channel: int, rows: Arrays, windows: NDArray[np.int32]) -> Tensor:
        scores = super().scores(channel, rows, windows)
        listed = self.config.listed
        ids = listed_items(self.setting, channel, rows["list"], listed)
        fresh = (windows[:, :, -1] == ids[:, :1]) & (ids[:, :1] > 0)
        edge, slot = np.nonzero(fresh)
        chosen = scores[edge, slot]
        first = chosen.amax(-1, keepdim=True) + torch.arange(listed, 0, -1)
        on_list = torch.from_numpy(ids[edge if len(ids) > 1 else np.zeros_like(edge), 1:])
        scores[edge, slot] = chosen.scatter(1, on_list, first)
        return scores


class Menu(Snack):
    """Trains a snack and what else the cloud ranks by; answers with codes and lists."""

    Config = MenuConfig
    edge = MenuEdge
    config: MenuConfig

    def columns(self) -> tuple[Column, ...]:
        return self.columns_of(0)

    def columns_of(self, channel: int) -> tuple[Column, ...]:
        bits, length = id_bits(self.setting, channel), self.config.listed + 1
        rows = tuple(Layer(f"id{bit}", 1, length) for bit in range(bits))
        return (*super().columns(), Column("list", "mask", Layout(rows)))

    def fit(self, history: tuple[Streams, ...]) -> None:
        for place in self.setting.channels:
            if place.num_items > LARGEST:
                raise ConfigError(
                    f"channel '{place.name}' has {place.num_items} items, but a list needs tables "
                    f"of every pair of items, and at most {LARGEST} of them; take a smaller "
                    "catalogue (data.min_item_count, data.k_core) or strategy 'snack'"
                )
        super().fit(history)
        self._rankings = [self._ranking(c, streams) for c, streams in enumerate(history)]
        self._lists = [
            self._list(c, typical_uploads(streams, self.config.upload))
            for c, streams in enumerate(history)
        ]

    def trained(self, channel: int, streams: Streams) -> SnackLearner:
        return trained_reader(self.setting, channel, streams, self.config.snack, SnackLearner)

    def sample(self, channel: int) -> Arrays:
        return {**super().sample(channel), "list": self._lists[channel]}

    def answer(self, channel: int, uploads: Uploads, round: int) -> Arrays:
        codes = super().answer(channel, uploads, round)
        return {**codes, "list": self._list(channel, self._own(channel, uploads))}

    def majority(self, channel: int, rows: Arrays) -> Arrays:
        """Return the code of mean levels, and an empty list: a list is for one edge alone."""
        return {**super().majority(channel, rows), "list": np.zeros_like(rows["list"][:1])}

    def _model(self, channel: int, streams: Streams, number: int) -> GeneratingLearner:
        """Return a model that ranks for lists; the first is the snack's own if that may be."""
        config, part = self.config.listing, f"/model{number}" if number > 1 else ""
        if number == 1 and not reads_all(self.config, self.setting):
            return self._learners[channel]
        return trained_reader(self.setting, channel, streams, config, SnackLearner, part)

    def _own(self, channel: int, uploads: Uploads) -> NDArray[np.integer]:
        """Return the channel's own items of uploads (B, H)."""
        if not reads_all(self.config, self.setting):
            return uploads.items
        places = numbering(self.setting.channels)
        return own_items(uploads.items, int(places[channel]), int(np.diff(places)[channel]))

    def _kinds(self, channel: int, streams: Streams) -> Iterator[Sequence[Learner]]:
        """Yield the models that rank for lists, kind by kind."""
        yield [self._model(channel, streams, number) for number in range(1, self.config.models + 1)]
        if self.config.with_diet:
            yield [LongDiet(self.config.diet, self.setting).trained(channel, streams)]

    def _ranking(self, channel: int, streams: Streams) -> CloudRanking:
        config = self.config
        return CloudRanking(
            list(self._kinds(channel, streams)),
            streams,
            self.setting.scenario.evaluation.exclude,
            ridge=config.ridge,
            reach=config.reach,
            ease_fade=config.ease_fade,
            follow_fade=config.follow_fade,
        )

    def _list(self, channel: int, uploads: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return the lists of uploads (B, H), packed (B, bytes)."""
        best = self._rankings[channel].best(uploads, self.config.listed)
        ids = np.concatenate([uploads[:, -1:], best], axis=1).astype(np.uint32)
        return packed(ids, id_bits(self.setting, channel))


def listed_items(
    setting: Setting, channel: int, rows: NDArray[np.generic], listed: int
) -> NDArray[np.int64]:
    """Return the upload's last item and the items of packed lists, int64 (B, M + 1)."""
    return unpacked(rows, listed + 1, id_bits(setting, channel)).astype(np.int64)


def id_bits(setting: Setting, channel: int) -> int:
    """Return the bits of an item's number in a channel."""
    return setting.channels[channel].num_items.bit_length()
