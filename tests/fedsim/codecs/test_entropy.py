from __future__ import annotations

import zlib
from typing import Any

import constriction
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import gammaln

from fedsim import wire
from fedsim.codecs._prior import BUCKETS, Prior
from fedsim.codecs.base import Column, RowError
from fedsim.codecs.entropy import Entropy, EntropyConfig
from fedsim.errors import WireError
from fedsim.kernels.prior_model import CONTEXTS, UNIT
from fedsim.kernels.urns import MODELS, shares
from fedsim.layout import Layout
from fedsim.ragged import Ragged
from tests.diets import CASER, SASREC, consecutive_diets

SAMPLE, _ = consecutive_diets(300, seed=9)
DIETS, _ = consecutive_diets(60, seed=1)
GOLDEN = [2654308545, 1674283804, 2198301767, 2275606780]


def make(layout: Layout = SASREC, **options: Any) -> Entropy:
    config = EntropyConfig(name="entropy", **options)
    return Entropy(config, Column("mask", "mask", layout))


def bits_of(packed: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.unpackbits(packed, axis=1, bitorder="little").astype(np.bool_)


def row_code(packed: NDArray[np.uint8]) -> float:
    """Row counts (their entropy in the diet itself) and the sum of log2 C(64, n_row)."""
    counts = bits_of(packed).reshape(len(packed), -1, 64).sum(axis=2)
    places = gammaln(65) - gammaln(counts + 1) - gammaln(65 - counts)
    total = places.sum() / np.log(2)
    for row in counts:
        share = np.bincount(row)[row] / len(row)
        total -= np.log2(share).sum()
    return float(total / len(packed))


def chances(sample: NDArray[np.uint8]) -> NDArray[np.float64]:
    """A smoothed chance for every position."""
    bits = bits_of(sample)
    chance: NDArray[np.float64] = (bits.sum(axis=0) + 2 * bits.mean()) / (len(bits) + 2)
    return chance


def position_code(packed: NDArray[np.uint8], chance: NDArray[np.float64]) -> float:
    bits = bits_of(packed)
    return float(-np.log2(np.where(bits, chance, 1 - chance)).sum() / len(bits))


def test_a_model_per_row_is_near_its_ideal() -> None:
    size = 8 * make().encode(DIETS).sizes.mean()
    assert size <= 1.03 * row_code(DIETS)


def test_a_prior_beats_the_best_code_of_the_papers_table() -> None:
    codec = make()
    codec.fit(SAMPLE)
    ideal = min(row_code(DIETS), position_code(DIETS, chances(SAMPLE)))
    assert 8 * codec.encode(DIETS).sizes.mean() <= 0.8 * ideal
    few = make()
    few.fit(SAMPLE[:40])
    ideal = min(row_code(DIETS), position_code(DIETS, chances(SAMPLE[:40])))
    assert 8 * few.encode(DIETS).sizes.mean() <= 0.8 * ideal


def test_sizes_against_the_library_constriction() -> None:
    """A Bernoulli model per position, in the library: what a prior gives without rows."""
    codec = make()
    codec.fit(SAMPLE)
    family = constriction.stream.model.Bernoulli(perfect=False)
    chance = chances(SAMPLE).astype(np.float32)
    peer = 0
    for bits in bits_of(DIETS[:8]).astype(np.int32):
        coder = constriction.stream.stack.AnsCoder()
        coder.encode_reverse(bits, family, chance)
        peer += 4 * len(coder.get_compressed())
    assert codec.encode(DIETS[:8]).sizes.sum() <= 0.8 * peer


def test_side_information_is_compact_and_fixed() -> None:
    codec = make()
    codec.fit(SAMPLE)
    assert len(codec.side_information()) < 0.55 * SASREC.size  # about 4 bits a parameter
    again = make()
    again.fit(SAMPLE)
    assert again.side_information() == codec.side_information()


def test_a_prior_of_equal_masks_leaves_only_places_inside_blocks() -> None:
    codec = make()
    codec.fit(np.repeat(DIETS[:1], 50, axis=0))
    assert codec.encode(DIETS[:1]).sizes[0] < 640 * 7 / 8  # at most log2 C(8, 4) bits a row


def test_one_sample_mask_is_a_prior_too() -> None:
    codec = make(CASER)
    codec.fit(consecutive_diets(1, CASER)[0])
    rows, _ = consecutive_diets(5, CASER, seed=4)
    np.testing.assert_array_equal(codec.decode(codec.encode(rows)), rows)


def test_no_samples_or_the_row_model_ship_nothing() -> None:
    codec = make()
    codec.fit(SAMPLE[:0])
    assert codec.side_information() == b""
    rows = make(model="row")
    rows.fit(SAMPLE)
    assert rows.side_information() == b""
    np.testing.assert_array_equal(codec.encode(DIETS).buffer, rows.encode(DIETS).buffer)


def test_another_prior_is_told() -> None:
    cloud, other = make(), make()
    cloud.fit(SAMPLE)
    other.fit(SAMPLE[:50])
    data = cloud.encode(DIETS[:3])
    with pytest.raises(RowError, match="made with another prior"):
        other.decode(data)
    with pytest.raises(RowError, match="made with another prior"):
        make().decode(data)
    records = wire.seal([(cloud.column, cloud)], {"mask": DIETS[:3]})
    with pytest.raises(WireError, match="edge 0 is of another backbone or provision"):
        wire.open_records([(other.column, other)], records)


@pytest.mark.parametrize("damage", ["empty", "short", "urns", "buckets", "layout"])
def test_damaged_side_information_is_told(damage: str) -> None:
    codec = make(CASER if damage == "layout" else SASREC)
    codec.fit(consecutive_diets(20, codec.column.layout)[0])
    side = codec.side_information()
    bad = {
        "empty": b"x",
        "short": side[:-9],
        "urns": b"\xff" * 256 + side[256:],
        "buckets": side[:400] + b"\0" * 50,
        "layout": side,
    }[damage]
    with pytest.raises(WireError, match=r"side information is no prior of .*provision the edge"):
        make().load(bad)


@pytest.mark.parametrize("fitted", [False, True])
def test_damaged_bytes_are_safe_to_read(fitted: bool) -> None:
    """The wire's checksum is what refuses them; most do not even end where they should."""
    rows, _ = consecutive_diets(20, CASER)
    codec = make(CASER)
    if fitted:
        codec.fit(rows)
    good = codec.encode(rows)
    rng = np.random.default_rng(0)
    noise = [rng.bytes(size) for size in (0, 4, 5, 8, 9, 40, 400, 3_000) for _ in range(20)]
    for row in range(20):
        for _ in range(20):
            bad = bytearray(good.row(row))
            bad[rng.integers(len(bad))] ^= rng.integers(1, 256)
            noise.append(bytes(bad))
    noise += [good.row(row) + bytes(count) for row in range(20) for count in (1, 2, 3, 4)]
    refused = 0
    for data in noise:
        try:
            codec.decode(Ragged.of([data]))
        except RowError as error:
            refused += "is damaged" in error.reason
    assert refused > 0.98 * len(noise)


def test_bytes_are_the_same_everywhere() -> None:
    """Checksums worked out once; a change of any of them is a new version of the wire."""
    likely = np.arange(CASER.size) % 11 == 0
    draws = np.random.default_rng(7).integers(0, 1000, (24, CASER.size))
    rows = np.packbits(draws < np.where(likely, 500, 20), axis=1, bitorder="little")
    codec = make(CASER)
    found: list[NDArray[Any]] = [codec.encode(rows).buffer]
    rates = np.full(BUCKETS, 100, np.uint32)
    rates[:2] = UNIT // 50, UNIT // 2
    urns = (np.arange(CONTEXTS) * 10 % MODELS).astype("<u2")
    codec.load(urns.tobytes() + Prior(CASER, likely.astype(np.uint8), rates).to_bytes())
    found += [codec.encode(rows).buffer, *shares(np.arange(MODELS))]
    assert [zlib.crc32(part.tobytes()) for part in found] == GOLDEN
