"""What `long_diet` and `user_vector` make of a long upload: means whose older items fade.

The cloud looks at an edge's last items as several means, in each of which older items fade at
a different speed; each mean is normed, all are mixed by one linear layer and a tanh. The items
are the channel's own, or those of all the edge's channels together (`fedsim.timeline`).

Notation: `B` edges, `H` upload length, `D` embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from fedsim import plugins, rng
from fedsim.data.base import Streams
from fedsim.errors import ConfigError
from fedsim.models.base import dropped, xavier_normal
from fedsim.setting import Setting
from fedsim.strategy import EdgeHalf, StrategyConfig
from fedsim.timeline import TimelineStreams, of_history
from fedsim.training.cache import checksum
from fedsim.training.fit import fit
from fedsim.training.learner import Learner, item_table
from fedsim.training.loop import Trainer
from fedsim.training.targets import windows


class LongUploadConfig(StrategyConfig):
    """Options of every strategy that reads a long upload, after a training without it."""

    upload: Annotated[int, Field(ge=1)] = 100
    """Items an edge uploads."""
    reads: Literal["channel", "all"] = "channel"
    """Whose last items an upload holds: the channel's, or those of all the edge's channels in
    order of time, once for all of them."""
    epochs: Annotated[int, Field(ge=1)] = 5
    """Epochs after the first training's best one, with a fresh optimiser and schedule."""
    decays: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)] = (
        1.0,
        0.95,
        0.8,
        0.5,
    )
    """Weight of an item in each mean, relative to the next one's."""
    tied: bool = False
    """Read uploads by the backbone's item embeddings instead of a table of their own."""
    upload_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Dropout on the means in training."""

    @model_validator(mode="after")
    def _own_table(self) -> LongUploadConfig:
        if self.reads == "all" and self.tied:
            raise ValueError(
                "reads = 'all' needs a table of the items of all channels, and tied = true reads "
                "by the backbone's, which has one channel's; leave out tied, or set "
                "reads = 'channel'"
            )
        return self


class LongUploadEdge(EdgeHalf):
    """Uploads its last items, a channel's or those of all channels."""

    @property
    def upload_length(self) -> int:
        return int(self.config.upload)

    @property
    def reads_all_channels(self) -> bool:
        return reads_all(self.config, self.setting)


class UploadReader(nn.Module):
    """Reads uploads into `outputs` numbers; its own item table starts as `items` (V + 1, D)."""

    decays: Tensor

    def __init__(
        self, items: Tensor, outputs: int, gen: torch.Generator, config: LongUploadConfig
    ) -> None:
        super().__init__()
        dim = items.shape[1]
        self.dropout = config.upload_dropout
        self.uploaded = None if config.tied else nn.Parameter(items.detach().clone())
        self.register_buffer("decays", _decays(config.decays, config.upload))
        self.norm = nn.LayerNorm(dim)
        self.mix = nn.Parameter(xavier_normal(len(config.decays) * dim, outputs, gen))
        self.mix_bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, uploads: Tensor, items: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Return what uploads int64 (B, H) say, float32 (B, outputs) between -1 and 1.

        `items` are the backbone's embeddings, read where the reader has no table of its own;
        `gen` is the source of dropout.
        """
        means = self.norm(self.means(uploads, items)).flatten(1)
        mixed = dropped(means, self.dropout, gen)
        return torch.tanh(torch.addmm(self.mix_bias, mixed, self.mix))

    def means(self, uploads: Tensor, items: Tensor) -> Tensor:
        """Return the decayed means of uploads int64 (B, H): float32 (B, decays, D)."""
        table = items if self.uploaded is None else self.uploaded
        embedded = F.embedding(uploads, table, padding_idx=0) * table.shape[1] ** 0.5
        shares = self.decays * (uploads != 0)[:, None]
        shares = shares / shares.sum(-1, keepdim=True).clamp(min=1e-9)
        return torch.bmm(shares, embedded)

    def widen(self, streams: TimelineStreams, gen: torch.Generator) -> None:
        """Give the items of the other channels rows in its table, too, random ones."""
        if self.uploaded is not None:
            own = self.uploaded.detach()
            table = item_table(streams.numbered, own.shape[1], gen)
            table[streams.before + 1 : streams.before + len(own)] = own[1:]
            self.uploaded = nn.Parameter(table)


class TimelineTrainer(Trainer):
    """Takes as a group's upload what precedes its first target in all channels."""

    streams: TimelineStreams

    def _queries(
        self, edge: NDArray[np.int64], position: NDArray[np.int64], gen: torch.Generator | None
    ) -> Tensor:
        learner, streams = self.learner, self.streams
        context = windows(streams, edge, position, learner.backbone.window)
        first = streams.earlier[streams.offsets[edge[:, 0]] + position.min(axis=1)]
        uploads = windows(streams.timeline, edge[:, 0], first, learner.upload_length)
        queries: Tensor = learner(
            torch.from_numpy(context),
            torch.from_numpy(uploads),
            dropout=self.config.dropout,
            gen=gen,
        )
        return queries


def reads_all(config: LongUploadConfig, setting: Setting) -> bool:
    """Tell whether uploads are of all channels; those of an edge with one are that channel's.

    Raises
    ------
    ConfigError
        A drift mixes the streams of several users, which have no common order of time.
    """
    if config.reads == "channel" or len(setting.channels) == 1:
        return False
    drift = setting.scenario.drift.name
    if plugins.load("drifts", drift).acts_on == "stream":
        raise ConfigError(
            f"strategy.reads = 'all' puts the items of all channels in order of time, which those "
            f"that drift '{drift}' takes from other users have not; set drift.name = 'none' or "
            "strategy.reads = 'channel'"
        )
    return True


def read_history(
    config: LongUploadConfig, setting: Setting, history: tuple[Streams, ...]
) -> tuple[Streams, ...]:
    """Return history as the options read it: a channel alone, or with the timelines of all."""
    return of_history(history, setting.channels) if reads_all(config, setting) else history


def fit_reader(
    learner: Learner,
    reader: UploadReader,
    streams: Streams,
    setting: Setting,
    config: LongUploadConfig,
    *,
    purpose: str,
    targets_per_answer: int,
) -> None:
    """Train a warm learner and the reader it has on streams from `read_history`."""
    options = config.model_dump(mode="json", exclude={"codec"})
    trainer_type = Trainer
    if isinstance(streams, TimelineStreams):
        reader.widen(streams, rng.torch_generator(setting.scenario.seed, f"{purpose}/all"))
        options["timeline"] = _name_of(streams)
        trainer_type = TimelineTrainer
    fit(
        learner,
        streams,
        setting,
        purpose=purpose,
        options=options,
        targets_per_mask=targets_per_answer,
        epochs=config.epochs,
        trainer_type=trainer_type,
    )


def _name_of(streams: TimelineStreams) -> str:
    """Return what names a channel's place in the timelines, for the cache."""
    whole = {"items": streams.timeline.items, "offsets": streams.timeline.offsets}
    parts = {**whole, "earlier": streams.earlier}
    return checksum({name: torch.from_numpy(values) for name, values in parts.items()})


def _decays(decays: Sequence[float], length: int) -> Tensor:
    """Return the weight of each uploaded item in each mean, float32 (decays, H)."""
    age = torch.arange(length - 1, -1, -1)
    return torch.stack([torch.tensor(decay) ** age for decay in decays])
