"""Random pruning, LTH, SNIP, GEM-MINER: which weights stay, what they start from, the table."""

from __future__ import annotations

from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedsim.codecs.csr import Csr
from fedsim.engine.run import run
from fedsim.errors import ConfigError
from fedsim.models.base import Backbone
from fedsim.models.caser import Caser, CaserConfig
from fedsim.models.sasrec import SASRec, SASRecConfig
from fedsim.plugins import load, options
from fedsim.setting import Provision, Setting
from fedsim.training import fit as training
from fedsim.training.loop import Trainer
from fedsim.training.targets import split
from strategies._dense import dense_columns
from strategies._pruned import PrunedEdge, largest, largest_of_all
from strategies.rare_gem import GemLearner
from tests.strategies.fitted import Fitted, fitted
from tests.studies import tiny

NAMES = ["random_prune", "lth", "snip", "rare_gem"]
SASREC, CASER = SASRec(SASRecConfig()), Caser(CaserConfig())


@cache
def usual(name: str) -> Fitted:
    """Fit a strategy as it is by default, once; tests leave it as it is."""
    return fitted(name)


def weights(made: Fitted) -> np.ndarray:
    row: np.ndarray = made.strategy.initial(0)["weights"][0]
    return row


def layer_counts(made: Fitted) -> np.ndarray:
    starts = made.setting.backbone.layout.offsets[:-1]
    counts: np.ndarray = np.add.reduceat(weights(made) != 0, starts, dtype=int)
    return counts


# ---- which weights stay -------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("keep", [0.05, 0.3])
def test_the_kept_fraction_is_exact(name: str, keep: float) -> None:
    made = fitted({"name": name, "keep": keep})
    counts = layer_counts(made)
    assert counts.sum() == pytest.approx(2560 * keep, abs=5)
    by_layer = (counts == round(256 * keep)).all()
    assert by_layer == (name != "snip")


@pytest.mark.parametrize("name", NAMES)
def test_only_kept_weights_are_trained(name: str) -> None:
    made = usual(name)
    start = made.strategy.untrained(0).flat.detach()
    (learner,) = made.strategy._learners
    changed = learner.flat.detach() != start
    assert changed[learner.kept].any()
    assert not changed[~learner.kept].any()


def test_the_methods_keep_different_weights() -> None:
    kept = [weights(usual(name)) != 0 for name in NAMES]
    assert all((one != other).any() for one, other in combinations(kept, 2))


