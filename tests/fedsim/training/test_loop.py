"""Training: learns, repeats bit for bit, stops early, survives having nothing to learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedsim import rng
from fedsim.data.base import Streams
from fedsim.errors import RunError
from fedsim.models.sasrec import SASRec, SASRecConfig
from fedsim.scenario import TrainConfig
from fedsim.training.cache import checksum
from fedsim.training.exclusion import Exclude
from fedsim.training.learner import DenseLearner
from fedsim.training.loop import Epoch, Trainer, train, triangle
from fedsim.training.targets import grouped, split

ITEMS = 20


def cycles(edges: int = 60, length: int = 12) -> Streams:
    """Every edge walks the catalogue in order from its own start: wholly predictable."""
    start = np.arange(edges)[:, None] + np.arange(length)
    items = (1 + start % ITEMS).astype(np.int32).reshape(-1)
    return Streams(items, np.arange(edges + 1) * length)


def learner(seed: int = 0) -> DenseLearner:
    backbone = SASRec(SASRecConfig(dim=16, heads=2, window=3))
    return DenseLearner(backbone, ITEMS, rng.torch_generator(seed, "test"))


def trained(config: TrainConfig, exclude: Exclude = "none", k: int = 1) -> tuple[str, list[Epoch]]:
    model = learner()
    history = train(model, cycles(), config, exclude, seed=1, purpose="test", targets_per_mask=k)
    return checksum(model.state_dict()), list(history)


def test_training_learns_what_is_predictable() -> None:
    _, history = trained(TrainConfig(epochs=12, batch=32, lr=2e-2))
    assert history[0].loss > history[-1].loss
    assert max(epoch.hit for epoch in history) > 0.9


@pytest.mark.parametrize("k", [1, 3])
def test_two_trainings_are_bit_identical(k: int) -> None:
    config = TrainConfig(epochs=2, batch=32, dropout=0.2)
    torch.manual_seed(1)
    first = trained(config, "seen", k)
    torch.manual_seed(2)
    assert trained(config, "seen", k) == first


def test_a_group_of_one_edge_counts_every_target_once() -> None:
    streams = cycles()
    targets, _ = split(streams)
    trainer = Trainer(learner(), streams, TrainConfig(), "none", torch.Generator())
    together = trainer.loss(targets, grouped(targets, 4, np.random.default_rng(0)))
    alone = trainer.loss(targets, np.arange(len(targets))[:, None])
    torch.testing.assert_close(together, alone)


def test_a_learners_penalty_is_part_of_the_loss() -> None:
    streams, model = cycles(), learner()
    targets, _ = split(streams)
    trainer = Trainer(model, streams, TrainConfig(), "none", torch.Generator())
    group = np.arange(8)[:, None]
    plain = trainer.loss(targets, group)
    model.penalty = model.flat.square().sum()
    loss = trainer.loss(targets, group)
    torch.testing.assert_close(loss - plain, model.penalty)
    gradient = [torch.autograd.grad(value, model.flat)[0] for value in (loss, plain)]
    torch.testing.assert_close(gradient[0] - gradient[1], 2 * model.flat, rtol=1e-3, atol=1e-6)


def test_it_stops_early_and_gives_the_best_epoch_back(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.1, 0.5, 0.4, 0.3, 0.2, 0.1])
    seen = []

    def validate(self: Trainer, targets: object) -> tuple[float, float]:
        seen.append(checksum(self.learner.state_dict()))
        return next(scores), 0.0

    monkeypatch.setattr(Trainer, "validate", validate)
    state, history = trained(TrainConfig(epochs=6, batch=256, patience=3))
    assert len(history) == 5
    assert state == seen[1]


@pytest.mark.parametrize("lengths", [[0, 0], [1], [2, 2]])
def test_too_little_history_leaves_the_start(lengths: list[int]) -> None:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    streams = Streams(np.ones(offsets[-1], np.int32), offsets)
    model = learner()
    before = checksum(model.state_dict())
    assert train(model, streams, TrainConfig(), "none", seed=0, purpose="test") == ()
    assert checksum(model.state_dict()) == before


def test_the_most_targets_an_epoch_bounds_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    step = Trainer.step

    def counted(self: Trainer, targets, group, lr):  # type: ignore[no-untyped-def]
        sizes.append(group.size)
        return step(self, targets, group, lr)

    monkeypatch.setattr(Trainer, "step", counted)
    trained(TrainConfig(epochs=1, batch=32, max_targets=100), k=2)
    assert sizes == [64, 36]


def test_the_learning_rate_is_a_triangle() -> None:
    rates = [triangle(step / 10, 0.2) for step in range(11)]
    assert max(rates) == rates[2] == 1.0
    np.testing.assert_allclose(np.diff(rates[2:]), -1 / 8)
    assert rates[0] == rates[-1] == 0.0


def test_a_loss_that_is_not_finite_stops_training() -> None:
    with pytest.raises(RunError, match=r"'test' diverged: epoch 1 gave a loss of nan; lower train"):
        trained(TrainConfig(epochs=3, batch=32, lr=1e38))


def test_validation_that_is_not_a_number_stops_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(self: Trainer, *args: object) -> float:
        self.learner.items.data[7] = torch.nan
        return 1.0

    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(RunError, match=r"epoch 1 gave a validation NDCG@10 of nan; .* is 0\.5"):
        trained(TrainConfig(epochs=3, batch=32, lr=0.5))
