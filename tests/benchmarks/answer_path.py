"""One answer of DIET from upload to what an edge shows, with random weights of full size."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from fedsim.codecs.base import Codec, Column
from fedsim.codecs.bitmask import Bitmask
from fedsim.kernels.generate import Head, generate_masks
from fedsim.kernels.gru import Gru
from fedsim.kernels.topk import top_items
from fedsim.models.sasrec import SASRec, SASRecConfig
from fedsim.ragged import Ragged
from fedsim.wire import open_records, seal

ITEMS, WINDOW, DIM, LAYERS, KEEP, SHOWN = 927, 5, 64, 10, 410, 10
ROW_STD = 0.35
"""Spread of row weights at which about half of the rows keep nothing, as in trained diets."""
GENERATION_FLOP = (
    2
    * LAYERS
    * (
        WINDOW * 2 * DIM * 3 * DIM  # GRUs: input and hidden gates, every step
        + DIM * DIM * DIM  # hypernetworks
        + DIM * DIM  # row weights
    )
)


class AnswerPath:
    """Both halves of the conversation: the cloud's generator, the edge's frozen backbone."""

    def __init__(self) -> None:
        gen = torch.Generator().manual_seed(0)

        def normal(*shape: int, std: float = 0.1) -> torch.Tensor:
            return torch.randn(*shape, generator=gen) * std

        self.gru = Gru(
            input=normal(LAYERS * 3 * DIM, DIM),
            input_bias=normal(LAYERS * 3 * DIM),
            hidden=normal(LAYERS, DIM, 3 * DIM),
            hidden_bias=normal(LAYERS, 1, 3 * DIM),
        )
        self.heads = [
            Head(
                KEEP,
                normal(DIM, DIM * DIM),
                normal(DIM * DIM),
                normal(DIM, DIM, std=ROW_STD),
                normal(DIM, std=ROW_STD),
            )
            for _ in range(LAYERS)
        ]
        self.items = normal(ITEMS + 1, DIM)
        self.model = SASRec(SASRecConfig())
        self.frozen = self.model.init_weights(gen).numpy()
        self.small = self.model.init_small(gen)
        column = Column("mask", "mask", self.model.layout)
        codec: Codec = Bitmask(Bitmask.Config(name="bitmask"), column)
        self.columns = [(column, codec)]

    def answer(self, windows: NDArray[np.int32]) -> Ragged:
        """Return the cloud's answers to uploads (B, L): generate, select, encode."""
        masks = generate_masks(self.gru, self.heads, self.items * DIM**0.5, windows)
        return seal(self.columns, {"mask": masks})

    def show(self, records: Ragged, windows: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the items edges show, int32 (B, 10): decode, infer, score, take the best."""
        masks = open_records(self.columns, records)["mask"]
        ids = windows[:, None]
        queries = self.model.masked_forward(masks, self.frozen, self.small, self.items, ids)
        return top_items((queries[:, 0] @ self.items.T).numpy(), SHOWN)


def uploads(edges: int) -> NDArray[np.int32]:
    """Return random windows without padding, int32 (edges, L)."""
    return np.random.default_rng(1).integers(1, ITEMS + 1, (edges, WINDOW)).astype(np.int32)
