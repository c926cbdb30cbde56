"""The papers' accounting, to the digit they print."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.layout import Layer, Layout
from fedsim.models.caser import Caser, CaserConfig
from fedsim.models.cost import backbone_cost, kept_rows, storage_cost, storage_costs
from fedsim.models.sasrec import SASRec, SASRecConfig

SASREC, CASER = SASRec(SASRecConfig()), Caser(CaserConfig())


def test_sasrec() -> None:
    cost = backbone_cost(SASREC, keep=0.3)
    assert cost.maskable == cost.diet_bits == 40_960
    assert cost.dense_bits == 1_310_720
    assert cost.macs == 5 * 40_960 + 2 * 2 * 15 * 64 == 208_640
    assert cost.row == {
        "backbone": "sasrec",
        "maskable parameters": "40,960",
        "dense Mbit": "1.3107",
        "diet Mbit": "0.0410",
        "pruned (CSR) Mbit": "0.7864",
        "MACs (M)": "0.2086",
    }
    assert backbone_cost(SASREC, keep=0.1).row["pruned (CSR) Mbit"] == "0.2621"


def test_caser() -> None:
    cost = backbone_cost(CASER)
    assert cost.maskable == 16 * 64 * 15 + 4 * 5 == 15_380
    assert cost.macs == 35_840 + 1_280 + 21_504 == 58_624
    row = cost.row
    assert [row["dense Mbit"], row["diet Mbit"], row["MACs (M)"]] == ["0.4922", "0.0154", "0.0586"]


def test_storage_of_three_channels() -> None:
    cost = storage_cost(SASREC.layout, 3)
    assert cost.base_bits == 3 * 32 * 40_960
    assert cost.diet_bits == 32 * 40_960 + 3 * 40_960
    assert cost.dieting_bits == 32 * 4_096 + 3 * 40_960
    assert list(storage_costs(SASREC.layout, 3))[2] == cost


def test_macs_skip_rows_that_keep_nothing() -> None:
    rows = np.array([[64] * 10, [0] * 10, [64, 1, 0, 0, 0, 0, 0, 0, 0, 2]])
    assert SASREC.macs(rows).tolist() == [208_640, 3_840, 67 * 64 * 5 + 3_840]
    none, some = [0] * 6, [0, 3, 0, 0, 1, 2]  # 3 filters of height 2, 1 of 5, 2 vertical
    assert CASER.macs(np.array([none, some])).tolist() == [
        21_504,
        21_504 + 3 * 128 * 4 + 320 + 2 * 5 * 64,
    ]


def test_prototype_share_of_empty_rows() -> None:
    """56.6 % of rows empty cost 0.0927 M, as measured in the design's prototype."""
    kept = np.full((1, 10), 64 * (1 - 0.566))
    assert SASREC.macs(kept)[0] / 1e6 == pytest.approx(0.0927, abs=5e-5)


@settings(deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 19)), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_kept_rows_are_those_with_a_bit(shapes: list[tuple[int, int]], seed: int) -> None:
    layout = Layout(tuple(Layer(str(i), *shape) for i, shape in enumerate(shapes)))
    bits = np.random.default_rng(seed).random((5, layout.size)) < 0.1
    found = kept_rows(layout, np.packbits(bits, axis=1, bitorder="little"))
    for i, (start, layer) in enumerate(zip(layout.offsets, layout.layers, strict=False)):
        part = bits[:, start : start + layer.size].reshape(5, layer.rows, layer.columns)
        assert found[:, i].tolist() == part.any(2).sum(1).tolist()
