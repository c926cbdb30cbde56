from __future__ import annotations

import gc
import pickle
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Error, Message, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("ray")
import ray

from fedsim.engine.internals import SUPERLINK_NODE_ID, identify
from fedsim.engine.messages import array_of, values_of
from fedsim.engine.packing import (
    OUT_OF_BAND_BYTES,
    SHARED_BYTES,
    SharedRecords,
    pack_batch,
    unpack_message,
)
from tests.fedsim.engine.apps import record_of


def transported(message: Message) -> tuple[Message, list[int]]:
    """Return the message as a worker gets it, and the sizes of what went beside."""
    identify(1, SUPERLINK_NODE_ID)
    (packed,), _ = pack_batch([message])
    beside: list[pickle.PickleBuffer] = []
    data = pickle.dumps(packed, protocol=5, buffer_callback=beside.append)
    assert len(data) < OUT_OF_BAND_BYTES + 4096
    return unpack_message(pickle.loads(data, buffers=beside)), [len(b.raw()) for b in beside]


@given(st.sampled_from([0, 1, OUT_OF_BAND_BYTES - 1, OUT_OF_BAND_BYTES, 3 * OUT_OF_BAND_BYTES]))
def test_content_comes_through_and_big_payloads_go_beside(nbytes: int) -> None:
    identify(1, SUPERLINK_NODE_ID)
    values = np.arange(nbytes, dtype=np.uint8)
    content = RecordDict(
        {
            "arrays": record_of(x=values),
            "config": ConfigRecord({"round": 3, "name": "diet", "raw": b"\0\1"}),
            "metrics": MetricRecord({"hit": [0.5, 0.25]}),
        }
    )
    sent = Message(content, 1000, "train.upload", group_id="7", ttl=60)
    got, beside = transported(sent)
    assert got.metadata == sent.metadata
    assert np.array_equal(values_of(got.content["arrays"]["x"]), values)  # type: ignore[arg-type]
    assert got.content["config"] == content["config"]
    assert got.content["metrics"] == content["metrics"]
    assert beside == ([nbytes] if nbytes >= OUT_OF_BAND_BYTES else [])


def test_an_error_comes_through() -> None:
    identify(1, SUPERLINK_NODE_ID)
    sent = Message(Error(2, "no"), reply_to=Message(RecordDict(), 1000, "train"))
    got, _ = transported(sent)
    assert got.error == sent.error
    assert not got.has_content()


def test_a_record_is_put_once_while_it_lives_and_is_what_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put: list[Any] = []

    def noted(value: object) -> int:
        put.append(value)
        return len(put)

    monkeypatch.setattr(ray, "put", noted)
    shared = SharedRecords()
    record = record_of(x=np.zeros(SHARED_BYTES, np.uint8))
    assert shared.ref(record_of(x=np.zeros(SHARED_BYTES - 1, np.uint8))) is None
    assert [shared.ref(record), shared.ref(record)] == [1, 1]
    record["x"] = array_of(np.ones(SHARED_BYTES, np.uint8))
    assert [shared.ref(record), shared.ref(record)] == [2, 2]
    record["y"] = array_of(np.ones(1, np.uint8))
    assert shared.ref(record) == 3
    del record
    gc.collect()
    assert not shared._put
