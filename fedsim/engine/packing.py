"""Messages as what Ray moves without copying: small parts in band, big buffers beside.

A payload of `OUT_OF_BAND_BYTES` or more travels as a `pickle.PickleBuffer`: Ray writes it
to shared memory once and a worker on the same machine reads it there. An ArrayRecord of
`SHARED_BYTES` or more is put there as an object of its own, once for all the messages that
carry the same buffers, as in a broadcast.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pickle import PickleBuffer
from typing import Any

import ray
from flwr.app import ArrayRecord, Error, Message, Metadata, RecordDict

from fedsim.engine.internals import make_message
from fedsim.engine.messages import array_bytes, rebuild_array

OUT_OF_BAND_BYTES = 16 * 2**10
SHARED_BYTES = 64 * 2**10
KEPT_RECORDS = 4

PackedRecord = list[tuple[str, str, tuple[int, ...], str, Any]]
"""Arrays of a record: name, dtype, shape, stype, payload."""

Key = tuple[tuple[str, str, tuple[int, ...], str, int], ...]
"""What an ArrayRecord is known by: as `PackedRecord`, the id of the payload in its place."""

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
    """The big records of late, each in Ray's object store once."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], tuple[ray.ObjectRef[Any], list[Any]]] = (
            OrderedDict()
        )

    def ref(self, record: ArrayRecord) -> ray.ObjectRef[Any] | None:
        """Return the reference to a big record, or None for a small one.

        Records are the same if they hold the same buffers under the same names.
        """
        if array_bytes(record) < SHARED_BYTES:
            return None
        key = tuple((k, a.dtype, a.shape, a.stype, id(a.data)) for k, a in record.items())
        if key not in self._kept:
            # The buffers are kept with the reference: an id is only theirs while they live.
            buffers = [array.data for array in record.values()]
            self._kept[key] = ray.put(pack_record(record)), buffers
            if len(self._kept) > KEPT_RECORDS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key][0]


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
