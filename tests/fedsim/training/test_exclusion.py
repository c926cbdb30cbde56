"""What is left out of the softmax, and ranks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedsim.data.base import Streams
from fedsim.training.exclusion import leave_out, ranks

STREAMS = Streams(np.array([3, 1, 2, 3, 4, 5], np.int32), np.array([0, 1, 6]))


@pytest.mark.parametrize(
    ("last", "spared", "out"),
    [(None, None, [1, 2, 3]), (2, None, [2, 3]), (None, [2], [1, 3]), (9, None, [1, 2, 3])],
)
def test_items_before_the_target_are_left_out(
    last: int | None, spared: list[int] | None, out: list[int]
) -> None:
    logits = torch.zeros(1, 6)
    keep = None if spared is None else np.array(spared)
    leave_out(logits, STREAMS, np.array([1]), np.array([3]), last, keep)
    gone = torch.nonzero(logits[0].isinf()).flatten() + 1
    assert gone.tolist() == out


def test_ties_count_against_the_target() -> None:
    logits = torch.tensor([[1.0, 1.0, 0.0, -torch.inf], [1.0, 2.0, 3.0, -torch.inf]])
    assert ranks(logits, torch.tensor([0, 2])).tolist() == [1, 0]


def test_a_left_out_target_ranks_last() -> None:
    logits = torch.tensor([[1.0, -torch.inf, 0.0]])
    assert ranks(logits, torch.tensor([1])).tolist() == [2]
