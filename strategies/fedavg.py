"""FedAvg: every edge trains the whole model on its own items and uploads the weights.

McMahan, Moore, Ramage, Hampson, Agüera y Arcas: Communication-Efficient Learning of Deep
Networks from Decentralized Data. AISTATS 2017. https://arxiv.org/abs/1602.05629

The conversation, top to bottom: an edge takes a few SGD steps on its latest items, starting
from the weights it holds, and uploads what comes of it; a cell's edges train side by side,
each with weights of its own. The example-weighted mean of all edges is Flower's own
aggregation (algorithm 1), and everybody is answered with it.

Ours: item embeddings, positions and norms stay as the cloud provisioned them, as in the
accounting of Fu et al., DIET (KDD 2024); weights start as the cloud trained them on history,
or as drawn.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from fedsim.codecs.base import Column
from fedsim.data.base import Streams
from fedsim.plugins import CodecOptions
from fedsim.setting import Arrays, Provision, Uploads
from fedsim.strategy import EdgeCloudStrategy
from strategies._dense import dense_columns, dense_provision, trained_bases, weights_row
from strategies._local_sgd import LocalSgdConfig, LocalSgdEdge
from strategies._masked import frozen_weights


class FedAvgConfig(LocalSgdConfig):
    """Options of FedAvg."""

    name: str = "fedavg"
    start: Literal["trained", "random"] = "trained"
    """First weights: trained on history in the cloud, or random ones."""
    lr: Annotated[float, Field(gt=0)] = 0.5
    """Learning rate of the edges' SGD."""
    codec: CodecOptions = Field(default="dense")
    """How weights travel, both ways."""


class FedAvgEdge(LocalSgdEdge):
    """Trains the weights it holds on its own items, and sends them."""

    update = LocalSgdEdge.trained


class FedAvg(EdgeCloudStrategy):
    """Answers everybody with the mean of what the edges trained."""

    Config = FedAvgConfig
    edge = FedAvgEdge
    federated = True
    config: FedAvgConfig

    def columns(self) -> tuple[Column, ...]:
        return dense_columns(self.setting.backbone)

    def fit(self, history: tuple[Streams, ...]) -> None:
        self._learners = trained_bases(self.setting, history)
        if self.config.start == "random":
            for learner in self._learners:
                learner.flat.data.copy_(frozen_weights(self.setting))
        self._initial = [weights_row(learner.flat) for learner in self._learners]
        self._mean = list(self._initial)

    def provision(self) -> Provision:
        return dense_provision(self._learners)

    def initial(self, channel: int) -> Arrays:
        return self._initial[channel]

    def answer(self, channel: int, uploads: Uploads, round: int) -> Arrays:
        return self._mean[channel]

    def take_update(self, channel: int, mean: Arrays) -> None:
        self._mean[channel] = {"weights": mean["weights"].astype(np.float32)[None]}

    def state(self) -> Arrays:
        return {f"{c}.mean": row["weights"] for c, row in enumerate(self._mean)}

    def restore(self, state: Arrays) -> None:
        self._mean = [{"weights": state[f"{c}.mean"]} for c in range(len(self._mean))]
