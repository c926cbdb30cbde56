"""What is left out of the softmax and of the ranking, and the rank of a target."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from fedsim.data.base import Streams

Exclude = Literal["none", "window", "seen"]


def leave_out(
    logits: Tensor,
    streams: Streams,
    edge: NDArray[np.int64],
    position: NDArray[np.int64],
    last: int | None,
    spared: NDArray[np.int64] | None = None,
) -> None:
    """Set the logits of items interacted with before `position` to minus infinity, in place.

    Parameters
    ----------
    logits
        float32 (T, V); column j is item j + 1.
    edge, position
        Whose stream and where in it, int64 (T).
    last
        Only the last so many interactions; all of them when None.
    spared
        Items kept whatever was seen (in training, the target), int64 (T).
    """
    if spared is None:
        spared = np.zeros(len(edge), np.int64)
    _leave_out(
        logits.detach().numpy(), streams.items, streams.offsets[edge], position,
        np.int64(2**62 if last is None else last), spared,
    )  # fmt: skip


def ranks(logits: Tensor, columns: Tensor) -> Tensor:
    """Return the 0-based rank of each row's target; ties count against it. int64 (T).

    >>> import torch
    >>> ranks(torch.tensor([[0.1, 0.9, 0.5]]), torch.tensor([2])).tolist()
    [1]
    """
    return (logits >= logits.gather(1, columns[:, None])).sum(1) - 1


@njit(cache=True)
def _leave_out(logits, items, starts, position, last, spared):  # type: ignore[no-untyped-def]
    for row in range(len(position)):
        for at in range(max(0, position[row] - last), position[row]):
            item = items[starts[row] + at]
            if item != spared[row]:
                logits[row, item - 1] = -np.inf
