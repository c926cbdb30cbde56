"""Accuracy and storage by the room for an answer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

import analysis
from analysis import Runs, load
from analysis.gallery import pictures
from analysis.memory import BINS, by_room
from fedsim import ledger
from tests.analysis.factory import World, make_run

WORLD = World("rooms", edges=60, rounds=4, controls=0, room=4000.0)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    root = tmp_path_factory.mktemp("runs")
    return load(
        [make_run(root, WORLD, label, seed) for label in ("diet", "static") for seed in (0, 1)]
    )


def rows(**columns: object) -> pd.DataFrame:
    table = ledger.schema([10])
    return pd.DataFrame(ledger.rows(table, round=1, channel=0, **columns).to_pydict())


def line(ax: Axes, label: str) -> np.ndarray:
    (found,) = [line for line in ax.get_lines() if line.get_label() == label]
    return np.asarray(found.get_xydata())


def test_few_values_are_a_point_each_and_no_limit_is_left_out() -> None:
    frame = rows(
        edge=[1, 2, 3, 4],
        memory_bytes=[700, 900, 900, 2**62],
        targets=[2, 1, 3, 5],
        ndcg_10=[1.0, 0.5, 1.5, 5.0],
        stored_bytes=[100, 200, 400, 900],
    )
    found = by_room(load(frame), "ndcg_10")
    assert found["room"].tolist() == [700, 900]
    assert found["value"].tolist() == [0.5, 0.5]
    assert found["stored"].tolist() == [100, 300]
    assert found["error"].tolist() == [0, 0]


def test_many_values_are_cut_into_bins_of_equal_size(runs: Runs) -> None:
    found = by_room(runs, "ndcg_10")
    assert found.groupby("label")["bin"].nunique().tolist() == [BINS, BINS]
    ledgers = [ledger.read_ledger(info.path) for info in runs.infos if info.path]
    rooms = pd.concat(ledgers)["memory_bytes"].dropna()
    for _, points in found.groupby("label"):
        assert points["room"].is_monotonic_increasing
        assert points["room"].iloc[0] < rooms.quantile(1 / BINS)
        assert points["room"].iloc[-1] > rooms.quantile(1 - 1 / BINS)
        assert points["error"].gt(0).all()


def test_both_figures_draw_a_line_a_label_and_name_the_classes(runs: Runs) -> None:
    expected = by_room(runs, "ndcg_10").set_index("label")
    for figure, column in ((analysis.memory, "value"), (analysis.memory_use, "stored")):
        ax = figure(runs)
        for label in runs.labels:
            np.testing.assert_allclose(line(ax, label), expected.loc[label, ["room", column]])
        assert [text.get_text() for text in ax.texts] == ["3g", "4g"]
        assert ax.get_xscale() == "log"


def test_a_report_shows_them_only_where_memory_is_limited(runs: Runs, plain: Runs) -> None:
    shown = [{picture.name for picture in pictures(some)} for some in (runs, plain)]
    assert {"memory", "memory_use"} <= shown[0]
    assert not {"memory", "memory_use"} & shown[1]
    for figure in (analysis.memory, analysis.memory_use):
        assert figure(plain).texts[0].get_text() == "no edge's memory is limited"
