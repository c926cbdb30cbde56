"""Dense models: what `static`, `full_download`, `fedavg` and their kin share.

Where answers are dense models, a column ``weights`` holds the N maskable weights as floats;
what is never masked and the item embeddings stay as provisioned, as in the papers'
accounting.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from fedsim import rng
from fedsim.codecs.base import Column
from fedsim.data.base import Streams
from fedsim.models.base import Backbone, split_layers
from fedsim.setting import Arrays, Provision, Setting
from fedsim.strategy import EdgeHalf, StrategyConfig
from fedsim.training.fit import fit
from fedsim.training.learner import DenseLearner, Learner
from strategies._rounding import ShippedLearner, loaded, stored


class ShippedConfig(StrategyConfig):
    """Options of every strategy that ships a trained backbone once."""

    weight_bits: Annotated[int, Field(ge=2, le=8)] | None = None
    """Bits of each shipped weight, which is then a whole number of its row's steps; unset: float32.

    Whatever is trained after the first training is trained with rounded weights."""


class DenseEdge(EdgeHalf):
    """Runs the backbone on the weights it was answered last."""

    def weights(self, channel: int, rows: Arrays) -> Sequence[Tensor]:
        flat = torch.from_numpy(np.require(rows["weights"], np.float32, "W"))
        return split_layers(self.backbone.layout, flat)


class ShippedEdge(EdgeHalf):
    """Runs the backbone on the weights it was provisioned with."""

    @cached_property
    def shipped(self) -> list[Sequence[Tensor]]:
        """For each channel the weights (1, rows, columns) of every layer."""
        layout, bits = self.backbone.layout, getattr(self.config, "weight_bits", None)
        return [
            split_layers(layout, loaded("weights", arrays, layout, bits))
            for arrays in self.provision.channels
        ]

    def weights(self, channel: int, rows: Arrays) -> Sequence[Tensor]:
        return self.shipped[channel]


def dense_columns(backbone: Backbone) -> tuple[Column, ...]:
    """Return the one column of a dense answer."""
    return (Column("weights", "dense", backbone.layout),)


def trained_bases(
    setting: Setting,
    history: tuple[Streams, ...],
    extra_epochs: int = 0,
    weight_bits: int | None = None,
) -> list[DenseLearner]:
    """Return a dense model a channel, trained on history."""
    return [
        trained_base(setting, channel, streams, extra_epochs, weight_bits)
        for channel, streams in enumerate(history)
    ]


def trained_base(
    setting: Setting,
    channel: int,
    streams: Streams,
    extra_epochs: int = 0,
    weight_bits: int | None = None,
    part: str = "",
) -> DenseLearner:
    """Return one channel's dense model, trained on its streams; `part` names another one.

    The extra epochs are trained with weights of so many bits.
    """
    place = setting.channels[channel]
    purpose = f"base/{place.name}{part}"
    gen = rng.torch_generator(setting.scenario.seed, f"{purpose}/start")
    learner = ShippedLearner(setting.backbone, place.num_items, gen)
    fit(learner, streams, setting, purpose=purpose)
    if extra_epochs:
        learner.weight_bits = weight_bits
        fit(
            learner,
            streams,
            setting,
            purpose=f"{purpose}/extra",
            options={"weight_bits": weight_bits},
            epochs=extra_epochs,
        )
    return learner


def dense_provision(learners: Sequence[Learner]) -> Provision:
    """Return the provision of everything but the weights."""
    return Provision(
        channels=tuple(learner.small_arrays() for learner in learners),
        candidates=tuple(learner.candidates() for learner in learners),
    )


def shipped_provision(learners: Sequence[DenseLearner], bits: int | None = None) -> Provision:
    """Return the provision of everything, the weights too, which no answer replaces."""
    return Provision(
        channels=tuple(
            {
                **stored("weights", learner.flat, learner.backbone.layout, bits),
                **learner.small_arrays(),
            }
            for learner in learners
        ),
        candidates=tuple(learner.candidates() for learner in learners),
    )


@contextmanager
def only_weights(learner: DenseLearner) -> Iterator[None]:
    """Leave everything but the weights as it is while training."""
    for name, parameter in learner.named_parameters():
        parameter.requires_grad_(name == "flat")
    try:
        yield
    finally:
        learner.requires_grad_(True)


def weights_row(flat: Tensor) -> Arrays:
    """Return weights (N) as an answer for everybody."""
    return {"weights": flat.detach().numpy()[None].copy()}
