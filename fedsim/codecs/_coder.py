"""Batches of masks through the three models of the entropy coder.

`checks` (uint32, a row each) is what a decoder must end at; it ends elsewhere if bytes are
damaged or were made with other side information or against another mask held.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedsim.codecs._prior import Prior
from fedsim.codecs.base import RowError, check_spare
from fedsim.kernels import delta_model, prior_model, row_model
from fedsim.kernels.blocks import bytes_of, cut, words_of
from fedsim.kernels.urns import PATTERNS, shares
from fedsim.layout import Layout
from fedsim.ragged import Ragged

Checks = NDArray[np.uint32]
Masks = NDArray[np.uint8]


class Coder(Protocol):
    """Codes packed masks of one layout."""

    def encode(self, rows: Masks, checks: Checks) -> Ragged:
        """Return the bytes of every row."""

    def decode(self, data: Ragged, checks: Checks) -> Masks:
        """Return the rows; RowError names a damaged one."""


class RowCoder:
    """Without a prior."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._cut = cut(layout.row_lengths)
        self._model = row_model.row_model(self._cut)

    def encode(self, rows: Masks, checks: Checks) -> Ragged:
        out, offsets = _room(len(rows), len(self._cut.size) + 2 * len(self._cut.first))
        words = words_of(rows)
        row_model.encode(words, checks, self._cut, self._model, PATTERNS, out, offsets)
        return _taken(out, offsets)

    def decode(self, data: Ragged, checks: Checks) -> Masks:
        words = _masks(len(data), self._layout)
        bad = row_model.decode(
            data.buffer, data.offsets, checks, self._cut, self._model, PATTERNS, words
        )
        return _checked(words, bad, self._layout)


class PriorCoder:
    """With a prior, each mask alone."""

    def __init__(self, prior: Prior, urns: NDArray[np.uint16]) -> None:
        self._layout = prior.layout
        self._model = (*prior.reading(), shares(urns), PATTERNS)

    def encode(self, rows: Masks, checks: Checks) -> Ragged:
        out, offsets = _room(len(rows), len(self._model[0].size))
        prior_model.encode(words_of(rows), checks, *self._model, out, offsets)
        return _taken(out, offsets)

    def decode(self, data: Ragged, checks: Checks) -> Masks:
        words = _masks(len(data), self._layout)
        bad = prior_model.decode(data.buffer, data.offsets, checks, *self._model, words)
        return _checked(words, bad, self._layout)


class ChangeCoder:
    """With a prior, against the masks held."""

    def __init__(self, prior: Prior, urns: NDArray[np.uint16]) -> None:
        self._layout = prior.layout
        self._model = (prior.holding(), shares(urns), PATTERNS)

    def encode(self, rows: Masks, held: Masks, checks: Checks) -> Ragged:
        """Return the bytes of every row's changes."""
        model = self._model[0]
        out, offsets = _room(len(rows), 2 * len(model.blocks.size) + len(model.waking))
        delta_model.encode(words_of(rows), words_of(held), checks, *self._model, out, offsets)
        return _taken(out, offsets)

    def decode(self, data: Ragged, held: Masks, checks: Checks) -> Masks:
        """Return the rows; RowError names a damaged one."""
        words = _masks(len(data), self._layout)
        old = words_of(held)
        bad = delta_model.decode(data.buffer, data.offsets, old, checks, *self._model, words)
        return _checked(words, bad, self._layout)


def _room(rows: int, steps: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return space for the largest rows there can be (untouched pages cost nothing)."""
    return np.empty(rows * (4 * steps + 8), np.uint8), np.zeros(rows + 1, np.int64)


def _taken(out: NDArray[np.uint8], offsets: NDArray[np.int64]) -> Ragged:
    return Ragged(out[: offsets[-1]].copy(), offsets)


def _masks(rows: int, layout: Layout) -> NDArray[np.uint64]:
    return np.zeros((rows, -(-layout.size // 64)), np.uint64)


def _checked(words: NDArray[np.uint64], bad: int, layout: Layout) -> Masks:
    if bad >= 0:
        raise RowError(
            bad, "is damaged, or was made with another prior or against another mask held"
        )
    return check_spare(bytes_of(words, layout.packed_bytes), layout.size)
