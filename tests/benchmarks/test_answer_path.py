"""Edges a second from upload to top ten, as a share of what the matrix products allow.

Generate, select, encode, decode, infer, score 927 items, take the ten best: all of an answer
but the grid. The bound is the speed of large matrix products on as many threads, each with
products of its own, in the same run over DIET's 7.78 million operations of generation. The
peer is the same work as one Flower client an edge under flwr's own engine. Run with
``make bench``; the ratios are printed.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from pytest_benchmark.fixture import BenchmarkFixture

from fedsim.arrays import pack, unpack
from fedsim.kernels.threads import over_blocks
from fedsim.ragged import Ragged
from tests.benchmarks.answer_path import DIM, GENERATION_FLOP, SHOWN, AnswerPath, uploads

CELL = 256
SIZES = {"small": 1_024, "large": 8_192}
PEER_EDGES, WORKERS = 1_000, 2
ROUNDS, PRODUCTS = 9, 20


@contextmanager
def using(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_share_of_the_matrix_products(
    size: str, threads: int, benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert GENERATION_FLOP == 7_782_400
    left, right = torch.randn(1_024, DIM), torch.randn(DIM, 4_096)
    outs, products = torch.empty(4, 1_024, 4_096), []

    def product(start: int, stop: int) -> None:
        torch.mm(left, right, out=outs[start % len(outs)])

    def multiply() -> None:
        products.append(seconds(lambda: over_blocks(product, PRODUCTS, 1)))

    with using(threads):
        edges_s = fused_rate(SIZES[size], benchmark, before_each=multiply)
    flop_s = PRODUCTS * 2 * 1_024 * DIM * 4_096 / min(products)
    share = edges_s * GENERATION_FLOP / flop_s
    benchmark.extra_info |= {"edges/s": edges_s, "share of the bound": share}
    with capsys.disabled():
        print(
            f"\n{SIZES[size]:,} edges, {threads} threads: {edges_s:,.0f} edges/s; products at "
            f"{flop_s / 1e9:.0f} GFLOP/s allow {flop_s / GENERATION_FLOP:,.0f}; share {share:.2f}"
        )


def test_against_one_flower_client_an_edge(
    benchmark: BenchmarkFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    peer = flower_rate(PEER_EDGES)
    with using(WORKERS):
        edges_s = fused_rate(SIZES["large"], benchmark)
    benchmark.extra_info |= {"edges/s": edges_s, "times flwr's engine": edges_s / peer}
    with capsys.disabled():
        print(
            f"\none Flower client an edge: {peer:,.0f} edges/s at {PEER_EDGES:,} edges; "
            f"cells of {CELL}: {edges_s:,.0f}, {edges_s / peer:.0f} times as many"
        )


def fused_rate(
    edges: int, benchmark: BenchmarkFixture, before_each: Callable[[], None] = lambda: None
) -> float:
    """Return edges a second in cells, the best of some rounds."""
    path, windows = AnswerPath(), uploads(edges)
    shown = np.zeros((edges, SHOWN), np.int32)

    def cell(start: int, stop: int) -> None:
        part = windows[start:stop]
        shown[start:stop] = path.show(path.answer(part), part)

    benchmark.pedantic(  # type: ignore[no-untyped-call]
        lambda: over_blocks(cell, edges, CELL),
        setup=before_each,
        rounds=ROUNDS,
        warmup_rounds=1,
    )
    assert (shown > 0).all()
    assert benchmark.stats is not None
    return edges / float(benchmark.stats.stats.min)


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


@cache
def path_of_process() -> AnswerPath:
    """Return this process's weights, made once: the peer pays for them no more than we do."""
    torch.set_num_threads(1)  # a worker is one of two
    return AnswerPath()


def edge_app() -> ClientApp:
    app = ClientApp()

    @app.query()
    def show(message: Message, context: Context) -> Message:
        arrays = unpack(message.content, "answer")
        record, window = arrays["record"].astype(np.uint8), arrays["window"].astype(np.int32)
        shown = path_of_process().show(Ragged.fixed(record), window)
        return Message(RecordDict({"shown": pack({"items": shown})}), reply_to=message)

    return app


def flower_rate(edges: int) -> float:
    """Return edges a second under flwr's engine, without its start.

    The same kernels, one edge at a time; each client's window comes with its answer, which
    spares the peer a message.
    """
    import ray
    from flwr.simulation import run_simulation

    rates, server = [], ServerApp()

    def answers(nodes: list[int]) -> Iterator[Message]:
        for node, window in zip(nodes, uploads(len(nodes)), strict=True):
            record = path_of_process().answer(window[None]).buffer[None]
            answer = pack({"record": record, "window": window[None]})
            yield Message(RecordDict({"answer": answer}), node, "query")

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        while len(nodes := list(grid.get_node_ids())) < edges:
            time.sleep(0.1)
        list(grid.send_and_receive(answers(nodes[:2])))  # workers are up
        begin = time.perf_counter()
        replies = list(grid.send_and_receive(answers(nodes)))
        rates.append(edges / (time.perf_counter() - begin))
        assert all((unpack(reply.content, "shown")["items"] > 0).all() for reply in replies)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_simulation(
            server,
            edge_app(),
            edges,
            backend_config={
                "init_args": {"num_cpus": WORKERS, "include_dashboard": False},
                "client_resources": {"num_cpus": 1, "num_gpus": 0},
            },
        )
    ray.shutdown()
    return rates[0]
