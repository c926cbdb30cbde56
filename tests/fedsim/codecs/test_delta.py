from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest

from fedsim import wire
from fedsim.codecs._prior import BUCKETS, Prior
from fedsim.codecs.base import Column, RowError
from fedsim.codecs.delta import Delta, DeltaConfig
from fedsim.codecs.entropy import Entropy, EntropyConfig
from fedsim.errors import ConfigError, WireError
from fedsim.kernels.parts import CHANGES
from fedsim.kernels.prior_model import UNIT
from fedsim.kernels.urns import MODELS
from fedsim.layout import Layout
from fedsim.ragged import Ragged
from tests.diets import CASER, SASREC, consecutive_diets

GOLDEN = [3324374461, 224007895]
SAMPLE = np.concatenate(consecutive_diets(100, seed=9))
HELD, DIETS = consecutive_diets(40, seed=1)


def make(layout: Layout = SASREC, **options: Any) -> Delta:
    return Delta(DeltaConfig(name="delta", **options), Column("mask", "mask", layout))


def fitted(**options: Any) -> Delta:
    codec = make(**options)
    codec.fit(SAMPLE)
    return codec


def test_a_change_is_smaller_than_the_diet_itself() -> None:
    changed = np.bitwise_count(HELD ^ DIETS).sum(axis=1).mean()
    assert 500 < changed < 2_200
    entropy = Entropy(EntropyConfig(), Column("mask", "mask", SASREC))
    assert make().encode(DIETS, HELD).sizes.mean() < 0.7 * entropy.encode(DIETS).sizes.mean()
    entropy.fit(SAMPLE)
    sizes = fitted().encode(DIETS, HELD).sizes
    assert sizes.mean() < 0.7 * entropy.encode(DIETS).sizes.mean()


def test_an_unchanged_diet_is_nearly_free() -> None:
    assert fitted().encode(DIETS, DIETS).sizes.max() < 200
    assert make().encode(DIETS, DIETS).sizes.max() < 40


def test_where_nearly_all_changed_the_diet_itself_is_sent() -> None:
    codec = fitted()
    others = np.roll(HELD, 1, axis=0)
    others[::2] = HELD[::2]
    data = codec.encode(DIETS, others)
    alone = codec.at_rest.encode(DIETS)
    assert (data.sizes <= 1.05 * alone.sizes + 1).all()
    marks = data.buffer[data.offsets[:-1]]
    assert set(marks[::2].tolist()) == {1}
    np.testing.assert_array_equal(codec.decode(data, others), DIETS)


def test_one_held_mask_may_stand_for_all() -> None:
    codec = fitted()
    data = codec.encode(DIETS, HELD[:1])
    np.testing.assert_array_equal(codec.decode(data, HELD[:1]), DIETS)
    back = codec.decode(codec.encode(DIETS[:1], HELD), HELD)
    np.testing.assert_array_equal(back, np.repeat(DIETS[:1], len(HELD), axis=0))
    with pytest.raises(WireError, match="40 masks against 3 held; give one each"):
        codec.encode(DIETS, HELD[:3])


def test_another_held_mask_is_told_with_its_edge() -> None:
    codec = fitted()
    columns = [(codec.column, codec)]
    records = wire.seal(columns, {"mask": DIETS}, {"mask": HELD})
    answer = wire.open_records(columns, records, {"mask": HELD})
    np.testing.assert_array_equal(answer["mask"], DIETS)
    wrong = HELD.copy()
    wrong[7] = HELD[8]
    with pytest.raises(WireError, match=r"edge 107: column 'mask' .*against another mask held"):
        wire.open_records(columns, records, {"mask": wrong}, np.arange(100, 140))
    with pytest.raises(WireError, match="edge 0: column 'mask' changes a mask held, and none is"):
        wire.open_records(columns, records)


def test_the_store_keeps_what_needs_nothing_held() -> None:
    codec = fitted()
    columns = [(codec.column, codec)]
    kept = wire.seal(wire.at_rest(columns), {"mask": DIETS})
    answer = wire.open_records(wire.at_rest(columns), kept)
    np.testing.assert_array_equal(answer["mask"], DIETS)
    assert not codec.at_rest.needs_held


@pytest.mark.parametrize("base", ["bitmask", "csr", {"name": "entropy", "model": "row"}])
def test_any_codec_of_masks_may_be_the_base(base: object) -> None:
    codec = fitted(base=base)
    edge = make(base=base)
    edge.load(codec.side_information())
    for held in (None, HELD):
        np.testing.assert_array_equal(edge.decode(codec.encode(DIETS, held), held), DIETS)
    name = base if isinstance(base, str) else "entropy"
    assert type(codec.at_rest).__name__.lower() == name


def test_a_base_for_floats_is_told() -> None:
    with pytest.raises(ConfigError, match="codec 'dense' takes columns of kind dense"):
        make(base="dense")


def test_damaged_side_information_is_told() -> None:
    side = fitted().side_information()
    for bad in (side[:2], side[:-600], side + b"\0", b"\xff" * 40):
        with pytest.raises(WireError, match="side information is no prior"):
            make().load(bad)


@pytest.mark.parametrize("fit", [False, True])
def test_random_bytes_are_never_taken(fit: bool) -> None:
    held, rows = consecutive_diets(20, CASER)
    codec = make(CASER)
    if fit:
        codec.fit(rows)
    rng = np.random.default_rng(0)
    for size in (1, 5, 9, 40, 400, 3_000):
        for _ in range(20):
            with pytest.raises(RowError, match="row 0: "):
                codec.decode(Ragged.of([rng.bytes(size)]), held[:1])


def test_bytes_are_the_same_everywhere() -> None:
    """Checksums worked out once; a change of any of them is a new version of the wire."""
    likely = np.arange(CASER.size) % 11 == 0
    draws = np.random.default_rng(7).integers(0, 1000, (25, CASER.size))
    draws[:, ::3] = draws[0, ::3]
    rows = np.packbits(draws < np.where(likely, 500, 20), axis=1, bitorder="little")
    codec = make(CASER, base="bitmask")
    found = [codec.encode(rows[1:], rows[:-1]).buffer]
    rates = np.full(BUCKETS, 100, np.uint32)
    rates[:2] = UNIT // 50, UNIT // 2
    urns = (np.arange(CHANGES) * 10 % MODELS).astype("<u2")
    prior = Prior(CASER, likely.astype(np.uint8), rates)
    codec.load(bytes(4) + urns.tobytes() + prior.to_bytes())
    found.append(codec.encode(rows[1:], rows[:-1]).buffer)
    np.testing.assert_array_equal(
        codec.decode(codec.encode(rows[1:], rows[:-1]), rows[:-1]), rows[1:]
    )
    assert [zlib.crc32(part.tobytes()) for part in found] == GOLDEN
