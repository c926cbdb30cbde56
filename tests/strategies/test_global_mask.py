"""SuperMask and PEMN: one mask for everybody, what it is selected by, what an edge stores."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedsim.edges.side import EdgeSide, make_setting
from fedsim.errors import ConfigError
from fedsim.layout import Layer, Layout
from fedsim.models.base import tiled_weights
from fedsim.models.caser import Caser, CaserConfig
from fedsim.models.sasrec import SASRec, SASRecConfig
from fedsim.plugins import load
from fedsim.population import Population
from fedsim.setting import Provision
from fedsim.training.loop import Trainer
from fedsim.training.targets import split
from strategies._mask_answers import MaskEdge
from strategies.pemn import filled_layers
from strategies.supermask import SampledMask, SupermaskConfig, signed_constants
from tests.strategies.fitted import Fitted, bits, fitted
from tests.studies import tiny

SAMPLED: dict[str, Any] = {"name": "supermask"}
TOP: dict[str, Any] = {"name": "supermask", "selection": "top", "keep": 0.1}
CASES = [SAMPLED, TOP, SAMPLED | {"signed": True}, {"name": "pemn"}]


@cache
def usual(case: int) -> Fitted:
    """Fit a case, once; tests leave it as it is."""
    return fitted(CASES[case])


def mask(made: Fitted) -> np.ndarray:
    packed, layout = made.strategy.initial(0)["mask"], made.setting.backbone.layout
    unpacked: np.ndarray = bits(packed, layout.size)[0]
    return unpacked


def sampled(backbone: SASRec, **changes: Any) -> SampledMask:
    gen = torch.Generator().manual_seed(1)
    frozen = backbone.init_weights(gen)
    return SampledMask(backbone, 60, gen, frozen, SupermaskConfig(**changes))


BACKBONE = SASRec(SASRecConfig(dim=16, heads=2, window=4))


@pytest.mark.parametrize("case", range(len(CASES)))
def test_an_edge_runs_the_backbone_as_in_training(case: int) -> None:
    made = usual(case)
    (learner,) = made.strategy._learners
    windows = made.uploads().items[:, None]
    ids = torch.from_numpy(windows).long()
    with torch.no_grad():
        served = made.half.queries(0, made.strategy.initial(0), windows)
        torch.testing.assert_close(served, learner(ids, ids[:, 0, :0]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", range(len(CASES)))
def test_everybody_holds_one_mask_and_nobody_asks(case: int) -> None:
    made = usual(case)
    assert not made.strategy.personalises
    assert not made.half.asks
    row = made.strategy.answer(0, made.uploads(), 1)["mask"]
    np.testing.assert_array_equal(row, made.strategy.initial(0)["mask"])
    assert row.shape == (1, 320)


@pytest.mark.parametrize("case", [1, 3])
def test_edge_popup_keeps_the_largest_scores_of_each_layer(case: int) -> None:
    made = usual(case)
    (learner,) = made.strategy._learners
    for scores, kept in zip(learner.scores, np.split(mask(made), 10), strict=True):
        size = scores.detach().abs().numpy()[0]
        assert kept.sum() == 26
        assert size[kept == 1].min() >= size[kept == 0].max()


# ---- SuperMask ----------------------------------------------------------------------------


def test_a_sampled_mask_learns_how_much_it_keeps() -> None:
    made = usual(0)
    (learner,) = made.strategy._learners
    chance = torch.sigmoid(learner.scores.detach())
    np.testing.assert_array_equal(mask(made), (learner.draw < chance).numpy())
    assert chance.std() > 0


@pytest.mark.parametrize(("penalty", "least", "most"), [(0.0, 0.4, 0.6), (100.0, 0.0, 0.2)])
def test_a_penalty_makes_it_keep_less(penalty: float, least: float, most: float) -> None:
    made = usual(0)
    targets, _ = split(made.history[0])
    learner = sampled(BACKBONE, penalty=penalty)
    config = made.setting.scenario.train
    gen = torch.Generator().manual_seed(2)
    trainer = Trainer(learner, made.history[0], config, "none", gen)
    for _ in range(40):
        trainer.step(targets, np.arange(16)[:, None], 0.1)
    kept = bits(learner.masks(np.zeros((1, 0), np.int64)), len(learner.frozen)).mean()
    assert least <= kept <= most


@pytest.mark.parametrize("keep", [0.2, 0.7])
def test_weights_start_with_the_chance_to_be_kept_that_is_set(keep: float) -> None:
    learner, gen = sampled(BACKBONE, keep=keep), torch.Generator().manual_seed(2)
    nothing = torch.zeros(1, 0)
    draws = [
        torch.cat([w.flatten() for w in learner.weights(nothing, gen) if torch.is_tensor(w)]) != 0
        for _ in range(20)
    ]
    shares = torch.stack(draws).float().mean(1)
    torch.testing.assert_close(shares, torch.full((20,), keep), rtol=0, atol=0.05)
    assert (draws[0] != draws[1]).any()
    once, again = (
        torch.cat([w.flatten() for w in learner.weights(nothing) if torch.is_tensor(w)])
        for _ in range(2)
    )
    torch.testing.assert_close(once, again, rtol=0, atol=0)


def test_the_gradient_passes_straight_through_the_draw() -> None:
    learner = sampled(BACKBONE, penalty=3.0)
    wanted = torch.randn(len(learner.frozen))
    parts = torch.split(wanted, 256)
    weights = learner.weights(torch.zeros(1, 0), torch.Generator().manual_seed(2))
    total = torch.stack(
        [(w.flatten() * p).sum() for w, p in zip(weights, parts, strict=True) if torch.is_tensor(w)]
    ).sum()
    (found,) = torch.autograd.grad(total + learner.penalty, learner.scores)
    chance = torch.sigmoid(learner.scores.detach())
    slope = chance * (1 - chance) * (wanted * learner.frozen + 3.0 / len(wanted))
    torch.testing.assert_close(found, slope)


def test_signed_weights_are_one_constant_a_layer_of_which_an_edge_stores_signs() -> None:
    made = usual(2)
    assert isinstance(made.half, MaskEdge)
    shared = made.half.provision.shared
    assert {name: len(value) for name, value in shared.items()} == {"signs": 320}
    random = usual(0).strategy.frozen()
    np.testing.assert_array_equal(made.half.frozen > 0, (random > 0).numpy())
    np.testing.assert_allclose(np.abs(made.half.frozen), np.sqrt(2 / 32), rtol=1e-6)


def test_signed_constants_have_each_layers_deviation() -> None:
    layout = Layout((Layer("a", 1, 1), Layer("b", 2, 6)))
    signs = torch.tensor([True] + [False, True] * 6)
    wanted = [1.0] + [-0.5, 0.5] * 6
    assert signed_constants(layout, signs).tolist() == wanted


# ---- PEMN ---------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [SASRec(SASRecConfig()), Caser(CaserConfig())])
def test_a_prototype_of_full_length_is_dietings_layer(model: SASRec | Caser) -> None:
    largest = torch.randn(max(layer.size for layer in model.layout.layers))
    filled = filled_layers(model.layout, largest)
    torch.testing.assert_close(filled, tiled_weights(model.layout, largest), rtol=0, atol=0)


def test_an_edge_stores_the_prototype_alone() -> None:
    made = fitted({"name": "pemn", "prototype": 0.05})
    (prototype,) = made.half.provision.shared.values()
    assert len(prototype) == 13
    assert isinstance(made.half, MaskEdge)
    layers = np.split(made.half.frozen, 10)
    assert all((layer == np.resize(prototype, 256)).all() for layer in layers)
    np.testing.assert_array_equal(made.half.frozen, made.strategy.frozen().numpy())


# ---- the papers' table ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backbone", "param", "flops"),
    [(SASRec(SASRecConfig()), 0.0410, 0.2086), (Caser(CaserConfig()), 0.0154, 0.0586)],
    ids=["sasrec", "caser"],
)
@pytest.mark.parametrize("name", ["supermask", "pemn"])
def test_table_3_of_diet(
    name: str, backbone: SASRec | Caser, param: float, flops: float, tmp_path: Path
) -> None:
    """One bit a parameter; where every row keeps something, inference costs what Base's does."""
    scenario = tiny({"name": name, "keep": 0.5}, model=backbone.config.model_dump())
    setting = make_setting(scenario, Population(scenario))
    strategy = load("strategies", name)(scenario.strategy, setting)
    layout = backbone.layout
    ends = np.cumsum(layout.row_lengths)
    row = np.packbits(np.isin(np.arange(layout.size), ends - 1), bitorder="little")[None]
    parts = Provision(strategy.stored(), ({},), ({},)).encode() | {"scenario": b""}
    side = EdgeSide.make(scenario, Population(scenario), parts, tmp_path)
    assert side.paper_bits(0, {"mask": row}) / 1e6 == pytest.approx(param, rel=0.005)
    assert side.half.macs(0, {"mask": row}) / 1e6 == pytest.approx(flops, rel=0.005)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"name": "supermask", "keep": 1.0}, "keep.*less than 1"),
        ({"name": "supermask", "penalty": -1}, "penalty.*greater than or equal to 0"),
        ({"name": "supermask", "selection": "best"}, "selection.*'sampled' or 'top'"),
        ({"name": "pemn", "prototype": 0}, "prototype.*greater than 0"),
        ({"name": "pemn", "targets_per_mask": 2}, "targets_per_mask"),
    ],
)
def test_wrong_options_say_what_is_allowed(options: dict[str, Any], rule: str) -> None:
    with pytest.raises(ConfigError, match=rf"strategy.{rule}"):
        tiny(options)
