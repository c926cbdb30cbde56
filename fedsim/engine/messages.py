"""Arrays without needless copies, messages with fresh containers, and errors in replies.

flwr's own `Array(ndarray)` and `Array.numpy()` go through ``np.save`` and copy the payload
twice; `array_of` copies it once and `values_of` not at all. Arrays that flwr itself is to
average (FedAvg) must stay in flwr's own form, which `values_of` reads as well.
"""

from __future__ import annotations

import gc
import traceback
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Error, Message, RecordDict
from numpy.typing import NDArray

from fedsim import errors
from fedsim.engine.internals import make_message
from fedsim.errors import FedsimError, RunError

RAW = "fedsim.raw"
"""`Array.stype` of a plain C-ordered buffer."""

RELEASE_BYTES = 2**20


def array_of(values: NDArray[Any]) -> Array:
    """Return values as an Array holding their bytes in C order.

    >>> values_of(array_of(np.arange(4, dtype=np.int16))).tolist()
    [0, 1, 2, 3]
    """
    return Array(str(values.dtype), tuple(values.shape), RAW, values.tobytes())


def values_of(array: Array) -> NDArray[Any]:
    """Return an Array's values: a read-only view if made by `array_of`, else a copy."""
    if array.stype != RAW:
        return array.numpy()
    return np.frombuffer(array.data, dtype=array.dtype).reshape(array.shape)


def rebuild_array(dtype: str, shape: tuple[int, ...], stype: str, data: Any) -> Array:
    """Return an Array around any buffer (its constructor would insist on `bytes`)."""
    array = Array.__new__(Array)
    array.__dict__.update(dtype=dtype, shape=shape, stype=stype, data=data)
    return array


def array_bytes(record: ArrayRecord) -> int:
    """Return the bytes of a record's payloads."""
    return sum(len(array.data) for array in record.values())


def content_bytes(message: Message) -> int:
    """Return the bytes of the arrays in a message; 0 for an Error."""
    if not message.has_content():
        return 0
    records = message.content.values()
    return sum(array_bytes(record) for record in records if isinstance(record, ArrayRecord))


def release(nbytes: int) -> None:
    """Free messages of `nbytes` that nobody uses any more, if these are many bytes.

    The view that flwr's ``content.array_records`` makes is part of a reference cycle: it
    keeps the whole content alive until the garbage collector happens to run. In a worker
    it would keep Ray's shared memory from being used again, too.
    """
    if nbytes >= RELEASE_BYTES:
        gc.collect(1)


def detach(message: Message) -> Message:
    """Return the message in containers of its own, its payloads shared.

    What the receiver changes in its copy, the sender and other receivers do not see,
    as it would be after a real transport.
    """
    if not message.has_content():
        return make_message(message.metadata, error=message.error)
    content = RecordDict()
    for name, record in message.content.items():
        if isinstance(record, ArrayRecord):
            content[name] = ArrayRecord(
                {k: rebuild_array(a.dtype, a.shape, a.stype, a.data) for k, a in record.items()}
            )
        else:
            content[name] = record.copy()
    return make_message(message.metadata, content=content)


def failure(error: BaseException, code: int) -> Error:
    """Return the Error of a reply: ``Class: message``, and where unless the user caused it."""
    reason = f"{type(error).__name__}: {error}"
    if not isinstance(error, FedsimError):
        where = "".join(traceback.format_tb(error.__traceback__, limit=-4))
        reason = f"{reason}\n{where}".rstrip()
    return Error(code, reason)


def error_of(reply: Message) -> FedsimError:
    """Return the exception an Error reply stands for, in the class the app raised.

    An exception of another family than `FedsimError` comes back as a `RunError`.
    """
    reason = reply.error.reason or f"error code {reply.error.code}"
    first, _, where = reason.partition("\n")
    name, _, text = first.partition(": ")
    node = f"(reply of node {reply.metadata.src_node_id})"
    cls = getattr(errors, name, None)
    if isinstance(cls, type) and issubclass(cls, FedsimError):
        return cls("\n".join(filter(None, [f"{text} {node}", where])))
    return RunError("\n".join(filter(None, [f"{first} {node}", where])))
