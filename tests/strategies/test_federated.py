"""FedAvg trains edges as if each were alone; the full download learns on line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fedsim.models.base import split_layers
from fedsim.setting import Uploads
from tests.strategies.fitted import Fitted, fitted


@pytest.fixture(scope="module")
def fedavg() -> Fitted:
    return fitted({"name": "fedavg", "steps": 2, "batch": 3, "lr": 0.1})


def update(made: Fitted, edges: list[int], rows: dict[str, np.ndarray]) -> np.ndarray:
    streams = made.cell.channels[0]
    new = made.half.update(0, rows, streams, np.array(edges), 1)
    return np.asarray(new["weights"])


def test_an_update_is_sgd_on_the_edges_last_items(fedavg: Fitted) -> None:
    start = fedavg.strategy.initial(0)
    streams, half = fedavg.cell.channels[0], fedavg.half
    edge = 4
    end = int(streams.cuts[edge, 0])
    own = streams.items[streams.offsets[edge] :][:end].tolist()
    flat = torch.from_numpy(np.array(start["weights"]))
    for positions in (range(end - 6, end - 3), range(end - 3, end)):
        flat = flat.detach().requires_grad_()
        windows = [([0] * 4 + own[:p])[-4:] for p in positions]
        ids = torch.tensor([windows])
        queries = half.backbone.forward(
            split_layers(half.backbone.layout, flat), half.small[0], half.items[0][ids], ids == 0
        )
        wanted = torch.tensor([own[p] - 1 for p in positions])
        F.cross_entropy(queries[0] @ half.items[0][1:].T, wanted).backward()  # type: ignore[no-untyped-call]
        assert flat.grad is not None
        flat = flat - 0.1 * flat.grad
    got = update(fedavg, [edge], dict(start))
    np.testing.assert_allclose(got, flat.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_edges_train_side_by_side_as_alone(fedavg: Fitted) -> None:
    start = dict(fedavg.strategy.initial(0))
    together = update(fedavg, [1, 3, 5], start)
    for row, edge in zip(together, [1, 3, 5], strict=True):
        np.testing.assert_allclose(row, update(fedavg, [edge], start)[0], rtol=1e-4, atol=1e-6)
    assert len(np.unique(together, axis=0)) == 3


def test_the_mean_is_what_everybody_is_answered(fedavg: Fitted) -> None:
    made = fitted("fedavg")
    mean = np.arange(made.setting.backbone.layout.size, dtype=np.float32)
    made.strategy.take_update(0, {"weights": mean})
    rows = made.strategy.answer(0, made.uploads(), 2)
    np.testing.assert_array_equal(rows["weights"], mean[None])
    kept = made.strategy.state()
    other = fitted("fedavg")
    other.strategy.restore(kept)
    np.testing.assert_array_equal(
        other.strategy.answer(0, made.uploads(), 2)["weights"], mean[None]
    )
    assert (made.strategy.initial(0)["weights"] != mean).any()


def test_random_weights_may_start() -> None:
    trained, random = (fitted({"name": "fedavg", "start": s}) for s in ("trained", "random"))
    assert (trained.strategy.initial(0)["weights"] != random.strategy.initial(0)["weights"]).any()
    assert torch.equal(trained.half.items[0], random.half.items[0])


# ---- full download ---------------------------------------------------------------------


def after(rounds: int, memory: int = 50) -> Fitted:
    made = fitted({"name": "full_download", "steps": 3, "memory": memory})
    for round in range(1, rounds + 1):
        made.strategy.learn(round, [[made.uploads()]])
    return made


def test_the_cloud_learns_weights_and_nothing_else_from_uploads() -> None:
    made = after(1)
    (learner,) = made.strategy._learners
    first, now = made.strategy.initial(0), made.strategy.answer(0, made.uploads(), 1)
    assert (first["weights"] != now["weights"]).any()
    np.testing.assert_array_equal(learner.items.detach().numpy(), made.half.items[0].numpy())
    for name, value in learner.small.items():
        torch.testing.assert_close(value.detach(), made.half.small[0][name], rtol=0, atol=0)


def test_what_was_learned_can_be_kept_and_taken_back() -> None:
    whole, part = after(2), after(1)
    kept = {name: np.array(values) for name, values in part.strategy.state().items()}
    resumed = fitted({"name": "full_download", "steps": 3, "memory": 50})
    resumed.strategy.restore(kept)
    resumed.strategy.learn(2, [[resumed.uploads()]])
    uploads = whole.uploads()
    np.testing.assert_array_equal(
        whole.strategy.answer(0, uploads, 2)["weights"],
        resumed.strategy.answer(0, uploads, 2)["weights"],
    )


def test_the_oldest_uploads_are_forgotten() -> None:
    made = after(3, memory=12)
    seen = made.strategy.state()["0.seen"]
    assert len(seen) == 12
    np.testing.assert_array_equal(seen[2:], made.uploads().items)


def test_without_any_upload_it_still_trains_on_history() -> None:
    made = fitted({"name": "full_download", "steps": 1})
    made.strategy.learn(1, [[Uploads(np.zeros(0, np.int64), np.zeros((0, 10), np.int32))]])
    rows = made.strategy.answer(0, made.uploads(), 1)
    assert (rows["weights"] != made.strategy.initial(0)["weights"]).any()