def test_kept_at_random_is_repeatable_and_another_seed_is_another_mask() -> None:
    first, again = (weights(fitted("random_prune")) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = weights(fitted("random_prune", changes={"seed": 5}))
    assert ((first != 0) != (other != 0)).any()


def test_lth_prunes_by_size_what_each_round_trained_and_rewinds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Training is made to double the weights but for the sign: sizes stay in order."""
    made = fitted({"name": "lth", "rounds": 3, "keep": 0.125, "search_epochs": 1})
    seen = []

    def double(learner: Any, *args: object, **kwargs: Any) -> None:
        seen.append((learner.flat.detach().clone(), learner.kept.clone(), kwargs["epochs"]))
        with torch.no_grad():
            learner.flat.mul_(-2.0)

    monkeypatch.setattr("strategies._pruned.fit", double)
    learner = made.strategy.pruned(0, made.history[0])
    start = made.strategy.untrained(0).flat.detach()
    assert [epochs for *_, epochs in seen] == [1, 1, 1, None]
    assert [int(kept[:256].sum()) for _, kept, _ in seen] == [256, 128, 64, 32]
    for flat, *_ in seen:
        torch.testing.assert_close(flat, start, rtol=0, atol=0)
    layout = made.setting.backbone.layout
    torch.testing.assert_close(learner.kept, largest(layout, start, 0.125), rtol=0, atol=0)
    torch.testing.assert_close(learner.flat.detach(), -2 * start, rtol=0, atol=0)


def test_lth_rewinds_to_weights_that_trained_a_little() -> None:
    plain, late = (
        fitted({"name": "lth", "rounds": 1, "rewind_epochs": epochs}) for epochs in (0, 1)
    )
    (learner,) = late.strategy._learners
    start = late.strategy.untrained(0).flat.detach()
    assert (learner.flat.detach() != start)[~learner.kept].any()
    assert (weights(plain) != weights(late)).any()


def test_snips_sensitivity_is_what_a_factor_on_each_weight_does_to_the_loss() -> None:
    made = fitted("snip", changes={"train.batch": 16})
    strategy, streams = made.strategy, made.history[0]
    learner = strategy.untrained(0)
    found = strategy.sensitivity(learner, 0, streams)
    seen = []
    loss = Trainer.loss

    def keep(self: Trainer, *args: Any) -> torch.Tensor:
        seen.append(args)
        return loss(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "loss", keep)
        strategy.sensitivity(learner, 0, streams)
    (targets, batch), scenario = seen[0], made.setting.scenario
    assert len(batch) == 16
    trainer = Trainer(learner, streams, scenario.train, "none", torch.Generator())
    for place in torch.argsort(found, descending=True)[[0, 5, 50]].tolist():
        around, step, weight = [], 0.05, learner.flat[place].item()
        for factor in (1 - step, 1 + step):
            with torch.no_grad():
                learner.flat[place] = weight * factor
                around.append(trainer.loss(targets, batch).item())
                learner.flat[place] = weight
        slope = abs(around[1] - around[0]) / (2 * step)
        assert found[place].item() == pytest.approx(slope, rel=0.05, abs=2e-6)


def test_snip_without_history_keeps_the_largest_weights() -> None:
    made = usual("snip")
    nothing = type(made.history[0])(np.zeros(0, np.int32), np.zeros(1, np.int64))
    assert not len(split(nothing)[0])
    learner = made.strategy.pruned(0, nothing)
    wanted = largest_of_all(learner.flat.detach().abs(), 0.1)
    torch.testing.assert_close(learner.kept, wanted, rtol=0, atol=0)


# ---- GEM-MINER ----------------------------------------------------------------------------


def gem(penalty: float = 0.0) -> GemLearner:
    made = usual("random_prune")
    return GemLearner(made.strategy.untrained(0), torch.Generator().manual_seed(1), penalty)


def test_a_gem_uses_weights_whose_p_is_at_least_a_half() -> None:
    learner = gem()
    kept = learner.kept_weights().detach()
    torch.testing.assert_close(kept, torch.where(learner.p >= 0.5, learner.flat, 0.0))


def test_the_gradient_passes_straight_through_the_rounding_to_what_is_not_frozen() -> None:
    learner = gem()
    learner.freeze(0.5)
    wanted = torch.randn(len(learner.flat))
    (found,) = torch.autograd.grad((learner.kept_weights() * wanted).sum(), learner.p)
    expected = torch.where(learner.kept, wanted * learner.flat.detach(), 0.0)
    torch.testing.assert_close(found, expected)
    assert not learner.flat.requires_grad


def test_p_is_projected_and_its_square_is_a_penalty() -> None:
    learner = gem(penalty=2.0)
    with torch.no_grad():
        learner.p[:2] = torch.tensor([-3.0, 7.0])
    learner.kept_weights()
    assert learner.p[:2].tolist() == [0.0, 1.0]
    assert isinstance(learner.penalty, torch.Tensor)
    torch.testing.assert_close(learner.penalty, 2 * learner.p.square().mean())


def test_freezing_drops_the_lowest_p_and_nothing_comes_back() -> None:
    learner = gem()
    with torch.no_grad():
        learner.p[:100] = 0.0
    learner.freeze(0.5)
    first = learner.kept.clone()
    assert int(first[:256].sum()) == 128
    assert learner.p[:256][first[:256]].min() >= learner.p[:256][~first[:256]].max()
    with torch.no_grad():
        learner.p.copy_(1 - learner.p)
    learner.freeze(0.25)
    assert int(learner.kept[:256].sum()) == 64
    assert not (learner.kept & ~first).any()


def test_the_gem_is_trained_from_its_random_start(monkeypatch: pytest.MonkeyPatch) -> None:
    made, seen = fitted({"name": "rare_gem", "periods": 3}), []

    def note(learner: Any, *args: object, **kwargs: object) -> None:
        seen.append((type(learner), learner.flat.detach().clone(), int(learner.kept.sum())))

    monkeypatch.setattr("strategies._pruned.fit", note)
    made.strategy.pruned(0, made.history[0])
    start = made.strategy.untrained(0).flat.detach()
    assert [kind.__name__ for kind, *_ in seen] == ["GemLearner"] * 3 + ["PrunedLearner"]
    assert [count for *_, count in seen] == [2560, 1190, 550, 260]
    assert all(torch.equal(flat, start) for _, flat, _ in seen)


# ---- what travels, and the papers' table ----------------------------------------------------


def sparse_row(backbone: Backbone, keep: float) -> np.ndarray:
    layout = backbone.layout
    sizes = torch.rand(layout.size, generator=torch.Generator().manual_seed(3))
    return torch.where(largest(layout, sizes, keep), 1.0, 0.0).numpy()[None]


def edge_of(backbone: Backbone) -> PrunedEdge:
    scenario = tiny("random_prune", model=backbone.config.model_dump())
    return PrunedEdge(Setting(scenario, (), backbone), scenario.strategy, Provision())


@pytest.mark.parametrize(
    ("backbone", "keep", "param"),
    [
        (SASREC, 0.3, [0.7859, 0.7859, 0.7860, 0.7866]),
        (SASREC, 0.1, [0.2618, 0.2618, 0.2620, 0.2624]),
        (CASER, 0.1, [0.0983, 0.0986, 0.0986, 0.0986]),
        (CASER, 0.2, [0.1967, 0.1971, 0.1971, 0.1970]),
    ],
    ids=["sasrec-0.3", "sasrec-0.1", "caser-0.1", "caser-0.2"],
)
def test_table_3_of_diet_param(backbone: Backbone, keep: float, param: list[float]) -> None:
    """Random, LTH, SNIP and Rare Gem of the table, in Mbit; SNIP chooses over all layers."""
    sizes = torch.rand(backbone.layout.size, generator=torch.Generator().manual_seed(3))
    by_layer = largest(backbone.layout, sizes, keep)
    kept = [by_layer, by_layer, largest_of_all(sizes, keep), by_layer]
    for chosen, printed in zip(kept, param, strict=True):
        row = torch.where(chosen, 1.0, 0.0).numpy()[None]
        (bits,) = edge_of(backbone).paper_bits(0, {"weights": row}) / 1e6
        assert bits == pytest.approx(printed, rel=0.005)


def test_table_3_of_diet_flops() -> None:
    """Random on SASRec is Base's; on Caser at 0.1 two of four vertical filters are empty."""
    row = {"weights": sparse_row(SASREC, 0.3)}
    assert edge_of(SASREC).macs(0, row) / 1e6 == pytest.approx(0.2086, rel=0.005)
    weights = sparse_row(CASER, 0.1)
    assert (weights[0, -20:] != 0).sum() == 2
    weights[0, -20:] = 0
    weights[0, [-1, -20]] = 1
    assert edge_of(CASER).macs(0, {"weights": weights}) / 1e6 == pytest.approx(0.0580, rel=0.005)
    weights[0, [-1, -2, -20]] = [1, 1, 0]
    assert edge_of(CASER).macs(0, {"weights": weights}) / 1e6 == pytest.approx(0.0577, rel=0.005)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_shipped_is_the_kept_weights_in_csr(name: str) -> None:
    made = usual(name)
    row = made.strategy.initial(0)["weights"]
    (column,) = made.strategy.columns()
    codec = Csr(options("codecs", "csr"), column)
    record = codec.encode(row)
    kept = np.count_nonzero(row)
    assert column == dense_columns(made.setting.backbone)[0]
    assert record.sizes.tolist() == [160 * 2 + kept * (1 + 4)]
    np.testing.assert_array_equal(codec.decode(record), row)
    assert not np.signbit(row[row == 0]).any()
    assert made.half.paper_bits(0, {"weights": row}) == [64 * kept]
    assert not made.half.asks


def test_kept_weights_are_booked_once_before_the_first_round(tmp_path: Path) -> None:
    ledger = run(tiny({"name": "random_prune", "keep": 0.25}), out=tmp_path).ledger
    first, later = ledger[ledger["round"] == 0], ledger[ledger["round"] > 0]
    assert set(first.paper_bits) == {64 * 10_240}
    assert (first.downlink_bytes > 640 * 2 + 10_240 * 5).all()
    assert not later.requested.any()
    assert not later.downlink_bytes.any()
    assert set(later.stored_bytes) == set(first.stored_bytes)


@pytest.mark.parametrize("name", NAMES)
def test_an_edge_runs_the_backbone_as_in_training(name: str) -> None:
    made = usual(name)
    (learner,) = made.strategy._learners
    windows = made.uploads().items[:, None]
    ids = torch.from_numpy(windows).long()
    with torch.no_grad():
        torch.testing.assert_close(
            made.half.queries(0, made.strategy.initial(0), windows), learner(ids, ids[:, 0])
        )


@pytest.mark.parametrize("name", NAMES)
def test_a_second_fit_takes_what_the_first_learned(
    name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fitted(name, cache=tmp_path)

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(training, "train", never)
    np.testing.assert_array_equal(weights(fitted(name, cache=tmp_path)), weights(first))
    with pytest.raises(AssertionError, match="trained again"):
        fitted({"name": name, "keep": 0.2}, cache=tmp_path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("value", "rule"), [(0, "greater than 0"), (1.1, "less than or equal")])
def test_keep_out_of_range_is_told(name: str, value: float, rule: str) -> None:
    with pytest.raises(ConfigError, match=rf"strategy.keep.*{rule}"):
        tiny({"name": name, "keep": value})


def test_a_codec_of_masks_is_refused() -> None:
    config = load("strategies", "snip").Config(name="snip", codec="bitmask")
    with pytest.raises(ConfigError, match="'bitmask' takes columns of kind mask"):
        load("codecs", "bitmask")(config.codec, dense_columns(SASREC)[0])


def test_another_penalty_finds_no_mask_of_the_last_one(tmp_path: Path) -> None:
    """The search for a mask is kept in the cache; its penalty is part of the key."""
    strong = {"name": "rare_gem", "periods": 2, "penalty": 50.0}
    alone = fitted(strong).strategy.initial(0)["weights"]
    fitted(strong | {"penalty": 0.0}, cache=tmp_path)
    after = fitted(strong, cache=tmp_path).strategy.initial(0)["weights"]
    np.testing.assert_array_equal(after, alone)
