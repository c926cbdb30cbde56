"""STTD: the semi-tensor product, what a layer is made of, the table's figures."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.errors import ConfigError
from fedsim.layout import Layer, Layout
from fedsim.models.base import Backbone
from fedsim.models.caser import Caser, CaserConfig
from fedsim.models.sasrec import SASRec, SASRecConfig
from fedsim.setting import Provision, Setting
from strategies._tensor_train import put_together, semi_tensor, trains_of
from strategies.sttd import Sttd, SttdEdge
from tests.strategies.fitted import Fitted, fitted
from tests.studies import tiny

SASREC, CASER = SASRec(SASRecConfig()), Caser(CaserConfig())


@cache
def usual() -> Fitted:
    """Fit it as it is by default, once."""
    return fitted("sttd")


@given(*[st.integers(1, 5)] * 4)
@settings(deadline=None)
def test_the_semi_tensor_product_is_a_kronecker_product(m: int, p: int, q: int, t: int) -> None:
    gen = torch.Generator().manual_seed(0)
    left, right = torch.randn(m, p * t, generator=gen), torch.randn(p, q, generator=gen)
    wanted = left @ torch.kron(right, torch.eye(t))
    torch.testing.assert_close(semi_tensor(left, right, t), wanted)


def test_without_blocks_a_layer_is_the_tensor_train_of_its_cores() -> None:
    """Element (i, j) is G1[i1 j1] G2[i2 j2] G3[i3 j3] with i, j split into their modes."""
    layout = Layout((Layer("a", 32, 48),))
    (train,) = trains_of(layout, 3, 1)
    assert (train.rows, train.columns) == ((4, 4, 2), (4, 4, 3))
    flat = torch.randn(sum(core.size for core in train.cores))
    (layer,) = put_together((train,), flat)
    first, second, third = torch.split(flat, [core.size for core in train.cores])
    wanted = torch.einsum(
        "abr,rcds,sef->acebdf",
        first.view(4, 4, 3),
        second.view(3, 4, 4, 3),
        third.view(3, 2, 3),
    )
    torch.testing.assert_close(layer[0], wanted.reshape(32, 48))


def test_blocks_repeat_the_cores() -> None:
    """By hand: with r = t the middle cores are one row, and the train is a Kronecker product."""
    layout = Layout((Layer("a", 16, 32),))
    (train,) = trains_of(layout, 2, 2)
    assert [(core.rows, core.columns) for core in train.cores] == [(16, 2), (1, 16), (1, 1)]
    flat = torch.randn(49)
    (layer,) = put_together((train,), flat)
    first, second, third = flat[:32].view(16, 2), flat[32:48].view(1, 16), flat[48:].view(1, 1)
    product = first @ torch.kron(second, torch.eye(2))
    product = product.view(256, 2) @ torch.kron(third, torch.eye(2))
    wanted = product.view(4, 4, 4, 4, 1, 2).permute(0, 2, 4, 1, 3, 5)
    torch.testing.assert_close(layer[0], wanted.reshape(16, 32))


@pytest.mark.parametrize("backbone", [SASREC, CASER])
def test_layers_start_with_xaviers_variance(backbone: Backbone) -> None:
    gen = torch.Generator().manual_seed(0)
    trains = trains_of(backbone.layout, 4, 2)
    found = [
        put_together(
            [train], train.spread * torch.randn(sum(c.size for c in train.cores), generator=gen)
        )[0]
        .square()
        .mean()
        * (train.layer.rows + train.layer.columns)
        / 2
        for _ in range(200)
        for train in trains
    ]
    assert torch.stack(found).mean().item() == pytest.approx(1.0, abs=0.1)


def test_a_layer_whose_cores_are_no_smaller_stays_as_it_is() -> None:
    trains = trains_of(CASER.layout, 4, 2)
    assert [train.rank for train in trains] == [4, 4, 4, 4, 4, 0]
    assert trains[-1].cores == (CASER.layout.layers[-1],)
    assert trains[-1].macs == 0
    flat = torch.randn(20)
    torch.testing.assert_close(put_together(trains[-1:], flat)[0], flat.view(1, 4, 5))


@pytest.mark.parametrize(
    ("backbone", "param", "flops", "bits", "macs"),
    [(SASREC, 0.0461, 0.3110, 46_080, 311_040), (CASER, 0.0231, 0.0996, 23_040, 99_584)],
    ids=["sasrec", "caser"],
)
def test_table_3_of_diet(
    backbone: Backbone, param: float, flops: float, bits: int, macs: int
) -> None:
    scenario = tiny("sttd", model=backbone.config.model_dump())
    setting = Setting(scenario, (), backbone)
    (column,) = Sttd(scenario.strategy, setting).columns()
    assert 32 * column.layout.size == bits
    assert bits / 1e6 == pytest.approx(param, rel=0.005)
    edge = SttdEdge(setting, scenario.strategy, Provision())
    assert edge.macs(0, {}).tolist() == [macs]
    assert macs / 1e6 == pytest.approx(flops, rel=0.005)


def test_training_moves_every_core() -> None:
    made = usual()
    (learner,) = made.strategy._learners
    (learner.forward(torch.ones(2, 1, 4).long(), torch.zeros(2, 0))).square().sum().backward()
    assert learner.cores.grad is not None
    assert (learner.cores.grad.view(10, -1).abs().sum(1) > 0).all()


def test_an_edge_puts_together_what_was_trained() -> None:
    made = usual()
    (learner,) = made.strategy._learners
    rows, windows = made.strategy.initial(0), made.uploads().items[:, None]
    assert rows["cores"].shape == (1, 10 * 132)
    ids = torch.from_numpy(windows).long()
    with torch.no_grad():
        torch.testing.assert_close(made.half.queries(0, rows, windows), learner(ids, ids[:, 0]))
    assert not made.half.asks
    np.testing.assert_array_equal(
        made.strategy.answer(0, made.uploads(), 1)["cores"], rows["cores"]
    )


@pytest.mark.parametrize(
    ("options", "rule"),
    [({"rank": 0}, "rank.*greater than or equal to 1"), ({"rank": 3}, "3 is no multiple of block")],
)
def test_wrong_options_say_what_is_allowed(options: dict[str, Any], rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        tiny({"name": "sttd", **options})
