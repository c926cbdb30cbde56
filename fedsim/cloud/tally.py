"""Running means of a round, for the display."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa


class Tally:
    """Adds up ledger rows batch by batch; holds a handful of numbers.

    `shared_bytes` is what every edge stores once for all channels.
    """

    def __init__(self, ks: Sequence[int], shared_bytes: int) -> None:
        k = min(ks)
        self._shared = shared_bytes
        self._columns = ("targets", f"hit_{k}", f"ndcg_{k}", "uplink_bytes", "downlink_bytes")
        self._sums = dict.fromkeys((*self._columns, "stored_bytes"), 0.0)
        self._edges = 0
        self._k = k

    def add(self, batch: pa.RecordBatch) -> None:
        """Add a cell's rows."""
        for name in self._sums:
            self._sums[name] += float(batch[name].to_numpy(zero_copy_only=False).sum())
        self._edges += len(np.unique(batch["edge"].to_numpy()))

    def means(self) -> dict[str, float]:
        """Return accuracy over targets, NaN where there were none, and bytes per edge."""
        targets, edges = self._sums["targets"] or float("nan"), max(self._edges, 1)
        return {
            f"hit_{self._k}": self._sums[f"hit_{self._k}"] / targets,
            f"ndcg_{self._k}": self._sums[f"ndcg_{self._k}"] / targets,
            "uplink_bytes": self._sums["uplink_bytes"] / edges,
            "downlink_bytes": self._sums["downlink_bytes"] / edges,
            "stored_bytes": self._shared + self._sums["stored_bytes"] / edges,
            "edges": float(self._edges),
        }
