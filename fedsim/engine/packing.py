"""Messages as what Ray moves without copying: small parts in band, big buffers beside.

A payload of `OUT_OF_BAND_BYTES` or more travels as a `pickle.PickleBuffer`: Ray writes it
to shared memory once and a worker on the same machine reads it there. An ArrayRecord of
`SHARED_BYTES` or more is put there as an object of its own, once for all the messages that
carry it, as in a broadcast.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import partial
from pickle import PickleBuffer
from typing import Any

import ray
from flwr.app import ArrayRecord, Error, Message, Metadata, RecordDict

from fedsim.engine.internals import make_message
from fedsim.engine.messages import array_bytes, rebuild_array

OUT_OF_BAND_BYTES = 16 * 2**10
SHARED_BYTES = 64 * 2**10

PackedRecord = list[tuple[str, str, tuple[int, ...], str, Any]]
"""Arrays of a record: name, dtype, shape, stype, payload."""

PackedMessage = tuple[Metadata, list[tuple[str, Any]] | None, Error | None]
"""Metadata, content (a record's name with the record, its packed form, or its place among
the batch's shared records), error."""


def pack_record(record: ArrayRecord) -> PackedRecord:
    """Return a record's arrays with their payloads ready to travel."""
    return [(k, a.dtype, a.shape, a.stype, _payload(a.data)) for k, a in record.items()]


def unpack_record(packed: PackedRecord, own: bool) -> ArrayRecord:
    """Return the record; `own` payloads are copied out of Ray's shared memory."""
    record = ArrayRecord()
    for name, dtype, shape, stype, data in packed:
        if not isinstance(data, bytes):
            data = bytes(data) if own else memoryview(data)
        record[name] = rebuild_array(dtype, shape, stype, data)
    return record


def _payload(data: bytes | memoryview) -> bytes | PickleBuffer:
    return PickleBuffer(data) if len(data) >= OUT_OF_BAND_BYTES else bytes(data)


class SharedRecords:
    """The big records on their way, each in Ray's object store once, as long as they live."""

    def __init__(self) -> None:
        self._put: dict[int, tuple[weakref.ref[ArrayRecord], list[Any], ray.ObjectRef[Any]]] = {}

    def ref(self, record: ArrayRecord) -> ray.ObjectRef[Any] | None:
        """Return the reference to a big record, or None for a small one."""
        if array_bytes(record) < SHARED_BYTES:
            return None
        buffers = [array.data for array in record.values()]
        known = self._put.get(id(record))
        if known is not None and _same(known[1], buffers):
            return known[2]
        ref: ray.ObjectRef[Any] = ray.put(pack_record(record))
        forget = partial(_forget, self._put, id(record))
        self._put[id(record)] = weakref.ref(record, forget), buffers, ref
        return ref


def _same(before: list[Any], now: list[Any]) -> bool:
    """Whether a record still holds the very buffers that were put."""
    return len(before) == len(now) and all(a is b for a, b in zip(before, now, strict=True))


def _forget(records: dict[int, Any], key: int, dead: weakref.ref[ArrayRecord]) -> None:
    if key in records and records[key][0] is dead:
        del records[key]


def pack_batch(
    messages: Sequence[Message], shared: SharedRecords | None = None
) -> tuple[list[PackedMessage], list[ray.ObjectRef[Any]]]:
    """Return packed messages and the references to the records they share."""
    places: dict[ray.ObjectRef[Any], int] = {}
    packed = [_pack(message, shared, places) for message in messages]
    return packed, list(places)


def _pack(
    message: Message, shared: SharedRecords | None, places: dict[ray.ObjectRef[Any], int]
) -> PackedMessage:
    if not message.has_content():
        return message.metadata, None, message.error
    content: list[tuple[str, Any]] = []
    for name, record in message.content.items():
        if not isinstance(record, ArrayRecord):
            content.append((name, record))
            continue
        ref = shared.ref(record) if shared is not None else None
        packed = pack_record(record) if ref is None else places.setdefault(ref, len(places))
        content.append((name, packed))
    return message.metadata, content, None


def unpack_message(
    packed: PackedMessage, shared: Sequence[PackedRecord] = (), own: bool = False
) -> Message:
    """Return the message; `own` payloads are copied out of Ray's shared memory."""
    metadata, parts, error = packed
    if parts is None:
        return make_message(metadata, error=error)
    content = RecordDict()
    for name, part in parts:
        if isinstance(part, int):
            part = shared[part]
        content[name] = unpack_record(part, own) if isinstance(part, list) else part
    return make_message(metadata, content=content)
