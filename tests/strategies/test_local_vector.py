"""The local vector: no bytes, the vector the cloud would have sent, and its booked compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedsim.engine.run import run
from tests.strategies.fitted import Fitted, fitted
from tests.studies import tiny


@pytest.fixture(scope="module", params=[False, True], ids=["own table", "tied"])
def made(request: pytest.FixtureRequest) -> Fitted:
    return fitted({"name": "local_vector", "upload": 12, "tied": request.param})


def test_an_edge_makes_the_vector_the_cloud_would_make(made: Fitted) -> None:
    edges = np.array([7, 2, 9])
    cloud = made.strategy._learners[0].answers(made.uploads().items[edges])
    local = made.half.adapt(0, {}, made.cell.channels[0], edges, 1)["vector"]
    np.testing.assert_array_equal(local, cloud)
    assert len(np.unique(local, axis=0)) == 3


def test_it_is_trained_as_the_user_vector_is() -> None:
    """But for its random start, which goes by the strategy's name."""
    local, rival = (
        fitted({"name": name, "upload": 12}) for name in ("local_vector", "user_vector")
    )
    names = {name: value.shape for name, value in rival.strategy._learners[0].state_dict().items()}
    assert names == {
        name: value.shape for name, value in local.strategy._learners[0].state_dict().items()
    }


def test_nothing_is_sent_and_the_reading_is_booked(tmp_path: Path) -> None:
    done = run(tiny({"name": "local_vector", "upload": 3}), out=tmp_path)
    rounds = done.ledger[done.ledger["round"] > 0]
    assert (rounds[["uplink_bytes", "downlink_bytes"]] == 0).all(axis=None)
    assert (rounds["train_macs"] == (3 * 4 + 4 * 64 + 64) * 64).all()
    assert (rounds["stored_bytes"] > 4 * 64).all()
    first = done.ledger[done.ledger["round"] == 0]
    assert (first["paper_bits"] == 32 * 40_960).all()
    assert (rounds["paper_bits"] == 0).all()
