"""When edges ask."""

from __future__ import annotations

import numpy as np
import pytest

from fedsim import plugins
from fedsim.policies.base import Policy, Situation
from tests.studies import tiny


def policy(name: str, **options: object) -> Policy:
    config = plugins.options("policies", {"name": name, **options})
    made: Policy = plugins.load("policies", name)(config, tiny())
    return made


def situation(waited: list[int], moved: list[bool]) -> Situation:
    asked = np.tile(np.array([[3.0, 0.0]], np.float32), (len(waited), 1))
    recent = np.where(np.array(moved)[:, None], asked[:, ::-1], asked)
    return Situation(9, recent, asked, np.array(waited, np.int32))


@pytest.mark.parametrize("name", plugins.available("policies"))
def test_every_policy_asks_at_first_and_answers_for_every_edge(name: str) -> None:
    asks = policy(name).requests(situation([-1, -1, 1], [False, True, False]))
    assert asks.dtype == bool
    assert asks.shape == (3,)
    assert asks[:2].all()


def test_always_asks_always() -> None:
    assert policy("always").requests(situation([1, 4], [False, False])).all()


def test_every_k_waits_k_rounds() -> None:
    asks = policy("every_k", k=3).requests(situation([1, 2, 3, 4], [False] * 4))
    assert asks.tolist() == [False, False, True, True]


def test_on_drift_asks_those_whose_interests_moved() -> None:
    asks = policy("on_drift", threshold=0.5).requests(situation([1, 1], [True, False]))
    assert asks.tolist() == [True, False]
