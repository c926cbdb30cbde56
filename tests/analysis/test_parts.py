"""Figures of answers that have parts, and of what a sparsity constraint trades."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from analysis import Runs, load, part_counts, parts, sparsity
from analysis.gallery import pictures
from analysis.part_counts import count_shares
from analysis.parts import part_shares
from analysis.sparsity import sparse_labels
from fedsim import ledger
from fedsim.errors import ConfigError

EDGES = 4
BLOCK_MACS, BLOCK = 1_000, 320
HELD = {0.0: [[1, 1, 1], [1, 1, 1], [1, 0, 1], [1, 0, 1]], 0.1: [[1, 0, 0]] * 4}
"""Blocks that the edges hold, by λ."""


def write_run(root: Path, lam: float, seed: int = 0, strategy: str = "forward_ofa") -> Path:
    """Write a run of two rounds whose edges hold what `HELD` says; return its directory."""
    folder = root / f"{strategy}-{lam}-{seed}"
    folder.mkdir(parents=True)
    (folder / "scenario.toml").write_text(
        f'name = "ofa"\nseed = {seed}\n[[channels]]\nname = "home"\n'
        f'[strategy]\nname = "{strategy}"\nsparsity = {lam}\n'
    )
    held = np.array(HELD[lam], bool)
    facts = ledger.rows(ledger.edges_schema(), edge=np.arange(EDGES), device="4g")
    ledger.write_edges(folder, [facts])
    for number in range(3):
        answered: dict[str, Any] = {
            "answered": [True, True, True, False],
            "paper_bits": 3 + 32 * BLOCK * held.sum(1),
            "parts": held,
            "macs": BLOCK_MACS * held.sum(1),
            "targets": 2,
            "ndcg_10": held.sum(1) / 3,
            "hit_10": 1.0,
        }
        table = ledger.schema([10])
        row = answered if number else {}
        made = ledger.rows(table, round=number, edge=np.arange(EDGES), channel=0, **row)
        ledger.commit_round(folder, number, [made])
    return folder


@pytest.fixture(scope="module")
def ofa(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    root = tmp_path_factory.mktemp("ofa")
    return load([write_run(root, lam, seed) for lam in HELD for seed in (0, 1)])


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def heights(ax: Axes) -> dict[str, list[float]]:
    return {
        str(bars.get_label()): [bar.get_height() for bar in bars.get_children()]  # type: ignore[attr-defined]
        for bars in ax.containers
    }


def test_shares_of_parts(ofa: Runs) -> None:
    dense, sparse = ofa.labels
    frame = part_shares(ofa)
    found = {label: list(rows["share"]) for label, rows in frame.groupby("label")}
    assert found == {dense: [1, 0.5, 1], sparse: [1, 0, 0]}
    ax = parts(ofa)
    assert heights(ax) == found
    assert ax.get_ylabel() == "share of edges"


def test_edges_by_number_of_parts(ofa: Runs) -> None:
    dense, sparse = ofa.labels
    frame = count_shares(ofa)
    assert frame[["label", "count", "share"]].to_numpy().tolist() == [
        [dense, 2, 0.5], [dense, 3, 0.5], [sparse, 1, 1.0],
    ]  # fmt: skip
    assert heights(part_counts(ofa)) == {dense: [0.5, 0.5], sparse: [1.0]}


@pytest.mark.parametrize(
    ("value", "wanted", "unit"),
    [
        ("accuracy", [10 / 24, 4 / 24], "NDCG@10"),
        ("macs", [2.5 * BLOCK_MACS, BLOCK_MACS], "MACs"),
        ("parameters", [8 / 3 * BLOCK, BLOCK], "parameters"),
    ],
)
def test_lambda_trades(ofa: Runs, value: str, wanted: list[float], unit: str) -> None:
    ax = sparsity(ofa, value=value)
    (line,) = (line for line in ax.get_lines() if len(np.atleast_1d(line.get_ydata())) == 2)
    assert np.asarray(line.get_ydata()).tolist() == pytest.approx(wanted)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "0.1"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("\u03bb", unit)


def test_lambda_needs_two_runs_of_one_strategy(ofa: Runs, tmp_path: Path) -> None:
    assert list(sparse_labels(ofa)) == ["forward_ofa"]
    assert list(sparse_labels(ofa)["forward_ofa"].values()) == [0.0, 0.1]
    apart = load([write_run(tmp_path, 0.0), write_run(tmp_path, 0.1, strategy="peel")])
    assert sparse_labels(apart) == {}
    assert sparsity(apart).texts[0].get_text() == "no two runs differ in \u03bb"
    with pytest.raises(ConfigError, match="unknown value 'mac'; did you mean 'macs'"):
        sparsity(ofa, value="mac")


@pytest.mark.parametrize("figure", [parts, part_counts, sparsity])
def test_figures_say_where_there_is_nothing(
    figure: Callable[..., Axes], plain: Runs, ofa: Runs
) -> None:
    ax = figure(plain)
    assert len(ax.texts) == 1
    assert ax.get_title(loc="left")
    _, axes = plt.subplots(1, 2)
    assert figure(ofa, ax=axes[1]) is axes[1]
    axes[1].figure.canvas.draw()
    assert not axes[0].has_data()


def test_a_report_shows_them_where_there_is_something(ofa: Runs, runs: Runs) -> None:
    ours = ["parts", "part_counts", "sparsity_accuracy", "sparsity_macs", "sparsity_parameters"]
    assert [picture.name for picture in pictures(ofa) if picture.name in ours] == ours
    assert not {picture.name for picture in pictures(runs)} & set(ours)
