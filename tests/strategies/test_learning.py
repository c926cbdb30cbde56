"""Every strategy that learns beats popularity where order carries the signal."""

from __future__ import annotations

from typing import Any

import pytest

from tests.strategies.fitted import Fitted, fitted

WORLD: dict[str, Any] = {
    "seed": 3,
    "population.edges": 200,
    "population.cell_size": 200,
    "data.items": 100,
    "data.length": 30,
    "stream.history": 0.8,
    "train.epochs": 5,
    "train.lr": 1e-2,
}


@pytest.fixture(scope="module")
def popularity() -> Fitted:
    return fitted("popularity", changes=WORLD)


STRATEGIES: list[str | dict[str, Any]] = [
    "cooccurrence",
    "static",
    "diet",
    {"name": "diet", "scale": True},
    "dieting",
    "long_diet",
    "user_vector",
    "snack",
    "menu",
    "shortlist",
    "local_vector",
    "duet",
    "peel",
    "finetune",
    "random_prune",
    {"name": "lth", "rounds": 2},
    "snip",
    "rare_gem",
    "supermask",
    {"name": "supermask", "signed": True},
    "pemn",
    {"name": "pemn", "prototype": 0.05},
    "gater",
    "sttd",
]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_it_beats_popularity(strategy: str | dict[str, Any], popularity: Fitted) -> None:
    model = fitted(strategy, changes=WORLD)
    rows = model.strategy.answer(0, model.uploads(), 1)
    assert model.hit(rows) > popularity.hit({}) + 0.1
