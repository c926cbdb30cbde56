"""Sums worked out by hand on a ledger of two edges, two rounds and two channels."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from analysis import Runs, load
from analysis.aggregate import (
    EDGES,
    bytes_per_edge,
    cumulative_bytes,
    drift_share,
    metric_column,
    per_round,
    stored_bytes,
)
from analysis.bandwidth_map import bandwidth_matrix, bandwidth_range
from analysis.costs import costs
from analysis.drift_response import since_drift
from analysis.paired import label_accuracy
from fedsim import ledger
from fedsim.errors import ConfigError

COLUMNS = (
    "edge", "channel", "drift_true", "uplink_bytes", "downlink_bytes", "stored_bytes", "targets",
    "ndcg_10", "requested", "answered", "refused", "candidate_bytes",
)  # fmt: skip
ROUNDS: dict[int, list[tuple[float, ...]]] = {
    0: [(0, 0, 0, 0, 100, 50, 0, 0, 0, 1, 0, 9), (0, 1, 0, 0, 200, 50, 0, 0, 0, 1, 0, 9),
        (1, 0, 0, 0, 100, 50, 0, 0, 0, 1, 0, 9), (1, 1, 0, 0, 200, 50, 0, 0, 0, 1, 0, 9)],
    1: [(0, 0, 0, 10, 30, 60, 2, 1.0, 1, 1, 0, 0), (0, 1, 0, 10, 40, 60, 1, 0.5, 1, 1, 0, 0),
        (1, 0, 0, 10, 0, 50, 4, 0.5, 1, 0, 1, 0), (1, 1, 0, 0, 0, 50, 1, 0.0, 0, 0, 0, 0)],
    2: [(0, 0, 0, 10, 30, 70, 1, 0.0, 1, 1, 0, 0), (0, 1, 1, 10, 20, 80, 1, 1.0, 1, 1, 0, 0),
        (1, 0, 0, 0, 0, 50, 2, 1.0, 0, 0, 0, 0), (1, 1, 0, 0, 0, 50, 0, 0.0, 0, 0, 0, 0)],
}  # fmt: skip


def rows_of(number: int) -> pa.RecordBatch:
    columns = {name: [row[i] for row in ROUNDS[number]] for i, name in enumerate(COLUMNS)}
    return ledger.rows(ledger.schema([10]), round=number, **columns)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "scenario.toml").write_text('name = "tiny"\nseed = 0\n[strategy]\nname = "diet"\n')
    edges = ledger.rows(
        ledger.edges_schema(), edge=[0, 1], ood=[False, True],
        shared_downlink_bytes=1000, shared_stored_bytes=500,
    )  # fmt: skip
    ledger.write_edges(folder, [edges])
    for number in ROUNDS:
        ledger.commit_round(folder, number, [rows_of(number)])
    return load(Path(folder))


def test_accuracy_is_a_ratio_of_sums(tiny: Runs) -> None:
    frame = per_round(tiny, "ndcg_10")
    assert frame["round"].tolist() == [1, 2]
    assert frame["value"].tolist() == pytest.approx([2.0 / 8, 2.0 / 4])
    assert frame["bytes"].tolist() == [50.0, 35.0]


def test_the_error_is_that_of_a_ratio_over_edges(tiny: Runs) -> None:
    # Round 1: edges have sums 1.5 and 0.5, targets 3 and 5, ratio 0.25.
    residuals = (1.5 - 0.25 * 3) ** 2 + (0.5 - 0.25 * 5) ** 2
    assert per_round(tiny, "ndcg_10")["error"].iloc[0] == pytest.approx(residuals**0.5 / 8)


def test_accuracy_of_unseen_edges_and_of_a_channel(tiny: Runs) -> None:
    unseen = per_round(tiny, "ndcg_10", EDGES["unseen"])
    assert unseen["value"].tolist() == pytest.approx([0.5 / 5, 0.5])
    assert unseen["bytes"].tolist() == [10.0, 0.0]
    channel = per_round(tiny, "ndcg_10", "channel = 1")
    assert channel["value"].tolist() == pytest.approx([0.25, 1.0])


def test_neighbouring_rounds_are_taken_together(tiny: Runs) -> None:
    frame = per_round(tiny, "ndcg_10", points=1)
    assert frame["value"].tolist() == pytest.approx([4.0 / 12])
    assert frame["bytes"].tolist() == [42.5]


def test_bytes_add_up_from_the_provision_on(tiny: Runs) -> None:
    frame = cumulative_bytes(tiny)
    assert frame["round"].tolist() == [0, 1, 2]
    assert frame["bytes"].tolist() == [1300.0, 1350.0, 1385.0]


def test_bandwidth_per_edge_leaves_the_provision_out(tiny: Runs) -> None:
    frame = bytes_per_edge(tiny, points=2)
    assert frame["share"].tolist() == [0.0, 0.5, 1.0]
    assert frame["bytes"].tolist() == [5.0, 42.5, 80.0]


def test_the_map_sorts_edges_by_their_total(tiny: Runs) -> None:
    matrix, edges = bandwidth_matrix(tiny, "diet")
    assert edges == 2
    assert matrix.tolist() == [[90.0, 70.0], [10.0, 0.0]]
    assert bandwidth_range(tiny, "diet") == (0.0, 90.0)


def test_drift_in_any_channel_counts_an_edge_once(tiny: Runs) -> None:
    assert drift_share(tiny).to_numpy().tolist() == [[2, 0.5]]
    since = since_drift(tiny, "ndcg_10")
    assert since["since"].tolist() == [-1, 0]
    assert since["value"].tolist() == pytest.approx([0.5, 0.5])


def test_what_channels_share_is_stored_once(tiny: Runs) -> None:
    frame = stored_bytes(tiny)
    assert frame["part"].tolist() == ["shared", "channel 0", "channel 1"]
    assert frame["bytes"].tolist() == [500.0, 60.0, 65.0]


def test_costs(tiny: Runs) -> None:
    row = costs(tiny)["diet"]
    assert (row["up_bytes"], row["down_bytes"]) == (12.5, 30.0)
    assert (row["provision_bytes"], row["embedding_bytes"]) == (1300.0, 18.0)
    assert row["stored_bytes"] == 625.0
    assert row["answer_bytes"] == 30.0
    assert (row["answered"], row["refused"]) == (0.8, 0.2)


def test_costs_of_unseen_edges_are_theirs(tiny: Runs) -> None:
    everybody, known, unseen = (costs(tiny, who)["diet"] for who in ("all", "known", "unseen"))
    for name in ("up_bytes", "down_bytes", "provision_bytes", "stored_bytes"):
        assert everybody[name] == pytest.approx((known[name] + unseen[name]) / 2)
    assert known["down_bytes"] != unseen["down_bytes"]


def test_accuracy_over_all_rounds(tiny: Runs) -> None:
    assert label_accuracy(tiny, "ndcg_10").of("diet").value == pytest.approx(4.0 / 12)


def test_an_unmeasured_metric_is_an_error(tiny: Runs) -> None:
    with pytest.raises(ConfigError, match=r"K = 5 was not measured in every run; measured: \[10\]"):
        metric_column(tiny, "hit", 5)
    with pytest.raises(ConfigError, match="unknown metric 'ndgc'; did you mean 'ndcg'"):
        metric_column(tiny, "ndgc")
