"""Edges a second from upload to top ten, as a share of what the matrix products allow.

Generate, select, encode, decode, infer, score 927 items, take the ten best: all of an answer
but the grid. The bound is the speed of a large matrix product in the same run over DIET's
7.78 million operations of generation an edge. Run with ``make bench``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from fedsim.codecs.base import Codec, Column
from fedsim.codecs.bitmask import Bitmask
from fedsim.kernels.generate import Head, generate_masks
from fedsim.kernels.gru import Gru
from fedsim.kernels.threads import over_blocks
from fedsim.kernels.topk import top_items
from fedsim.models.sasrec import SASRec, SASRecConfig
from fedsim.wire import open_records, seal

ITEMS, WINDOW, DIM, KEEP, CELL = 927, 5, 64, 410, 256
SIZES = {"small": 1_024, "large": 8_192}
ROUNDS = 9
LAYERS = 10
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


@pytest.fixture(params=[1, 2], ids=lambda count: f"{count} threads")
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


class Cloud:
    """A DIET generator and the edges' frozen backbone, with random weights."""

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

    def answer(self, windows: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the ten items each edge would show after its window, int32 (B, 10)."""
        masks = generate_masks(self.gru, self.heads, self.items * DIM**0.5, windows)
        records = seal(self.columns, {"mask": masks})
        held = open_records(self.columns, records)["mask"]
        queries = self.model.masked_forward(
            held, self.frozen, self.small, self.items, windows[:, None]
        )
        return top_items((queries[:, 0] @ self.items.T).numpy(), 10)


def uploads(edges: int) -> NDArray[np.int32]:
    return np.random.default_rng(1).integers(1, ITEMS + 1, (edges, WINDOW)).astype(np.int32)


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


@pytest.mark.parametrize("size", SIZES)
def test_answer_path_against_matrix_products(
    size: str, threads: int, benchmark: BenchmarkFixture
) -> None:
    assert GENERATION_FLOP == 7_782_400
    cloud, windows = Cloud(), uploads(SIZES[size])
    shown = np.zeros((len(windows), 10), np.int32)

    def cell(start: int, stop: int) -> None:
        shown[start:stop] = cloud.answer(windows[start:stop])

    left, right = torch.randn(1_024, DIM), torch.randn(DIM, 4_096)
    product, products = torch.empty(1_024, 4_096), []

    def bound() -> None:
        torch.mm(left, right, out=product)
        products.append(seconds(lambda: [torch.mm(left, right, out=product) for _ in range(20)]))

    benchmark.pedantic(  # type: ignore[no-untyped-call]
        lambda: over_blocks(cell, len(windows), CELL),
        setup=bound,
        rounds=ROUNDS,
        warmup_rounds=1,
    )
    assert (shown > 0).all()
    flops = 20 * 2 * 1_024 * DIM * 4_096 / min(products)
    assert benchmark.stats is not None
    edges_s = len(windows) / benchmark.stats.stats.min
    print(
        f"\n{len(windows):,} edges, {threads} threads: {edges_s:,.0f} edges/s; "
        f"sgemm {flops / 1e9:.0f} GFLOP/s allows {flops / GENERATION_FLOP:,.0f}; "
        f"share {edges_s * GENERATION_FLOP / flops:.2f}"
    )
