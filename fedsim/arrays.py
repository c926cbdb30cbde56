"""Named numpy arrays and Arrow batches as Flower records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pyarrow as pa
from flwr.app import ArrayRecord, ConfigRecord, RecordDict
from numpy.typing import NDArray

from fedsim.engine.messages import array_of, values_of

Named = dict[str, NDArray[Any]]


def pack(arrays: Mapping[str, NDArray[Any]]) -> ArrayRecord:
    """Return a record of raw arrays; one copy each."""
    return ArrayRecord({name: array_of(values) for name, values in arrays.items()})


def unpack(content: RecordDict, name: str = "arrays") -> Named:
    """Return the arrays of a named record, as read-only views where they are raw."""
    return {key: values_of(array) for key, array in cast(ArrayRecord, content[name]).items()}


def config_of(content: RecordDict) -> ConfigRecord:
    """Return what a message says beside its arrays.

    Records are asked for by name: a RecordDict's ``config_records`` and its like refer to
    themselves, which keeps payloads alive until the garbage collector comes by.
    """
    return cast(ConfigRecord, content["config"])


def from_batch(batch: pa.RecordBatch) -> NDArray[np.uint8]:
    """Return an Arrow batch as bytes that bring their schema along."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return np.frombuffer(sink.getvalue(), np.uint8)


def to_batch(data: NDArray[np.uint8]) -> pa.RecordBatch:
    """Return the batch that `from_batch` wrote."""
    table = pa.ipc.open_stream(pa.py_buffer(data.tobytes())).read_all()
    return table.combine_chunks().to_batches()[0] if len(table) else _empty(table)


def _empty(table: pa.Table) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=table.schema)
