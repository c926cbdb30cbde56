"""Local vector: an edge reads its long history itself, and is answered nothing. Ours.

The rival of everything that answers a long upload: what the cloud would read in it
(`strategies.user_vector`) is small enough to be read on the edge, which has those items
anyway. It costs no transfer after the provision and is never stale; it costs the edge a table
of items and a few products a round, and the cloud what it knows: whatever is too large or too
secret to ship cannot be done this way.

Training and ranking are those of `user_vector`. In each round an edge reads its last 100 items
before it ranks: ``vector = tanh(Linear(decayed means)) U``. Booked as `train_macs` are the
means, the linear layer and the product with U.

Notation: `B` edges, `D` embedding size.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import model_validator
from torch import Tensor

from fedsim.data.base import Streams
from fedsim.models.cost import FLOAT_BITS
from fedsim.population import ChannelStreams
from fedsim.setting import Arrays, Provision
from fedsim.training.targets import windows
from strategies._generated import in_batches
from strategies._long_upload import UploadReader
from strategies.user_vector import UserVector, UserVectorConfig, UserVectorEdge


class LocalVectorConfig(UserVectorConfig):
    """Options of the local vector; the backbone trains first by the scenario's `train` section."""

    name: str = "local_vector"

    @model_validator(mode="after")
    def _reads_a_channel(self) -> LocalVectorConfig:
        if self.reads == "all":
            raise ValueError(
                "reads = 'all' says what an upload holds, and 'local_vector' edges upload nothing; "
                "leave out reads, or take strategy 'user_vector'"
            )
        return self


class LocalVectorEdge(UserVectorEdge):
    """Makes its vector of its own last 100 items, in every round."""

    asks = False
    adapts = True

    @cached_property
    def readers(self) -> list[tuple[UploadReader, Tensor]]:
        """What makes vectors of items, a channel each: a reader and the map of its outcome."""
        made = []
        for arrays, items in zip(self.provision.channels, self.items, strict=True):
            parts = {
                name.removeprefix("reader."): torch.from_numpy(value.copy())
                for name, value in arrays.items()
                if name.startswith("reader.")
            }
            reader = UploadReader(items, self.backbone.dim, torch.Generator(), self.config)
            reader.load_state_dict({**reader.state_dict(), **parts})
            made.append((reader, torch.from_numpy(arrays["map"].copy())))
        return made

    def adapt(
        self,
        channel: int,
        rows: Arrays,
        streams: ChannelStreams,
        edges: NDArray[np.int64],
        round: int,
    ) -> Arrays:
        own, ends = Streams(streams.items, streams.offsets), streams.cuts[edges, round - 1]
        reader, outwards = self.readers[channel]

        def vectors(uploads: Tensor) -> Tensor:
            vector: Tensor = reader(uploads, self.items[channel]) @ outwards
            return vector

        read = windows(own, edges, ends, self.config.upload)
        return {"vector": in_batches(vectors, read, self.backbone.dim)}

    def paper_bits(self, channel: int, rows: Arrays) -> NDArray[np.int64]:
        """Return the bits of the backbone, as for Base: nothing follows it."""
        bits = self.config.weight_bits or FLOAT_BITS
        return np.array([bits * self.backbone.layout.size])

    def adapt_macs(self, channel: int, known: NDArray[np.int64]) -> NDArray[np.int64]:
        dim, decays = self.backbone.dim, len(self.config.decays)
        read = np.minimum(known, self.config.upload).astype(np.int64)
        macs: NDArray[np.int64] = (read * decays + decays * dim + dim) * dim
        return macs


class LocalVector(UserVector):
    """Trains a backbone per channel and what reads uploads; ships both."""

    Config = LocalVectorConfig
    edge = LocalVectorEdge
    config: LocalVectorConfig

    @property
    def personalises(self) -> bool:
        return False

    def provision(self) -> Provision:
        whole = super().provision()
        channels = []
        for arrays, learner in zip(whole.channels, self._learners, strict=True):
            state = learner.state_dict()
            names = [name for name in state if name.startswith("reader.") or name == "map"]
            shipped = {name: state[name].numpy() for name in names if name != "reader.decays"}
            channels.append({**arrays, **shipped})
        return replace(whole, channels=tuple(channels))
