"""On every backbone an edge computes with its answer what the learner computed in training."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fedsim import plugins
from tests.strategies.fitted import fitted

BASELINES: list[dict[str, Any]] = [
    {"name": "random_prune"},
    {"name": "lth", "rounds": 1},
    {"name": "snip"},
    {"name": "rare_gem", "periods": 1},
    {"name": "supermask"},
    {"name": "pemn"},
    {"name": "gater", "start": 0.0},
    {"name": "sttd"},
]


@pytest.mark.parametrize("backbone", plugins.available("backbones"))
@pytest.mark.parametrize("strategy", BASELINES, ids=lambda options: options["name"])
def test_an_edge_runs_what_was_trained(strategy: dict[str, Any], backbone: str) -> None:
    model = {"name": backbone, "dim": 16, "window": 4}
    made = fitted(strategy, model=model, changes={"train.epochs": 1})
    (learner,) = made.strategy._learners
    windows = made.uploads().items[:, None]
    ids = torch.from_numpy(windows).long()
    rows = made.strategy.answer(0, made.uploads(), 1)
    with torch.no_grad():
        wanted = learner(ids, ids[:, 0, 4 - learner.upload_length :])
        served = made.half.queries(0, rows, windows)
    torch.testing.assert_close(served, wanted, rtol=1e-4, atol=1e-4)
    dense = made.setting.backbone.macs(None)
    assert ((made.half.macs(0, rows) <= dense) | (strategy["name"] == "sttd")).all()
