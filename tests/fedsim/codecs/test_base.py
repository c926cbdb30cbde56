"""What codecs share."""

from __future__ import annotations

import pickle

from fedsim.codecs.base import RowError


def test_a_row_error_survives_the_way_out_of_a_process() -> None:
    error = pickle.loads(pickle.dumps(RowError(3, "is too short")))
    assert (type(error), error.row, error.reason) == (RowError, 3, "is too short")
    assert str(error) == "row 3: is too short"
