"""Generated masks against the same formulas in plain torch, and against other batches."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from fedsim.errors import DataError
from fedsim.kernels.generate import BATCH, Head, generate_masks, masks_of
from fedsim.kernels.gru import last_states
from fedsim.kernels.select import select
from tests.fedsim.kernels.test_gru import DIM, LAYERS, extractors, table

SHAPES = [(8, 32), (16, 8), (4, 5)]


def heads(rows: bool = True) -> list[Head]:
    gen = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=gen)

    made = []
    for height, width in SHAPES:
        size = height * width
        head = Head(max(1, size // 5), normal(DIM, size), normal(size))
        if rows:
            head = dataclasses.replace(head, row_map=normal(DIM, height), row_bias=normal(height))
        made.append(head)
    return made


def uploads(edges: int = 2 * BATCH + 77) -> np.ndarray:
    return np.random.default_rng(4).integers(0, 31, (edges, 5))


@pytest.mark.parametrize("rows", [True, False])
def test_masks_follow_the_formulas(rows: bool) -> None:
    gru, _ = extractors()
    ids = uploads(100)
    found = generate_masks(gru, heads(rows), table(), ids)
    states = last_states(gru, table(), ids)
    at = 0
    for state, head in zip(states, heads(rows), strict=True):
        scores, weights = state @ head.map + head.bias, None
        if head.row_map is not None:
            weights = (state @ head.row_map + head.row_bias).softmax(-1).numpy()
        wanted = select(scores.numpy(), weights, head.keep)
        part = found[:, at : at + wanted.shape[1]]
        # Another order of additions may swap elements that are equal to within rounding.
        assert np.bitwise_count(part ^ wanted).sum() <= 4
        assert (np.bitwise_count(part).sum(1) == head.keep).all()
        at += wanted.shape[1]
    assert at == found.shape[1]
    assert len(np.unique(found, axis=0)) > 90


def test_an_answer_depends_on_its_own_upload_alone() -> None:
    gru, _ = extractors()
    ids = uploads()
    together = generate_masks(gru, heads(), table(), ids)
    for start, stop in ((0, 1), (0, 2), (5, 70), (200, 300), (BATCH, 2 * BATCH)):
        alone = generate_masks(gru, heads(), table(), ids[start:stop])
        np.testing.assert_array_equal(alone, together[start:stop])


def test_threads_change_nothing() -> None:
    gru, _ = extractors()
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(generate_masks(gru, heads(), table(), uploads()))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(found[0], found[1])


def test_other_extractors_bring_their_states() -> None:
    states = torch.randn(LAYERS, 90, DIM, generator=torch.Generator().manual_seed(5))
    found = masks_of(heads(False), lambda part: states[:, part], 90)
    scores = (states[0] @ heads(False)[0].map + heads(False)[0].bias).numpy()
    assert np.bitwise_count(found[:, :32] ^ select(scores, None, 51)).sum() <= 4


def test_no_edges_no_masks() -> None:
    gru, _ = extractors()
    assert generate_masks(gru, heads(), table(), uploads(0)).shape == (0, 32 + 16 + 3)


def test_diverged_generators_are_named() -> None:
    gru, _ = extractors()
    broken = [dataclasses.replace(head, bias=head.bias * torch.nan) for head in heads()]
    with pytest.raises(DataError, match=r"is nan.*diverged training"):
        generate_masks(gru, broken, table(), uploads(3))
