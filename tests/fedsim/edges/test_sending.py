"""What edges send for all channels: once, booked once, and refused everywhere."""

from __future__ import annotations

import numpy as np

from fedsim.edges.sending import TOGETHER, send_together
from fedsim.ragged import Ragged
from fedsim.wire import UPLOAD_HEADER_BYTES, decode_items

NAMES = np.array([7, 8, 9, 10])
REQUESTED = np.array([[True, False, False, True], [True, True, False, False]])
WINDOWS = np.array([[0, 0, 3], [1, 2, 70_000], [1, 1, 1], [4, 5, 6]], np.int32)


def test_an_upload_is_booked_in_the_first_channel_that_asks() -> None:
    sent = send_together(REQUESTED, WINDOWS, 70_000, np.full(4, np.inf), NAMES)
    one, three = UPLOAD_HEADER_BYTES + 4, UPLOAD_HEADER_BYTES + 12
    assert sent["0.uplink"].tolist() == [one, 0, 0, three]
    assert sent["1.uplink"].tolist() == [0, three, 0, 0]
    assert (sent["0.edges"].tolist(), sent["1.edges"].tolist()) == ([0, 3], [0, 1])
    assert sent[f"{TOGETHER}.edges"].tolist() == [0, 1, 3]
    records = Ragged(sent[f"{TOGETHER}.buffer"], sent[f"{TOGETHER}.offsets"])
    assert decode_items(records, 70_000, 3).tolist() == WINDOWS[[0, 1, 3]].tolist()


def test_joint_numbers_may_need_wider_ids() -> None:
    sent = send_together(REQUESTED, np.minimum(WINDOWS, 99), 99, np.full(4, np.inf), NAMES)
    assert sent["0.uplink"].tolist() == [UPLOAD_HEADER_BYTES + 2, 0, 0, UPLOAD_HEADER_BYTES + 6]


def test_who_cannot_pay_is_refused_in_every_channel_and_spends_nothing() -> None:
    tokens = np.array([9.0, 100.0, 100.0, 100.0])
    sent = send_together(REQUESTED, WINDOWS, 70_000, tokens, NAMES)
    assert sent["0.refused"].tolist() == [True, False, False, False]
    assert sent["1.refused"].tolist() == [True, False, False, False]
    assert sent["0.uplink"].tolist() == [0, 0, 0, 18]
    assert (sent["0.edges"].tolist(), sent["1.edges"].tolist()) == ([3], [1])
    assert tokens.tolist() == [9.0, 82.0, 100.0, 82.0]
