"""Room for answers: by class, drawn anew, and what does not fit is not sent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedsim.engine.run import run
from fedsim.errors import ConfigError
from fedsim.memory import Memory
from fedsim.population import Population
from tests.studies import tiny

EDGES = np.arange(24)
SLOW: dict[str, object] = {
    "population.devices": {"2g": 1.0, "wifi": 1.0},
    "memory.bytes": {"2g": 700.0},
}


def memory(**changes: object) -> Memory:
    scenario = tiny("static", **{f"memory.{name}": value for name, value in changes.items()})
    return Memory(scenario, Population(scenario))


def test_without_the_section_there_is_no_limit() -> None:
    assert memory().free(EDGES, 1) is None


def test_the_share_that_is_free_lasts_its_rounds_and_is_an_edges_own() -> None:
    room = memory(bytes=1000.0, least=0.25, every=2)
    rounds = [room.free(EDGES, number) for number in range(1, 5)]
    first, same, second, last = rounds
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first, same)
    np.testing.assert_array_equal(second, last)
    assert (first != second).any()
    assert (first >= 250).all()
    assert (first <= 1000).all()
    assert len(set(first.tolist())) > 12
    alone = room.free(EDGES[3:4], 1)
    assert alone is not None
    assert alone.tolist() == first[3:4].tolist()


def test_memory_goes_by_device_class_and_unnamed_classes_have_no_limit() -> None:
    scenario = tiny("static", **SLOW)
    population = Population(scenario)
    free = Memory(scenario, population).free(EDGES, 1)
    assert free is not None
    slow = population.devices(EDGES) == 0
    assert 0 < slow.sum() < 24
    assert (free[slow] == 700).all()
    assert (free[~slow] > 10**12).all()


def test_an_answer_without_room_is_not_sent_and_the_ledger_says_so(tmp_path: Path) -> None:
    done = run(tiny("diet", **SLOW), out=tmp_path)
    later = done.ledger[done.ledger["round"] > 0].merge(done.edges[["edge", "device"]])
    slow = later.device == "2g"
    assert later.too_large[slow].all()
    assert not later.too_large[~slow].any()
    assert (later.answered == ~later.too_large).all()
    assert (later.downlink_bytes[slow] == 0).all()
    assert (later.uplink_bytes > 0).all()
    assert (later.memory_bytes[slow] == 700).all()
    assert later.memory_bytes[slow].lt(later.stored_bytes[slow]).all()


def test_an_unknown_class_is_told_with_its_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'memory' = .*unknown device class '4gg'.*'4g'"):
        tiny("static", **{"memory.bytes": {"4gg": 700.0}})
