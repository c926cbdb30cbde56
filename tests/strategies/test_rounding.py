"""Weights that are shipped once, rounded to a few bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fedsim.engine.run import run
from fedsim.errors import ConfigError
from fedsim.layout import Layer, Layout
from fedsim.models.sasrec import SASRec, SASRecConfig
from strategies._rounding import CLIPS, loaded, stored, trained_rounded
from tests.strategies.fitted import fitted
from tests.studies import tiny

LAYOUT = Layout((Layer("a", 3, 5), Layer("b", 2, 7)))


def weights(layout: Layout = LAYOUT) -> torch.Tensor:
    return torch.randn(layout.size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_a_weight_is_a_whole_number_of_its_rows_steps(bits: int) -> None:
    flat, kept = weights(), stored("w", weights(), LAYOUT, bits)
    assert kept["w.levels"].nbytes == -(-LAYOUT.size * bits // 8)
    assert kept["w.steps"].dtype == np.float16
    steps = torch.from_numpy(kept["w.steps"].astype(np.float32).repeat(LAYOUT.row_lengths))
    top, found = 2 ** (bits - 1) - 1, loaded("w", kept, LAYOUT, bits)
    torch.testing.assert_close(found, (flat / steps).round().clamp(-top, top) * steps)


def test_no_other_step_that_may_be_taken_is_nearer() -> None:
    layout = Layout((Layer("a", 1, 400),))
    flat = weights(layout)
    error = (loaded("w", stored("w", flat, layout, 4), layout, 4) - flat).square().sum()
    for share in CLIPS:
        step = (share * flat.abs().max() / 7).half().float()
        other = (flat / step).round().clamp(-7, 7) * step
        assert error <= (other - flat).square().sum() + 1e-5


def test_more_bits_are_nearer() -> None:
    layout = SASRec(SASRecConfig()).layout
    flat = weights(layout)
    errors = [
        float((loaded("w", stored("w", flat, layout, bits), layout, bits) - flat).norm())
        for bits in (2, 4, 6, 8)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01 * float(flat.norm())


def test_rows_without_weights_stay_nought_and_numbers() -> None:
    kept = stored("w", torch.zeros(LAYOUT.size), LAYOUT, 4)
    assert loaded("w", kept, LAYOUT, 4).tolist() == [0.0] * LAYOUT.size


def test_unset_bits_change_nothing() -> None:
    flat = weights()
    torch.testing.assert_close(loaded("w", stored("w", flat, LAYOUT, None), LAYOUT, None), flat)


def test_training_computes_with_what_will_be_stored() -> None:
    flat = weights().requires_grad_()
    near = trained_rounded(flat, LAYOUT, 3)
    torch.testing.assert_close(near, loaded("w", stored("w", flat, LAYOUT, 3), LAYOUT, 3))
    (gradient,) = torch.autograd.grad((near * torch.arange(LAYOUT.size)).sum(), flat)
    assert gradient.tolist() == list(range(LAYOUT.size))


@pytest.mark.parametrize("name", ["user_vector", "snack", "duet"])
def test_edges_rank_as_was_trained(name: str) -> None:
    made = fitted({"name": name, "weight_bits": 3})
    (learner,) = made.strategy._learners
    uploads = made.uploads()
    windows = made.cell.channels[0].windows(1, 4)[:, None]
    with torch.no_grad():
        trained = learner(torch.from_numpy(windows).long(), torch.from_numpy(uploads.items).long())
    served = made.half.queries(0, made.strategy.answer(0, uploads, 1), windows)
    torch.testing.assert_close(served, trained, rtol=1e-4, atol=1e-4)


def test_base_goes_on_with_rounded_weights() -> None:
    made = fitted({"name": "static", "weight_bits": 2, "extra_epochs": 2})
    (learner,) = made.strategy._learners
    assert learner.weight_bits == 2
    windows = made.cell.channels[0].windows(1, 4)[:, None]
    with torch.no_grad():
        trained = learner(torch.from_numpy(windows).long(), torch.empty(24, 0))
    torch.testing.assert_close(made.half.queries(0, {}, windows), trained, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["static", "user_vector", "menu", "local_vector"])
def test_every_provision_is_smaller(name: str) -> None:
    made = (fitted(name), fitted({"name": name, "weight_bits": 8}))
    sizes = [len(each.strategy.provision().encode()["channel.0"]) for each in made]
    assert sizes[0] - sizes[1] > 2 * made[0].setting.backbone.layout.size


def test_fewer_bits_are_stored_and_counted(tmp_path: Path) -> None:
    runs = [
        run(tiny({"name": "static"} | bits), out=tmp_path / str(len(bits)))
        for bits in ({}, {"weight_bits": 4})
    ]
    stored_bytes = [done.ledger["stored_bytes"].iloc[-1] for done in runs]
    size = fitted("static", model={"name": "sasrec"}).setting.backbone.layout.size
    assert stored_bytes[0] - stored_bytes[1] > (32 - 4 - 1) / 8 * size
    assert [done.ledger["paper_bits"].iloc[0] for done in runs] == [32 * size, 4 * size]


@pytest.mark.parametrize("bits", [1, 9, 2.5])
def test_bits_out_of_range_are_told(bits: float) -> None:
    with pytest.raises(ConfigError, match=r"strategy\.weight_bits"):
        tiny({"name": "snack", "weight_bits": bits})
