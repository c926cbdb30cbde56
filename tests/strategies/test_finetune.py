"""Fine-tuning: what an edge trains, that nothing is sent, what it costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fedsim.engine.run import Run, run
from fedsim.errors import ConfigError
from fedsim.models.base import split_layers
from fedsim.population import Population
from fedsim.wire import HEADER_BYTES
from tests.strategies.fitted import Fitted, fitted
from tests.studies import tiny

SCENARIO = tiny({"name": "finetune", "steps": 3, "batch": 5})


@pytest.fixture(scope="module")
def made() -> Fitted:
    return fitted({"name": "finetune", "steps": 1, "batch": 3, "lr": 0.1})


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(SCENARIO, out=tmp_path_factory.mktemp("finetune"))


def adapted(made: Fitted, edges: list[int], rows: dict[str, np.ndarray]) -> np.ndarray:
    streams = made.cell.channels[0]
    return np.asarray(made.half.adapt(0, rows, streams, np.array(edges), 1)["weights"])


def test_a_step_goes_down_the_gradient_of_the_last_items(made: Fitted) -> None:
    start, half, edge = dict(made.strategy.initial(0)), made.half, 4
    streams = made.cell.channels[0]
    end = int(streams.cuts[edge, 0])
    own = streams.items[streams.offsets[edge] :][:end].tolist()
    flat = torch.from_numpy(np.array(start["weights"])).requires_grad_()
    ids = torch.tensor([[([0] * 4 + own[:p])[-4:] for p in range(end - 3, end)]])
    queries = half.backbone.forward(
        split_layers(half.backbone.layout, flat), half.small[0], half.items[0][ids], ids == 0
    )
    wanted = torch.tensor([item - 1 for item in own[-3:]])
    F.cross_entropy(queries[0] @ half.items[0][1:].T, wanted).backward()  # type: ignore[no-untyped-call]
    assert flat.grad is not None
    assert flat.grad.abs().sum() > 0
    stepped = (flat - 0.1 * flat.grad).detach().numpy()
    np.testing.assert_allclose(adapted(made, [edge], start), stepped, rtol=1e-4, atol=1e-6)


def test_every_edge_goes_on_from_what_it_holds(made: Fitted) -> None:
    start = dict(made.strategy.initial(0))
    once = adapted(made, [1, 3, 5], start)
    assert len(np.unique(once, axis=0)) == 3
    twice = adapted(made, [1, 3, 5], {"weights": once})
    assert (np.abs(twice - start["weights"]).sum(1) > np.abs(once - start["weights"]).sum(1)).all()
    alone = adapted(made, [3], {"weights": once[1:2]})
    np.testing.assert_allclose(twice[1:2], alone, rtol=1e-4, atol=1e-6)


def test_nothing_is_sent_after_the_provision(done: Run) -> None:
    ledger = done.ledger
    later = ledger[ledger["round"] > 0]
    assert not later.requested.any()
    assert not later.answered.any()
    assert (later[["uplink_bytes", "downlink_bytes", "paper_bits"]] == 0).all(axis=None)
    record = HEADER_BYTES + 4 * 40_960
    assert (ledger[ledger["round"] == 0].downlink_bytes > record).all()
    assert (ledger.groupby("edge").stored_bytes.nunique() == 1).all()
    assert (later.stored_bytes > record).all()


def test_three_inferences_and_two_scorings_are_booked_a_target(done: Run) -> None:
    later = done.ledger[done.ledger["round"] > 0]
    cells = [Population(SCENARIO).cell(index).channels[0].cuts for index in range(3)]
    known = np.concatenate(cells)[later.edge, later["round"] - 1]
    targets = np.minimum(known - 1, 3 * 5)
    assert (targets < 15).any()
    assert (targets == 15).any()
    assert (later.train_macs == targets * (3 * 208_640 + 2 * 60 * 64)).all()


def test_steps_of_no_size_rank_as_base_does(tmp_path: Path) -> None:
    still = run(tiny({"name": "finetune", "lr": 1e-30}), out=tmp_path / "a").ledger
    base = run(tiny("static"), out=tmp_path / "b").ledger
    tuned = run(tiny({"name": "finetune", "lr": 0.5}), out=tmp_path / "c").ledger
    np.testing.assert_array_equal(still.ndcg_10, base.ndcg_10)
    assert (tuned.ndcg_10 != base.ndcg_10).any()


def test_a_learning_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"strategy\.lr.*greater than 0"):
        tiny({"name": "finetune", "lr": 0.0})
