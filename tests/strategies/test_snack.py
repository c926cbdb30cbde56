"""The snack: codes and their bits, the codebook, and what an edge makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fedsim.engine.run import run
from fedsim.setting import Uploads
from fedsim.wire import HEADER_BYTES
from strategies._levels import packed, unpacked
from strategies.snack import between, levels_of
from strategies.user_vector import with_vector
from tests.strategies.fitted import Fitted, fitted
from tests.studies import tiny


@pytest.fixture(scope="module")
def made() -> Fitted:
    return fitted({"name": "snack", "upload": 12, "width": 20, "bits": 3})


@pytest.mark.parametrize(("width", "bits"), [(1, 1), (64, 2), (7, 3), (20, 8)])
def test_levels_come_back_from_their_bits(width: int, bits: int) -> None:
    levels = np.random.default_rng(0).integers(0, 2**bits, (9, width)).astype(np.uint8)
    code = packed(levels, bits)
    assert code.shape == (9, -(-width * bits // 8))
    np.testing.assert_array_equal(unpacked(code, width, bits), levels)


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_levels_are_the_nearest_of_evenly_spaced_ones(bits: int) -> None:
    exact = torch.linspace(-1, 1, 501)
    grid = between(torch.arange(2**bits).float(), bits)
    assert grid[[0, -1]].tolist() == [-1, 1]
    nearest = (exact[:, None] - grid).abs().min(dim=1).values
    found = between(levels_of(exact, bits), bits)
    torch.testing.assert_close((exact - found).abs(), nearest)


def test_it_ranks_as_it_was_trained(made: Fitted) -> None:
    (learner,) = made.strategy._learners
    uploads = made.uploads()
    windows = made.cell.channels[0].windows(1, 4)[:, None]
    with torch.no_grad():
        trained = learner(torch.from_numpy(windows).long(), torch.from_numpy(uploads.items).long())
    served = made.half.queries(0, made.strategy.answer(0, uploads, 1), windows)
    torch.testing.assert_close(served, trained, rtol=1e-4, atol=1e-5)


def test_edges_add_the_codes_sum_of_codebook_rows(made: Fitted) -> None:
    levels = np.random.default_rng(3).integers(0, 8, (1, 20)).astype(np.uint8)
    book = made.half.provision.channels[0]["codebook"]
    vector = torch.from_numpy((levels / 7 * 2 - 1) @ book.astype(np.float64)).float()
    windows = made.cell.channels[0].windows(1, 4)[:, None]
    ids = torch.from_numpy(windows).long()
    wanted = made.half.backbone.forward(
        made.half.weights(0, {}),
        made.half.small[0],
        with_vector(made.half.items[0][ids], vector),
        ids == 0,
    )
    found = made.half.queries(0, {"code": packed(levels, 3)}, windows)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_code_is_the_same_bits_in_any_batch(made: Fitted) -> None:
    ids = np.random.default_rng(1).integers(0, 61, (300, 12)).astype(np.int32)
    code = made.strategy.answer(0, Uploads(np.arange(300), ids), 1)["code"]
    assert len(np.unique(code, axis=0)) > 200
    for part in (slice(299, 300), slice(60, 70), slice(3, 270)):
        some = made.strategy.answer(0, Uploads(np.arange(300)[part], ids[part]), 1)["code"]
        np.testing.assert_array_equal(some, code[part])


def test_a_gradient_passes_through_the_rounding(made: Fitted) -> None:
    (learner,) = made.strategy._learners
    ids = torch.randint(1, 61, (6, 2, 4), generator=torch.Generator().manual_seed(0))
    learner.zero_grad()
    learner(ids, torch.cat([ids[:, 0]] * 3, 1)).square().sum().backward()
    for name, parameter in learner.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_its_first_answer_is_the_code_of_mean_levels(made: Fitted) -> None:
    typical = unpacked(made.strategy.sample(0)["code"], 20, 3)
    assert len(typical) > 1
    first = unpacked(made.strategy.initial(0)["code"], 20, 3)
    np.testing.assert_array_equal(first[0], np.rint(typical.mean(axis=0)))


@pytest.mark.parametrize(("codec", "size"), [("bitmask", 16), ("entropy", None), ("delta", None)])
def test_an_answer_is_128_bits(codec: str, size: int | None, tmp_path: Path) -> None:
    done = run(tiny({"name": "snack", "codec": {"name": codec}}), out=tmp_path)
    answered = done.ledger[done.ledger.answered]
    assert len(answered) == 24 * 3
    assert size is None or (answered.downlink_bytes == HEADER_BYTES + size).all()
    assert (answered.paper_bits == 128).all()
    assert (answered.macs == 208_640).all()
