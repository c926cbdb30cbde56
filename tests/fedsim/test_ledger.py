from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedsim import ledger
from fedsim.errors import StoreError

SCHEMA = ledger.schema([5, 10])


def batch(round: int, edges: np.ndarray, channel: int = 0) -> pa.RecordBatch:
    return ledger.rows(
        SCHEMA,
        round=round,
        edge=edges,
        channel=channel,
        drift_score=np.where(edges % 2 == 0, np.nan, 0.25),
        answered=edges % 3 == 0,
        downlink_bytes=1000 + edges,
        parts=edges[:, None] > np.arange(3),
        targets=4,
        hit_10=edges % 4,
        ndcg_10=(edges % 4) / 2,
        mrr=0.125,
    )


def without_parts() -> pa.RecordBatch:
    return ledger.rows(SCHEMA, round=2, edge=[3], channel=0)


def test_rows_come_back_as_they_went_in(tmp_path: Path) -> None:
    edges = np.arange(6)
    ledger.commit_round(tmp_path, 0, [batch(0, edges)])
    ledger.commit_round(tmp_path, 1, [batch(1, edges[:4]), batch(1, edges[4:])])
    frame = ledger.read_ledger(tmp_path)
    assert len(frame) == 12
    assert list(frame.columns) == SCHEMA.names
    assert frame["downlink_bytes"].tolist() == [1000, 1001, 1002, 1003, 1004, 1005] * 2
    assert frame["drift_score"].isna().tolist() == [True, False] * 6
    assert frame["latency_ms"].isna().all()
    assert frame["answered"].dtype == bool
    assert frame["hit_5"].sum() == 0
    assert frame["parts"].map(sum).tolist() == [0, 1, 2, 3, 3, 3] * 2
    assert pq.read_table(ledger.commit_round(tmp_path, 2, [without_parts()]))["parts"].null_count


def test_bytes_do_not_depend_on_how_rows_are_batched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "ROW_GROUP", 8)
    edges = np.arange(21)
    contents = set()
    for size in (1, 4, 8, 21):
        cuts = [edges[start : start + size] for start in range(0, 21, size)]
        file = ledger.commit_round(tmp_path / str(size), 0, (batch(0, cut) for cut in cuts))
        contents.add(file.read_bytes())
        assert [
            pq.read_metadata(file).row_group(i).num_rows
            for i in range(pq.read_metadata(file).num_row_groups)
        ] == [8, 8, 5]
    assert len(contents) == 1


def test_a_round_counts_only_when_it_is_whole(tmp_path: Path) -> None:
    assert ledger.committed_rounds(tmp_path) == -1
    ledger.commit_round(tmp_path, 0, [batch(0, np.arange(3))])

    def killed() -> object:
        yield batch(1, np.arange(3))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ledger.commit_round(tmp_path, 1, killed())  # type: ignore[arg-type]
    assert ledger.committed_rounds(tmp_path) == 0
    ledger.commit_round(tmp_path, 1, [batch(1, np.arange(3))])
    assert ledger.committed_rounds(tmp_path) == 1
    assert sorted(os.listdir(tmp_path / "ledger")) == ["round-00000.parquet", "round-00001.parquet"]


def test_controls_of_an_uncommitted_round_are_not_read(tmp_path: Path) -> None:
    columns = ledger.controls_schema([5, 10])
    for number in (0, 1):
        row = ledger.rows(
            columns, round=number, edge=[3], channel=0, kind=["own"], targets=2, mrr=1.5
        )
        ledger.commit_controls(tmp_path, number, [row])
    ledger.commit_round(tmp_path, 0, [batch(0, np.arange(3))])
    controls = ledger.read_controls(tmp_path)
    assert controls[["round", "kind", "mrr"]].to_numpy().tolist() == [[0, "own", 1.5]]


def test_a_run_without_controls_has_an_empty_frame(tmp_path: Path) -> None:
    ledger.commit_round(tmp_path, 0, [batch(0, np.arange(3))])
    controls = ledger.read_controls(tmp_path)
    assert controls.empty
    assert "ndcg_5" in controls.columns


def test_edges(tmp_path: Path) -> None:
    row = ledger.rows(
        ledger.edges_schema(), edge=[0, 1], cell=0, device=["2g", "wifi"], shared_stored_bytes=7
    )
    ledger.write_edges(tmp_path, [row])
    frame = ledger.read_edges(tmp_path)
    assert frame["device"].tolist() == ["2g", "wifi"]
    assert frame["budget_bytes_per_round"].isna().all()


def test_a_gap_is_an_error(tmp_path: Path) -> None:
    for number in (0, 1, 2):
        ledger.commit_round(tmp_path, number, [batch(number, np.arange(3))])
    (tmp_path / "ledger" / "round-00001.parquet").unlink()
    with pytest.raises(StoreError, match=r"round-00001.parquet is missing.*restore it, or start"):
        ledger.committed_rounds(tmp_path)


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    file = ledger.commit_round(tmp_path, 0, [batch(0, np.arange(3))])
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(StoreError, match=r"cannot read .*round-00000.parquet.*damaged.*resume"):
        ledger.committed_rounds(tmp_path)


def test_a_file_of_another_version_is_an_error(tmp_path: Path) -> None:
    file = ledger.commit_round(tmp_path, 0, [batch(0, np.arange(3))])
    table = pq.read_table(file)
    pq.write_table(table.replace_schema_metadata({b"fedsim.ledger": b"99"}), file)
    with pytest.raises(StoreError, match="ledger version 99, this fedsim reads version 3"):
        ledger.read_ledger(tmp_path)


def test_no_rows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no rows to write to .*round-00000"):
        ledger.commit_round(tmp_path, 0, [])
    with pytest.raises(StoreError, match="no committed round; run it first"):
        ledger.read_ledger(tmp_path)


def test_a_missing_column_is_an_error(tmp_path: Path) -> None:
    table = pa.Table.from_batches([batch(0, np.arange(3))])
    with pytest.raises(StoreError, match=r"rows do not fit .*stored_bytes"):
        ledger.commit_round(tmp_path, 0, [table.drop_columns(["stored_bytes"])])
    with pytest.raises(StoreError, match=r"no columns \['byts'\] in the ledger"):
        ledger.rows(SCHEMA, edge=[1], byts=3)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full to stand for a full disk")
def test_a_full_disk_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / f".round-00000.parquet.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(StoreError, match=r"cannot be written: the disk is full; free some space"):
        ledger.commit_round(tmp_path, 0, [batch(0, np.arange(3))])
    assert ledger.committed_rounds(tmp_path) == -1


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=r"cannot be written: a folder of its path is a file"):
        ledger.commit_round(tmp_path, 0, [batch(0, np.arange(3))])


def test_errors_of_whoever_makes_the_rows_pass_through(tmp_path: Path) -> None:
    def broken() -> object:
        yield batch(0, np.arange(3))
        raise ConnectionError("worker lost")

    with pytest.raises(ConnectionError, match="worker lost"):
        ledger.commit_round(tmp_path, 0, broken())  # type: ignore[arg-type]
