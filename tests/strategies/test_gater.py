"""Gater: gates in training and in answers, what opens and shuts them, the table's figures."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from fedsim import rng
from fedsim.data.base import Streams
from fedsim.errors import ConfigError
from fedsim.models.base import apply_linear, split_layers
from fedsim.models.sasrec import SASRec, SASRecConfig
from fedsim.setting import Provision, Setting
from fedsim.training.loop import Trainer
from fedsim.training.targets import split
from strategies.gater import Gated, GatedLearner, GaterEdge, semantic_hash
from tests.strategies.fitted import Fitted, fitted
from tests.studies import tiny

BACKBONE = SASRec(SASRecConfig(dim=16, heads=2, window=4))
WIDE: dict[str, Any] = {"start": 0.0, "penalty": 0.0}


@cache
def usual() -> Fitted:
    """Fit one whose gates start half open, once."""
    return fitted({"name": "gater", **WIDE}, changes={"train.lr": 0.02})


def learner(start: float = 0.0, penalty: float = 0.0) -> GatedLearner:
    return GatedLearner(BACKBONE, 30, rng.torch_generator(0, "test"), start, penalty)


def ids(count: int = 6) -> torch.Tensor:
    return torch.randint(1, 31, (count, 4), generator=rng.torch_generator(1, "test"))


# ---- gates --------------------------------------------------------------------------------


def test_a_gate_scales_what_a_row_gives() -> None:
    gen = rng.torch_generator(2, "test")
    matrix, gates = torch.randn(3, 4, generator=gen), torch.rand(2, 3, generator=gen)
    values = torch.randn(2, 5, 4, generator=gen)
    given = apply_linear(values, Gated(matrix, gates))
    written_out = apply_linear(values, matrix * gates[..., None])
    torch.testing.assert_close(given, written_out)


def test_training_gates_are_soft_for_half_of_the_edges_and_hard_for_the_other() -> None:
    logits = torch.zeros(4000, 8)
    gates = semantic_hash(logits, rng.torch_generator(0, "test"))
    hard = ((gates == 0) | (gates == 1)).all(1)
    assert hard.float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert gates[hard].mean().item() == pytest.approx(0.5, abs=0.02)
    assert gates.min() == 0
    assert gates.max() == 1
    assert gates[~hard].std() > 0.1


def test_hard_gates_have_the_soft_ones_gradient() -> None:
    logits = torch.full((2000, 1), 0.3, requires_grad=True)
    gates = semantic_hash(logits, rng.torch_generator(0, "test"))
    (slope,) = torch.autograd.grad(gates.sum(), logits)
    noise = torch.randn(2000, 1, generator=rng.torch_generator(0, "test"))
    chance = torch.sigmoid(0.3 + noise)
    inside = (1.2 * chance - 0.1 > 0) & (1.2 * chance - 0.1 < 1)
    torch.testing.assert_close(slope, 1.2 * chance * (1 - chance) * inside)


def test_a_gradient_reaches_the_backbone_and_every_part_of_the_gater() -> None:
    made = learner(penalty=0.5)
    windows = ids(16)[:, None]
    gen = rng.torch_generator(3, "test")
    queries = made(windows, windows[:, 0], gen=gen)
    loss = queries.square().sum() + made.penalty
    names, parameters = zip(*made.named_parameters(), strict=True)
    for name, grad in zip(names, torch.autograd.grad(loss, parameters), strict=True):
        assert grad.abs().sum() > 0, name


@pytest.mark.parametrize(("start", "share"), [(9.0, 1.0), (-9.0, 0.0)])
def test_the_penalty_is_the_mean_gate(start: float, share: float) -> None:
    made = learner(start, penalty=2.0)
    made.weights(ids())
    assert float(made.penalty) == pytest.approx(2 * share)


@pytest.mark.parametrize(("penalty", "least", "most"), [(0.0, 0.3, 1.0), (100.0, 0.0, 0.1)])
def test_a_penalty_shuts_rows(penalty: float, least: float, most: float) -> None:
    model, made = learner(penalty=penalty), usual()
    model.items = torch.nn.Parameter(made.strategy._learners[0].items.detach().clone())
    targets, _ = split(made.history[0])
    config, gen = made.setting.scenario.train, rng.torch_generator(1, "test")
    trainer = Trainer(model, made.history[0], config, "none", gen)
    for _ in range(40):
        trainer.step(targets, np.arange(64)[:, None], 0.02)
    assert least <= model.gates(made.uploads().items).mean() <= most


# ---- answers ------------------------------------------------------------------------------


def test_answers_are_the_rows_that_the_upload_opens() -> None:
    made = usual()
    (model,) = made.strategy._learners
    uploads = made.uploads()
    rows = made.strategy.answer(0, uploads, 1)["weights"]
    with torch.no_grad():
        opened = (model.logits(torch.from_numpy(uploads.items).long()) > 0).numpy()
    assert len(np.unique(opened, axis=0)) > 1
    assert 0 < opened.mean() < 1
    flat = model.flat.detach().numpy().reshape(160, 16)
    np.testing.assert_array_equal(rows.reshape(-1, 160, 16), flat * opened[..., None])
    assert not np.signbit(rows[rows == 0]).any()


def test_an_edge_runs_the_backbone_as_in_training() -> None:
    made = usual()
    (model,) = made.strategy._learners
    uploads = made.uploads().items
    rows = made.strategy.answer(0, made.uploads(), 1)
    windows = torch.from_numpy(uploads).long()[:, None]
    with torch.no_grad():
        served = made.half.queries(0, rows, uploads[:, None])
        torch.testing.assert_close(served, model(windows, windows[:, 0]), rtol=1e-4, atol=1e-4)


def test_edges_start_with_the_rows_that_most_open() -> None:
    made = usual()
    (model,) = made.strategy._learners
    first = made.strategy.initial(0)["weights"]
    assert first.shape == (1, 2560)
    opened = model.gates(made.uploads().items).mean(0)
    rows = (first.reshape(160, 16) != 0).any(1)
    assert rows[opened > 0.9].all()
    assert not rows[opened < 0.1].any()
    nothing = Streams(np.zeros(0, np.int32), np.zeros(1, np.int64))
    made.strategy.fit((nothing,))
    assert made.strategy.initial(0)["weights"].shape == (1, 2560)
    usual.cache_clear()


# ---- the papers' table ----------------------------------------------------------------------


def open_rows(backbone: SASRec, count: int) -> np.ndarray:
    layout = backbone.layout
    flat = torch.ones(layout.size)
    for layer in split_layers(layout, flat):
        layer[0, max(0, min(count, layer.shape[1])) :] = 0
        count -= layer.shape[1]
    return flat.numpy()[None]


@pytest.mark.parametrize(("param", "flops"), [(1.4459, 0.1167), (0.8110, 0.0671), (0.9544, 0.0783)])
def test_table_3_of_diet(param: float, flops: float) -> None:
    """SASRec on ML-1M, ML-100K and Amazon-TV: as many open rows as make Param make FLOPs."""
    backbone = SASRec(SASRecConfig())
    scenario = tiny("gater", model=backbone.config.model_dump())
    edge = GaterEdge(Setting(scenario, (), backbone), scenario.strategy, Provision())
    assert edge.macs(0, {"weights": open_rows(backbone, 640)})[0] == 208_640
    row = edge.paper_bits(0, {"weights": open_rows(backbone, 1)})[0]
    answer = {"weights": open_rows(backbone, round(param * 1e6 / row))}
    assert edge.macs(0, answer) / 1e6 == pytest.approx(flops, rel=0.005)
    assert edge.paper_bits(0, answer) / 1e6 == pytest.approx(param, rel=0.005)


@pytest.mark.parametrize(("option", "value"), [("penalty", -0.1), ("targets_per_gate", 0)])
def test_wrong_options_say_what_is_allowed(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"strategy.{option}.*greater than or equal to"):
        tiny({"name": "gater", option: value})
