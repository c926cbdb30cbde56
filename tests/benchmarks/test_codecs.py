"""Bits of every codec against ideal codes, and microseconds an edge against peers.

Diets are made as in `tests.diets`, or real ones: those of a DIET trained on MovieLens 100K.
A change is from one interaction to the next. The ideal codes are the best of those known:
without a prior, row counts and log2 C(64, n_row) a row; with one, a smoothed chance for
every position. Peers, in the same run: zlib, zstd, and the library constriction with a
Bernoulli model per position and with bytes of like positions. Times are one thread's own
CPU time. Run with ``make bench``.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from typing import Any

import constriction
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.special import gammaln

from fedsim import wire
from fedsim.codecs.base import Codec, Column, Rows
from fedsim.edges.side import make_setting
from fedsim.plugins import available, load, options
from fedsim.population import Population
from fedsim.ragged import Ragged
from fedsim.scenario import build, load_scenario
from fedsim.setting import Uploads
from fedsim.store import CellStore
from tests.diets import SASREC, consecutive_diets
from tests.worlds import real_data

SIZES = {"small": 32, "large": 256}
REPEATS = 15
PEER_EDGES = 16
TABLES = 32
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    name: (name, {}) for name in available("codecs") if "mask" in load("codecs", name).kinds
} | {"entropy, a model per row": ("entropy", {"model": "row"})}

Bits = NDArray[np.bool_]


@pytest.mark.parametrize("size", SIZES)
def test_bits_and_microseconds(benchmark: BenchmarkFixture, size: str) -> None:
    sample = np.concatenate(consecutive_diets(256, seed=9))
    compare(sample, *consecutive_diets(SIZES[size], seed=1))
    codec, diets = make("entropy", {}, sample), consecutive_diets(SIZES[size], seed=1)[1]
    benchmark(lambda: codec.decode(codec.encode(diets)))


def test_diets_of_movielens() -> None:
    """Diets of all users before their last item; codecs have seen those of history alone."""
    changes = {
        "data.path": str(real_data("ml-100k")),
        "rounds": 1,
        "stream.history": "leave_one_out",
        "evaluation.exclude": "none",
        "strategy": "diet",
        "train": {"epochs": 8},
    }
    scenario = build(load_scenario("ml100k").model_dump(mode="json", exclude_none=True), changes)
    population = Population(scenario)
    strategy: Any = load("strategies", "diet")(
        scenario.strategy, make_setting(scenario, population)
    )
    strategy.fit(population.history())
    streams = population.gather(np.arange(population.num_edges)).channels[0]
    length = scenario.model.window
    held, diets = (
        strategy.answer(
            0, Uploads(np.arange(population.num_edges), streams.windows(1, length, lag)), 1
        )
        for lag in (1, 0)
    )
    compare(strategy.sample(0)["mask"], held["mask"], diets["mask"])


def compare(sample: Rows, held: Rows, diets: Rows) -> None:
    """Print every codec's bits and times for diets, given those edges hold."""
    edges, ideal = len(diets), ideal_bits(sample, diets)
    some = diets[:PEER_EDGES]
    changed = np.bitwise_count(held ^ diets).sum(axis=1).mean()
    print(f"\n{edges} diets of 40,960 bits, {changed:,.0f} changed since the last; ideal codes:")
    for name, bits in ideal.items():
        print(f"  {name:<26}{bits:>10,.0f} bits")
    print(f"  {'':<26}{'bits':>10}  of ideal  encode  decode  µs an edge")
    best = min(ideal.values())
    for name, (plugin, config) in CASES.items():
        codec = make(plugin, config, sample)
        report(name, best, edges, *measure(codec, diets, held))
    print(f"  peers, on {len(some)} of the diets:")
    best = min(ideal_bits(sample, some).values())
    for name, peer in PEERS.items():
        report(name, best, len(some), *peer(sample, some))


def test_a_store_of_a_cell(tmp_path: Any) -> None:
    """Reading and writing 256 edges' records of 5 kB."""
    store = CellStore(tmp_path, 0, 256, 1)
    data = np.random.default_rng(0).integers(0, 256, (256, 5_132), dtype=np.uint8)
    store.put(0, np.arange(256), Ragged.fixed(data))
    write = fastest(lambda: store.save(0))
    read = fastest(lambda: CellStore.open(tmp_path, 0, 0))
    print(
        f"\n256 records of 5,132 bytes: written in {write * 1e3:.2f} ms, read in {read * 1e3:.2f}"
    )


def make(plugin: str, config: dict[str, Any], sample: Rows) -> Codec:
    codec: Codec = load("codecs", plugin)(
        options("codecs", {"name": plugin, **config}), Column("mask", "mask", SASREC)
    )
    codec.fit(sample)
    return codec


