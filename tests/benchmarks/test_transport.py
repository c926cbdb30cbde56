"""Messages per second of fedsim's grids and, in the same run, of flwr's own simulation.

A no-op app echoes 5,000 bytes per edge. flwr's engine polls every node and scans every
message, so its cost grows with the square of the population: it is measured at 1,000 nodes
only. Run with ``make bench``; the ratios are printed.
"""

from __future__ import annotations

import resource
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

pytest.importorskip("ray")
import ray

from fedsim.arrays import pack
from fedsim.engine.base_grid import BaseGrid
from fedsim.engine.local_grid import LocalGrid
from fedsim.engine.ray_grid import RayGrid

PEER_NODES = 1_000
EDGE_BYTES = 5_000
WORKERS = 2


def echo_app() -> ClientApp:
    app = ClientApp()

    @app.query()
    def echo(message: Message, context: Context) -> Message:
        return Message(RecordDict({"arrays": message.content["arrays"]}), reply_to=message)

    return app


def sent(grid: Grid, edges: int = 1) -> Iterator[Message]:
    """Yield a message to every node, a cell of so many edges."""
    payload = np.zeros(edges * EDGE_BYTES, np.uint8)
    for node_id in grid.get_node_ids():
        yield Message(RecordDict({"arrays": pack({"x": payload})}), node_id, "query")


def one_round(grid: Grid, edges: int = 1) -> int:
    """Send a message to every node and count the replies with content."""
    return sum(reply.has_content() for reply in grid.send_and_receive(sent(grid, edges)))


def make_grid(kind: str, nodes: int) -> BaseGrid:
    if kind == "local":
        return LocalGrid(echo_app, nodes)
    return RayGrid(echo_app, nodes, workers=WORKERS)


@pytest.fixture(scope="module")
def flower_rate() -> float:
    """Messages per second of flwr's simulation engine, without its start."""
    from flwr.simulation import run_simulation

    rates = []
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        while len(list(grid.get_node_ids())) < PEER_NODES:
            time.sleep(0.1)
        list(grid.send_and_receive([next(sent(grid))]))  # workers are up
        start = time.perf_counter()
        assert one_round(grid) == PEER_NODES
        rates.append(PEER_NODES / (time.perf_counter() - start))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_simulation(
            server,
            echo_app(),
            PEER_NODES,
            backend_config={
                "init_args": {"num_cpus": WORKERS, "include_dashboard": False},
                "client_resources": {"num_cpus": 1, "num_gpus": 0},
            },
        )
    ray.shutdown()
    return rates[0]


@pytest.mark.parametrize("nodes", [PEER_NODES, 10 * PEER_NODES])
@pytest.mark.parametrize("kind", ["local", "ray"])
def test_transport(
    benchmark: Any,
    flower_rate: float,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    nodes: int,
) -> None:
    with make_grid(kind, nodes) as grid:
        next(grid.send_and_receive(sent(grid)))  # workers are up
        replies = benchmark.pedantic(one_round, args=(grid,), rounds=3, warmup_rounds=1)
    assert replies == nodes
    rate = nodes / benchmark.stats.stats.median
    benchmark.extra_info |= {"messages/s": rate, "times flwr's engine": rate / flower_rate}
    with capsys.disabled():
        print(
            f"\n{kind:5} {nodes:6,} nodes: {rate:7,.0f} messages/s, {rate / flower_rate:5.1f} x "
            f"flwr's engine ({flower_rate:,.0f} messages/s at {PEER_NODES:,} nodes)"
        )


@pytest.mark.parametrize("kind", ["local", "ray"])
def test_a_million_edges_in_cells_of_4096(benchmark: Any, kind: str) -> None:
    """Each way 5 GB in messages of 20 MB; the process's memory stays at a few of them."""
    cells, edges = 245, 4_096
    with make_grid(kind, cells) as grid:
        next(grid.send_and_receive(sent(grid)))  # workers are up
        before = peak_bytes()
        assert benchmark.pedantic(one_round, args=(grid, edges), rounds=2) == cells
    benchmark.extra_info["peak MB"] = (peak_bytes() - before) / 1e6
    assert peak_bytes() - before < 40 * edges * EDGE_BYTES


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
