"""The course of each drift, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from fedsim import plugins
from fedsim.errors import ConfigError
from tests.worlds import world


def weights(rounds: int, edges: int = 40, **table: Any) -> NDArray[np.float32]:
    options = plugins.options("drifts", table)
    drift = plugins.load("drifts", options.name)(options, world(rounds=rounds), edges)
    found: NDArray[np.float32] = drift.weights(np.arange(edges))
    return found


def course(rounds: int, **table: Any) -> list[float]:
    return [round(float(w), 4) for w in weights(rounds, fraction=1, **table)[0]]


@pytest.mark.parametrize(("at", "first"), [(3, 3), (0.5, 3), (0, 1), (1, 1), (1.0, 5)])
def test_sudden_steps_at_a_round_or_a_share(at: float, first: int) -> None:
    expected = [float(r >= first) for r in range(5)]
    assert course(4, name="sudden", at=at) == expected


def test_exactly_a_fraction_drifts() -> None:
    moved = weights(4, edges=41, name="sudden", fraction=0.3).any(axis=1)
    assert moved.sum() == 12


def test_gradual_climbs_from_start_to_end() -> None:
    assert course(6, name="gradual", start=2, end=4) == [0, 0, 0.3333, 0.6667, 1, 1, 1]
    assert course(3, name="gradual", start=2, end=2) == [0, 0, 1, 1]
    assert course(4, name="gradual", start=0.25, end=0.75) == [0, 0, 0.3333, 0.6667, 1]


def test_gradual_goes_forwards() -> None:
    with pytest.raises(ConfigError, match=r"drift.start = 0\.9 is after drift.end = 2"):
        course(6, name="gradual", start=0.9, end=2)


def test_recurring_takes_turns() -> None:
    assert course(7, name="recurring", every=2) == [0, 0, 0, 1, 1, 0, 0, 1]


def test_a_random_walk_steps_no_further_than_told() -> None:
    walks = weights(50, edges=200, name="random_walk", step=0.1, fraction=1)
    steps = np.abs(np.diff(walks, axis=1))
    assert steps.max() <= 0.1 + 1e-6
    assert steps.mean() > 0.03
    assert len(np.unique(walks[:, 1])) > 190
    assert walks.max() > 0.9


def test_a_round_past_the_run_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"drift at round 9, but the run has 4 rounds"):
        course(4, name="sudden", at=9)


@pytest.mark.parametrize("at", [-1, 1.5, "soon"])
def test_a_moment_is_a_round_or_a_share(at: object) -> None:
    with pytest.raises(ValidationError, match="at"):
        course(4, name="sudden", at=at)
