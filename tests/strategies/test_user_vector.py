"""The user vector: where it is added, what it is made of, its bytes and its start."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fedsim.engine.run import run
from fedsim.errors import ConfigError
from fedsim.setting import Uploads
from fedsim.wire import HEADER_BYTES
from tests.strategies.fitted import Fitted, fitted
from tests.studies import tiny


@pytest.fixture(scope="module")
def made() -> Fitted:
    return fitted({"name": "user_vector", "upload": 12})


def queries(made: Fitted, rows: dict[str, np.ndarray]) -> torch.Tensor:
    windows = made.cell.channels[0].windows(1, made.setting.backbone.window)[:, None]
    return made.half.queries(0, rows, windows)


def test_in_sasrec_the_vector_moves_the_position_embeddings(made: Fitted) -> None:
    rows = {"vector": np.random.default_rng(0).normal(size=(1, 16)).astype(np.float32)}
    ids = torch.from_numpy(made.cell.channels[0].windows(1, 4)[:, None]).long()
    moved = dict(made.half.small[0])
    moved["positions"] = moved["positions"] + torch.from_numpy(rows["vector"])
    wanted = made.half.backbone.forward(
        made.half.weights(0, {}), moved, made.half.items[0][ids], ids == 0
    )
    torch.testing.assert_close(queries(made, rows), wanted)


@pytest.mark.parametrize("backbone", ["sasrec", "caser", "gru4rec"])
def test_every_edge_gets_its_own_vector_added(backbone: str) -> None:
    model = {"name": backbone, "dim": 16, "window": 4}
    one = fitted({"name": "user_vector", "upload": 12}, model=model)
    rows = one.strategy.answer(0, one.uploads(), 1)
    together = queries(one, rows)
    for edge in (0, 3):
        alone = queries(one, {"vector": rows["vector"][edge : edge + 1]})
        torch.testing.assert_close(together[edge], alone[edge])
    without = queries(one, {"vector": np.zeros((1, 16), np.float32)})
    assert not torch.allclose(together, without)


def test_it_ranks_as_it_was_trained(made: Fitted) -> None:
    (learner,) = made.strategy._learners
    uploads = made.uploads()
    windows = torch.from_numpy(made.cell.channels[0].windows(1, 4)[:, None]).long()
    with torch.no_grad():
        trained = learner(windows, torch.from_numpy(uploads.items).long())
    served = queries(made, made.strategy.answer(0, uploads, 1))
    torch.testing.assert_close(served, trained, rtol=1e-4, atol=1e-5)


def test_a_vector_depends_on_items_the_backbone_does_not_see(made: Fitted) -> None:
    uploads = made.uploads()
    older = uploads.items.copy()
    older[:, :6] = np.where(older[:, :6] > 0, 1 + older[:, :6] % 60, 0)
    fresh = made.strategy.answer(0, uploads, 1)["vector"]
    changed = made.strategy.answer(0, Uploads(uploads.edges, older), 1)["vector"]
    moved = (older != uploads.items).any(axis=1)
    assert moved.any()
    np.testing.assert_array_equal((fresh != changed).any(axis=1), moved)


def test_a_row_is_the_same_bits_in_any_batch(made: Fitted) -> None:
    ids = np.random.default_rng(1).integers(0, 61, (300, 12)).astype(np.int32)
    answer = made.strategy.answer(0, Uploads(np.arange(300), ids), 1)["vector"]
    assert answer.shape == (300, 16)
    for part in (slice(299, 300), slice(60, 70), slice(3, 270)):
        some = made.strategy.answer(0, Uploads(np.arange(300)[part], ids[part]), 1)["vector"]
        np.testing.assert_array_equal(some, answer[part])


def test_a_gradient_reaches_every_part(made: Fitted) -> None:
    (learner,) = made.strategy._learners
    ids = torch.randint(1, 61, (6, 2, 4), generator=torch.Generator().manual_seed(0))
    learner.zero_grad()
    learner(ids, torch.cat([ids[:, 0]] * 3, 1)).square().sum().backward()
    for name, parameter in learner.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert {name.partition(".")[0] for name, _ in learner.named_parameters()} >= {
        "flat", "items", "small", "reader", "map"
    }  # fmt: skip


def test_it_starts_from_base() -> None:
    """Trained by steps of next to no size, the backbone is that of `static`."""
    frozen = {"train.lr": 1e-30}
    made, base = (fitted(name, changes=frozen) for name in ("user_vector", "static"))
    (learner,), (warm,) = made.strategy._learners, base.strategy._learners
    for name, value in warm.state_dict().items():
        torch.testing.assert_close(learner.state_dict()[name], value, rtol=0, atol=1e-20)
    torch.testing.assert_close(learner.reader.uploaded, warm.items, rtol=0, atol=1e-20)


def test_its_first_answer_is_the_mean_of_typical_ones(made: Fitted) -> None:
    first, typical = made.strategy.initial(0)["vector"], made.strategy.sample(0)["vector"]
    assert len(typical) > 1
    np.testing.assert_allclose(first, typical.mean(axis=0, keepdims=True), atol=1e-6)


@pytest.mark.parametrize(("dtype", "size"), [("fp32", 256), ("fp16", 128)])
def test_an_answer_is_64_floats(dtype: str, size: int, tmp_path: Path) -> None:
    codec = {"name": "dense", "dtype": dtype}
    done = run(tiny({"name": "user_vector", "codec": codec}), out=tmp_path)
    answered = done.ledger[done.ledger.answered]
    assert len(answered) == 24 * 3
    assert (answered.downlink_bytes == HEADER_BYTES + size).all()
    assert (answered.paper_bits == 2048).all()
    assert (answered.macs == 208_640).all()
    shipped = 4 * 40_960
    assert (answered.stored_bytes >= shipped + HEADER_BYTES + size).all()
    assert (done.ledger[done.ledger["round"] == 0].downlink_bytes >= shipped).all()


def test_an_upload_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"strategy\.upload.*greater than or equal to 1"):
        tiny({"name": "user_vector", "upload": 0})
