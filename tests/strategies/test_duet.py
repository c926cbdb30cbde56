"""DUET: the head's mathematics, its size in the paper's setting, what generates it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedsim.engine.run import run
from fedsim.errors import ConfigError
from fedsim.setting import Uploads
from fedsim.wire import HEADER_BYTES
from strategies.duet import head_layout, through_head
from tests.strategies.fitted import Fitted, fitted
from tests.studies import tiny


@pytest.fixture(scope="module")
def duet() -> Fitted:
    return fitted("duet")


def windows(made: Fitted) -> np.ndarray:
    return made.cell.channels[0].windows(1, made.setting.backbone.window)[:, None]


def test_a_head_is_linear_layers_with_biases_and_tanh_between() -> None:
    gen = torch.Generator().manual_seed(0)
    asked, heads = torch.randn(5, 3, 8, generator=gen), torch.randn(5, 144, generator=gen)
    got = through_head(asked, heads, head_layout(8, 2))
    for b in range(5):
        first, last = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)
        with torch.no_grad():
            for linear, flat in ((first, heads[b, :72]), (last, heads[b, 72:])):
                linear.weight.copy_(flat.view(8, 9)[:, :8])
                linear.bias.copy_(flat.view(8, 9)[:, 8])
        torch.testing.assert_close(got[b], last(torch.tanh(first(asked[b]))))


def test_one_head_for_all_is_everybodys() -> None:
    gen = torch.Generator().manual_seed(0)
    asked, head = torch.randn(5, 3, 8, generator=gen), torch.randn(1, 72, generator=gen)
    layout = head_layout(8, 1)
    each = through_head(asked, head.expand(5, -1), layout)
    torch.testing.assert_close(through_head(asked, head, layout), each)


def test_two_layers_of_width_32_are_8448_bytes(tmp_path: Path) -> None:
    """The authors' setting: 2 (32 x 32 + 32) = 2,112 floats."""
    model: dict[str, Any] = {"name": "sasrec", "dim": 32}
    done = run(tiny("duet", model=model), out=tmp_path)
    answered = done.ledger[done.ledger.answered]
    assert len(answered) == 24 * 3
    assert (answered.downlink_bytes - HEADER_BYTES == 8_448).all()
    assert (answered.paper_bits == 32 * 2_112).all()
    backbone = 5 * 10 * 32 * 32 + 2 * 2 * 15 * 32
    assert (answered.macs == backbone + 2 * 32 * 32).all()
    shipped = 4 * 10 * 32 * 32
    assert (answered.stored_bytes >= shipped + HEADER_BYTES + 8_448).all()


@pytest.mark.parametrize("backbone", ["sasrec", "caser", "gru4rec"])
def test_it_ranks_as_it_was_trained(backbone: str) -> None:
    made = fitted("duet", model={"name": backbone, "dim": 16, "window": 4})
    (learner,) = made.strategy._learners
    uploads, context = made.uploads(), windows(made)
    with torch.no_grad():
        trained = learner(torch.from_numpy(context).long(), torch.from_numpy(uploads.items).long())
    served = made.half.queries(0, made.strategy.answer(0, uploads, 1), context)
    torch.testing.assert_close(served, trained, rtol=1e-4, atol=1e-5)


def test_a_gradient_reaches_the_backbone_and_all_of_the_hypernetwork(duet: Fitted) -> None:
    (learner,) = duet.strategy._learners
    ids = torch.randint(1, 61, (6, 2, 4), generator=torch.Generator().manual_seed(0))
    learner.zero_grad()
    learner(ids, ids[:, 0]).square().sum().backward()
    for name, parameter in learner.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_a_row_is_the_same_bits_in_any_batch(duet: Fitted) -> None:
    ids = np.random.default_rng(1).integers(0, 61, (300, 4)).astype(np.int32)
    answer = duet.strategy.answer(0, Uploads(np.arange(300), ids), 1)["head"]
    assert len(np.unique(answer, axis=0)) == 300
    for part in (slice(299, 300), slice(60, 70), slice(3, 270)):
        some = duet.strategy.answer(0, Uploads(np.arange(300)[part], ids[part]), 1)["head"]
        np.testing.assert_array_equal(some, answer[part])


def test_uploads_may_be_longer_than_the_window() -> None:
    assert fitted("duet").half.upload_length == 4
    made = fitted({"name": "duet", "upload": 9})
    assert made.half.upload_length == 9
    uploads = made.uploads()
    older = uploads.items.copy()
    older[:, :5] = np.where(older[:, :5] > 0, 1 + older[:, :5] % 60, 0)
    fresh = made.strategy.answer(0, uploads, 1)["head"]
    changed = made.strategy.answer(0, Uploads(uploads.edges, older), 1)["head"]
    np.testing.assert_array_equal(
        (fresh != changed).any(axis=1), (older != uploads.items).any(axis=1)
    )


def test_a_head_without_layers_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"strategy\.layers.*greater than or equal to 1"):
        tiny({"name": "duet", "layers": 0})
