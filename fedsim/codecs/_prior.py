"""What the cloud learned of masks: how often each position is one, and urns of blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fedsim.errors import WireError
from fedsim.kernels import delta_model, parts, prior_model
from fedsim.kernels.blocks import Blocks, cut, words_of
from fedsim.kernels.parts import CHANGES
from fedsim.kernels.prior_model import CONTEXTS, LEVELS, SEEN, UNIT
from fedsim.kernels.urns import BLOCK, MODELS, PATTERNS, ROW, best_models
from fedsim.layout import Layout

_NO_PRIOR = (
    "side information is no prior of {0} ({1}); provision the edge with what its cloud shipped"
)
BUCKETS = 32
SAMPLE = 1024
"""At most so many sample masks are looked at."""


@dataclass(frozen=True)
class Prior:
    """A chance for every position, in 32 buckets: `rates` (in UNIT) of `bucket` (N)."""

    layout: Layout
    bucket: NDArray[np.uint8]
    rates: NDArray[np.uint32]

    @classmethod
    def fit(cls, layout: Layout, rows: NDArray[np.uint8]) -> Prior:
        """Learn from packed sample masks (n, …), smoothed by two masks of mean density."""
        bits = np.unpackbits(rows, axis=1, count=layout.size, bitorder="little")
        seen = bits.sum(axis=0, dtype=np.float64)
        mean = (seen.sum() + 1) / (len(rows) * layout.size + 2)
        chance = (seen + 2 * mean) / (len(rows) + 2)
        logit = np.log(chance / (1 - chance))
        width = max(np.ptp(logit) / BUCKETS, 1e-9)
        bucket = np.minimum((logit - logit.min()) / width, BUCKETS - 1).astype(np.uint8)
        total = np.bincount(bucket, weights=chance, minlength=BUCKETS)
        rates = UNIT * total / np.maximum(np.bincount(bucket, minlength=BUCKETS), 1)
        return cls(layout, bucket, np.clip(np.rint(rates), 1, UNIT - 1).astype(np.uint32))

    def reading(self) -> tuple[Blocks, NDArray[np.uint8]]:
        """Return blocks and their contexts by the ones read in their row before them."""
        blocks, expected = self._blocks(small=2)
        return blocks, prior_model.contexts(blocks, expected)

    def holding(self) -> parts.Model:
        """Return what changes go by."""
        return parts.change_model(*self._blocks(small=0))

    def _blocks(self, small: int) -> tuple[Blocks, NDArray[np.int64]]:
        """Cut rows, likely positions first; return blocks and expected ones, in UNIT."""
        blocks = cut(self.layout.row_lengths, -self.bucket.astype(np.int64), small)
        expected = np.zeros(len(blocks.size), np.int64)
        np.add.at(expected, blocks.of, self.rates[self.bucket].astype(np.int64))
        return blocks, expected

    def to_bytes(self) -> bytes:
        """Return rates and compressed buckets."""
        codec = pa.Codec("zstd", compression_level=19)
        packed: bytes = codec.compress(self.bucket, asbytes=True)
        return self.rates.astype("<u4").tobytes() + packed

    @classmethod
    def from_bytes(cls, layout: Layout, data: bytes) -> Prior:
        """Undo `to_bytes`.

        Raises
        ------
        WireError
            The bytes are no prior of this layout.
        """
        rates, packed = data[: 4 * BUCKETS], data[4 * BUCKETS :]
        try:
            plain = pa.Codec("zstd").decompress(packed, layout.size, asbytes=True)
        except OSError as error:
            raise WireError(_NO_PRIOR.format(layout.size, error)) from error
        bucket = np.frombuffer(plain, np.uint8)
        if len(bucket) != layout.size or bucket.max() >= BUCKETS:
            raise WireError(_NO_PRIOR.format(layout.size, f"{len(bucket)} positions"))
        return cls(layout, bucket, np.frombuffer(rates, "<u4").astype(np.uint32))


def sample(rows: NDArray[np.uint8], most: int = SAMPLE) -> NDArray[np.uint8]:
    """Return evenly spaced rows, at most so many."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, most).astype(np.int64))]


def halves(
    rows: NDArray[np.uint8],
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """Yield masks to learn chances from, and which of the masks to count with them.

    What a prior was fitted to looks more likely to it than what it has not seen.
    """
    if len(rows) < 4:
        yield rows, np.ones(len(rows), np.bool_)
        return
    even = np.arange(len(rows)) % 2 == 0
    yield rows[even], ~even
    yield rows[~even], even


def urns(counts: NDArray[np.float32], rates: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Return the urn of every context from its counted blocks, uint16 (contexts).

    Two blocks of 16 bits with ones at `rates` (contexts) are added to what was counted, so
    that rare contexts have sensible urns too.
    """
    ones = np.arange(BLOCK + 1)
    chance = rates[:, None] ** ones * (1 - rates[:, None]) ** (BLOCK - ones)
    counts = counts.copy()
    counts[BLOCK, :, : BLOCK + 1] += 2 * chance * PATTERNS.choose[BLOCK]
    return best_models(counts)


def reading_urns(layout: Layout, rows: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return the urns of masks read alone, uint16 (CONTEXTS)."""
    counts = np.zeros((BLOCK + 1, CONTEXTS, ROW), np.float32)
    for learn, count in halves(rows):
        prior = Prior.fit(layout, learn)
        counts += prior_model.tally(rows[count], *prior.reading())
    return urns(counts, np.repeat(prior_model.level_rates(), SEEN))


def change_urns(layout: Layout, rows: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return the urns of changes, uint16 (CHANGES).

    They are learned from the changes between each sample mask and the one most like it:
    an edge's own next mask is still more like it, but changes in the same places.
    """
    counts = np.zeros((BLOCK + 1, CHANGES, ROW), np.float32)
    near = delta_model.nearest(words_of(rows))
    for learn, count in halves(rows):
        prior = Prior.fit(layout, learn)
        counts += delta_model.tally(rows[count], rows[near[count]], prior.holding())
    zeros = 0.3 * np.repeat(prior_model.level_rates(), SEEN)
    ones, waking = np.full(CONTEXTS, 0.3), np.full(LEVELS, 0.1)
    return urns(counts, np.concatenate([zeros, ones, zeros, waking]))


def models_from_bytes(data: bytes, count: int) -> NDArray[np.uint16]:
    """Return `count` urns from their bytes.

    Raises
    ------
    WireError
        There are not so many, or they are no urns.
    """
    models = np.frombuffer(data[: len(data) // 2 * 2], "<u2").astype(np.uint16)
    if len(data) != 2 * count or models.max() >= MODELS:
        raise WireError(_NO_PRIOR.format(f"{count} urns", f"{len(data)} bytes"))
    return models
