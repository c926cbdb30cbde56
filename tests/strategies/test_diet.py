"""DIET and DIETING: masks, their gradient, their ablations, their options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedsim import rng
from fedsim.errors import ConfigError
from fedsim.kernels.select import select
from fedsim.models.base import split_layers
from fedsim.models.sasrec import SASRec, SASRecConfig
from fedsim.setting import Uploads
from fedsim.training import fit as training
from strategies._generator import DietLearner, Extractors
from strategies._mask_answers import MaskEdge
from strategies._masked import GlobalMask
from tests.strategies.fitted import Fitted, bits, fitted
from tests.studies import tiny

BACKBONE = SASRec(SASRecConfig(dim=16, heads=2, window=4))


def diet_learner(rows: bool = True, keep: float = 0.1) -> DietLearner:
    gen = rng.torch_generator(0, "test")
    frozen = BACKBONE.init_weights(gen)
    return DietLearner(BACKBONE, 30, gen, frozen, keep, 1.0, rows=rows)


@pytest.fixture(scope="module")
def diet() -> Fitted:
    return fitted("diet")


# ---- training --------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [True, False])
def test_a_gradient_reaches_every_part_of_the_generator(rows: bool) -> None:
    learner = diet_learner(rows)
    ids = torch.randint(1, 31, (6, 1, 4), generator=rng.torch_generator(1, "test"))
    learner(ids, ids[:, 0]).square().sum().backward()
    for name, parameter in learner.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert bool(len(learner.row_maps)) == rows


def test_steps_along_the_gradient_change_the_mask_and_lower_the_loss() -> None:
    gen = rng.torch_generator(0, "test")
    learner = GlobalMask(BACKBONE, 30, gen, BACKBONE.init_weights(gen), 0.1, 1.0)
    ids = torch.randint(1, 31, (64, 1, 4), generator=gen)
    wanted = torch.randn(64, 1, 16, generator=gen)
    before = learner.masks(ids[:, 0].numpy())
    optimizer = torch.optim.Adam(learner.scores.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        loss = (learner(ids, ids[:, 0]) - wanted).square().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 0.02
    assert (learner.masks(ids[:, 0].numpy()) != before).any()


def test_the_extractors_are_torch_grus() -> None:
    gen = rng.torch_generator(0, "test")
    ours = Extractors(3, 8, gen)
    embedded = torch.randn(5, 4, 8, generator=gen)
    states = ours(embedded)
    for layer in range(3):
        theirs = torch.nn.GRU(8, 8, batch_first=True)
        with torch.no_grad():
            into, across, *biases = theirs.parameters()
            into.copy_(ours.input[24 * layer : 24 * layer + 24])
            across.copy_(ours.hidden[layer].T)
            for bias in biases:
                bias.zero_()
        torch.testing.assert_close(states[layer], theirs(embedded)[1][0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("strategy", ["diet", "dieting", "long_diet"])
def test_two_fits_are_bit_identical(strategy: str) -> None:
    torch.manual_seed(1)
    first = fitted(strategy, changes={"train.dropout": 0.2})
    torch.manual_seed(2)
    again = fitted(strategy, changes={"train.dropout": 0.2})
    one, other = (made.half.provision.encode() for made in (first, again))
    assert one == other
    np.testing.assert_array_equal(
        first.strategy.answer(0, first.uploads(), 1)["mask"],
        again.strategy.answer(0, again.uploads(), 1)["mask"],
    )


@pytest.mark.parametrize("strategy", ["static", "diet", "long_diet"])
def test_a_second_fit_takes_what_the_first_learned(
    strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fitted(strategy, cache=tmp_path)

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(training, "train", never)
    second = fitted(strategy, cache=tmp_path)
    rows = first.strategy.answer(0, first.uploads(), 1)
    for name, values in second.strategy.answer(0, second.uploads(), 1).items():
        np.testing.assert_array_equal(values, rows[name])
    with pytest.raises(AssertionError, match="trained again"):
        fitted(strategy, cache=tmp_path, changes={"train.lr": 0.5})
    with pytest.raises(AssertionError, match="trained again"):
        fitted(strategy, cache=tmp_path, changes={"seed": 9})


# ---- answers ---------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["diet", "dieting", "long_diet"])
@pytest.mark.parametrize("keep", [0.05, 0.3])
def test_every_layer_keeps_its_share(strategy: str, keep: float) -> None:
    made = fitted({"name": strategy, "keep": keep})
    rows = made.strategy.answer(0, made.uploads(), 1)
    layout = made.setting.backbone.layout
    for packed in (rows["mask"], made.strategy.initial(0)["mask"]):
        kept = np.add.reduceat(bits(packed, layout.size), layout.offsets[:-1], axis=1, dtype=int)
        assert (kept == round(256 * keep)).all()


def test_diets_differ_between_edges_and_a_global_mask_does_not(diet: Fitted) -> None:
    assert diet.strategy.personalises
    assert len(np.unique(diet.strategy.answer(0, diet.uploads(), 1)["mask"], axis=0)) > 1
    masked = fitted({"name": "diet", "variant": "mask"})
    assert not masked.strategy.personalises
    rows = masked.strategy.answer(0, masked.uploads(), 1)["mask"]
    np.testing.assert_array_equal(rows, masked.strategy.initial(0)["mask"])
    assert len(rows) == 1


@pytest.mark.parametrize("norm", ["post", "sasrec"])
@pytest.mark.parametrize("dim", [16, 64])
def test_an_edge_runs_the_backbone_as_in_training(norm: str, dim: int) -> None:
    made = fitted("diet", model={"name": "sasrec", "dim": dim, "window": 4, "norm": norm})
    (learner,) = made.strategy._learners
    uploads = made.uploads()
    rows = made.strategy.answer(0, uploads, 1)
    ids = torch.from_numpy(uploads.items).long()[:, None]
    kept = torch.from_numpy(bits(rows["mask"], learner.backbone.layout.size)) * learner.frozen
    with torch.no_grad():
        small, items = dict(learner.small), learner.items[ids]
        weights = split_layers(learner.backbone.layout, kept)
        wanted = learner.backbone.forward(weights, small, items, ids == 0)
    served = made.half.queries(0, rows, uploads.items[:, None])
    torch.testing.assert_close(served, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("strategy", ["diet", "long_diet", {"name": "diet", "variant": "mg"}])
def test_answers_are_selected_by_the_trained_scores(strategy: str) -> None:
    made = fitted(strategy)
    (learner,) = made.strategy._learners
    uploads = made.uploads().items
    with torch.no_grad():
        layers = list(learner.layer_scores(torch.from_numpy(uploads).long()))
    wanted = np.concatenate(
        [
            select(scores.numpy(), None if rows is None else rows.numpy(), keep)
            for (scores, rows), keep in zip(layers, learner.kept, strict=True)
        ],
        axis=1,
    )
    got = made.strategy.answer(0, made.uploads(), 1)["mask"]
    size = made.setting.backbone.layout.size
    assert (bits(got, size) == bits(wanted, size)).mean() > 0.999


def test_scaled_weights_keep_a_layers_variance() -> None:
    half = fitted({"name": "diet", "scale": True, "keep": 0.25}).half
    assert isinstance(half, MaskEdge)
    np.testing.assert_allclose(half.scaled, 2 * half.frozen)


def test_an_edge_without_history_is_answered(diet: Fitted) -> None:
    nothing = Uploads(np.array([7]), np.zeros((1, diet.half.upload_length), np.int32))
    assert diet.strategy.answer(0, nothing, 1)["mask"].any()


def test_channels_share_frozen_weights_and_nothing_else() -> None:
    channels = [{"name": "home"}, {"name": "video"}]
    made = fitted("diet", changes={"channels": channels})
    home, video = made.strategy._learners
    assert torch.equal(home.frozen, video.frozen)
    assert not torch.equal(home.maps[0], video.maps[0])
    assert set(made.half.provision.shared) == {"frozen"}


# ---- DIETING ---------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["sasrec", "caser"])
def test_dieting_stores_the_largest_layer_alone(model: str) -> None:
    made = fitted("dieting", model={"name": model, "dim": 16, "window": 4})
    layout = made.setting.backbone.layout
    largest = made.half.provision.shared["largest"]
    assert set(made.half.provision.shared) == {"largest"}
    assert len(largest) == max(layer.size for layer in layout.layers)
    assert isinstance(made.half, MaskEdge)
    for layer, start in zip(layout.layers, layout.offsets, strict=False):
        used = made.half.scaled[start : start + layer.size]
        np.testing.assert_array_equal(used, largest[: layer.size])


# ---- options ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("keep", 0, "greater than 0"),
        ("keep", 1.5, "less than or equal to 1"),
        ("variant", "mgg", "'diet', 'mg' or 'mask'"),
        ("targets_per_mask", 0, "greater than or equal to 1"),
        ("kep", 0.1, "did you mean 'keep'"),
    ],
)
def test_wrong_options_say_what_is_allowed(option: str, value: Any, rule: str) -> None:
    with pytest.raises(ConfigError, match=rf"strategy.{option}.*{rule}"):
        tiny({"name": "diet", option: value})