def measure(codec: Codec, diets: Rows, held: Rows) -> tuple[float, float, float]:
    """Return bits an edge (header included) and seconds to seal and to open all records."""
    columns = [(codec.column, codec)]
    rows, old = {"mask": diets}, {"mask": held}
    records = wire.seal(columns, rows, old)
    assert np.array_equal(wire.open_records(columns, records, old)["mask"], diets)
    encode = fastest(lambda: codec.encode(diets, held if codec.needs_held else None))
    data = codec.encode(diets, held if codec.needs_held else None)
    decode = fastest(lambda: codec.decode(data, held if codec.needs_held else None))
    return 8 * records.sizes.mean(), encode, decode


def report(name: str, ideal: float, edges: int, bits: float, encode: float, decode: float) -> None:
    scale = 1e6 / edges
    print(
        f"  {name:<26}{bits:>10,.0f}{bits / ideal:>10.3f}"
        f"{encode * scale:>8.1f}{decode * scale:>8.1f}"
    )


def ideal_bits(sample: Rows, diets: Rows) -> dict[str, float]:
    """Return the bits an edge of codes that need nothing but the model."""
    bits = ones(diets)
    counts = bits.reshape(len(bits), -1, 64).sum(axis=2)
    places = (gammaln(65) - gammaln(counts + 1) - gammaln(65 - counts)).sum(axis=1) / np.log(2)
    numbers = [-np.log2(np.bincount(row)[row] / len(row)).sum() for row in counts]
    chance = chances(sample)
    return {
        "log2 C(4096, 410) a layer": 19_166.8,
        "row counts, log2 C(64, n)": float(places.mean() + np.mean(numbers)),
        "a chance per position": float(
            -np.log2(np.where(bits, chance, 1 - chance)).sum() / len(bits)
        ),
    }


def ones(packed: Rows) -> Bits:
    return np.unpackbits(packed, axis=1, bitorder="little").astype(np.bool_)


def chances(sample: Rows) -> NDArray[np.float64]:
    bits = ones(sample)
    chance: NDArray[np.float64] = (bits.sum(axis=0) + 2 * bits.mean()) / (len(bits) + 2)
    return chance


def fastest(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(REPEATS):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return min(times)


def each(
    diets: list[Any], encode: Callable[[Any], Any], decode: Callable[[Any], Any], size: Any = len
) -> tuple[float, float, float]:
    """Return bits an edge and seconds for all, of a peer that takes one edge at a time."""
    coded = [encode(diet) for diet in diets]
    return (
        8 * float(np.mean([size(data) for data in coded])),
        fastest(lambda: [encode(diet) for diet in diets]),
        fastest(lambda: [decode(data) for data in coded]),
    )


def peer_zlib(sample: Rows, diets: Rows) -> tuple[float, float, float]:
    rows = [diet.tobytes() for diet in diets]
    return each(rows, lambda row: zlib.compress(row, 9), zlib.decompress)


def peer_zstd(sample: Rows, diets: Rows) -> tuple[float, float, float]:
    codec = pa.Codec("zstd", compression_level=19)
    rows = [diet.tobytes() for diet in diets]
    return each(
        rows,
        lambda row: codec.compress(row, asbytes=True),
        lambda data: codec.decompress(data, 5_120, asbytes=True),
    )


def peer_bernoulli(sample: Rows, diets: Rows) -> tuple[float, float, float]:
    """Constriction with a Bernoulli model per position."""
    family = constriction.stream.model.Bernoulli(perfect=False)
    chance = chances(sample).astype(np.float32)
    coder = constriction.stream.stack.AnsCoder

    def encode(bits: Any) -> Any:
        ans = coder()
        ans.encode_reverse(bits, family, chance)
        return ans.get_compressed()

    rows = list(ones(diets).astype(np.int32))
    return each(rows, encode, lambda data: coder(data).decode(family, chance), words)


def peer_bytes(sample: Rows, diets: Rows) -> tuple[float, float, float]:
    """Constriction with 32 tables of bytes, positions sorted by chance beforehand."""
    order = np.argsort(-chances(sample), kind="stable")
    tables = np.array_split(np.arange(5_120), TABLES)
    known, rows = (np.packbits(ones(part)[:, order], axis=1) for part in (sample, diets))
    models = []
    for part in tables:
        seen = np.bincount(known[:, part].ravel(), minlength=256) + 0.01
        chance = seen / seen.sum()
        models.append(constriction.stream.model.Categorical(chance, perfect=False))
    coder = constriction.stream.stack.AnsCoder

    def encode(row: Any) -> Any:
        ans = coder()
        for part, model in zip(tables[::-1], models[::-1], strict=True):
            ans.encode_reverse(row[part], model)
        return ans.get_compressed()

    def decode(data: Any) -> Any:
        ans = coder(data)
        return [ans.decode(model, len(part)) for part, model in zip(tables, models, strict=True)]

    return each(list(rows.astype(np.int32)), encode, decode, words)


def words(data: NDArray[np.uint32]) -> int:
    return 4 * len(data)


PEERS = {
    "zlib -9": peer_zlib,
    "zstd -19": peer_zstd,
    "constriction, bits": peer_bernoulli,
    "constriction, bytes": peer_bytes,
}
