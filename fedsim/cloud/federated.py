"""Flower's own averaging of what the cells' edges trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords
from numpy.typing import NDArray

EXAMPLES = "num-examples"


def mean_updates(
    channel: int, cells: Iterable[Mapping[str, NDArray[np.generic]]]
) -> dict[str, NDArray[np.float32]]:
    """Return the example-weighted mean of the cells' means, by column; {} if nobody trained.

    Cells are folded in one after the other by flwr's `aggregate_arrayrecords`, so that only
    two models are in memory, in the order of the cells, so that rounding never varies.
    """
    mean: RecordDict | None = None
    for arrays in cells:
        record = _record(channel, arrays)
        if record is None:
            continue
        mean = record if mean is None else _fold(mean, record)
    if mean is None:
        return {}
    found = mean.array_records["arrays"]
    return {name: np.asarray(array.numpy(), np.float32) for name, array in found.items()}


def _record(channel: int, arrays: Mapping[str, NDArray[np.generic]]) -> RecordDict | None:
    examples = float(arrays.get(f"{channel}.examples", np.zeros(1))[0])
    if not examples:
        return None
    prefix = f"{channel}.mean."
    means = {
        name.removeprefix(prefix): Array(np.asarray(value, np.float64))
        for name, value in arrays.items()
        if name.startswith(prefix)
    }
    return _weighted(ArrayRecord(means), examples)


def _weighted(arrays: ArrayRecord, examples: float) -> RecordDict:
    return RecordDict({"arrays": arrays, "metrics": MetricRecord({EXAMPLES: examples})})


def _fold(left: RecordDict, right: RecordDict) -> RecordDict:
    examples = _examples(left) + _examples(right)
    return _weighted(aggregate_arrayrecords([left, right], EXAMPLES), examples)


def _examples(record: RecordDict) -> float:
    return float(str(record.metric_records["metrics"][EXAMPLES]))
