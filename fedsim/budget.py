"""Byte budgets: a token bucket an edge, over all its channels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedsim.scenario import BudgetConfig


class Budget:
    """How many bytes edges may spend; `tokens` are float64 (B), inf without a budget."""

    def __init__(self, config: BudgetConfig) -> None:
        self.rate = self.burst = np.inf
        if config.bytes_per_round is not None:
            self.rate = config.bytes_per_round
            self.burst = config.burst_bytes or 4 * self.rate

    def start(self, edges: int) -> NDArray[np.float64]:
        """Return empty buckets."""
        return np.zeros(edges)

    def earn(self, tokens: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the buckets at the start of a round; what is over the burst is lost."""
        return np.minimum(tokens + self.rate, self.burst)


def spend(
    tokens: NDArray[np.float64], edges: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Pay `sizes` bytes for `edges` (positions) in place; return who could pay, bool."""
    paid = sizes <= tokens[edges]
    tokens[edges[paid]] -= sizes[paid]
    return paid
