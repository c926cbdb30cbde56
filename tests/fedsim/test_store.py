from __future__ import annotations

import errno
import os
import zlib
from pathlib import Path

import numpy as np
import pytest

from fedsim.errors import StoreError
from fedsim.ragged import Ragged
from fedsim.store import CellStore, version_path


def filled(folder: Path) -> CellStore:
    store = CellStore(folder, 12, 3, 2)
    store.put(0, np.array([0, 2]), Ragged.of([b"first", b"third"]))
    store.put(1, np.arange(3), Ragged.of([b"for all"]))
    store.state["tokens"] = np.array([1.5, 2.5, 3.5])
    return store


def held(store: CellStore, channel: int) -> list[bytes]:
    records = store.records(channel)
    return [records.row(edge) for edge in range(len(records))]


def test_a_store_starts_empty(tmp_path: Path) -> None:
    store = CellStore(tmp_path, 0, 2, 3)
    assert store.stored_bytes().tolist() == [[0, 0, 0], [0, 0, 0]]
    assert held(store, 2) == [b"", b""]


def test_what_is_put_replaces_what_was_held(tmp_path: Path) -> None:
    store = filled(tmp_path)
    assert held(store, 0) == [b"first", b"", b"third"]
    store.put(0, np.array([2, 1]), Ragged.of([b"3", b"2nd"]))
    assert held(store, 0) == [b"first", b"2nd", b"3"]
    assert store.stored_bytes().tolist() == [[5, 7], [3, 7], [1, 7]]


def test_every_edge_holds_what_all_share_but_the_disk_one_copy(tmp_path: Path) -> None:
    store = CellStore(tmp_path, 0, 256, 1)
    store.put(0, np.arange(256), Ragged.of([b"x" * 10_000]))
    assert store.stored_bytes().sum() == 2_560_000
    assert store.save(0).stat().st_size < 20_000
    records, which = CellStore.open(tmp_path, 0, 0).distinct(0)
    assert records.sizes.tolist() == [0, 10_000]
    assert set(which.tolist()) == {1}


def test_records_nobody_holds_are_forgotten(tmp_path: Path) -> None:
    store = CellStore(tmp_path, 0, 2, 1)
    for round in range(5):
        store.put(0, np.array([0]), Ragged.of([b"%d" % round]))
    assert len(store.distinct(0)[0]) == 2
    assert held(store, 0) == [b"4", b""]


def test_a_saved_round_comes_back_and_goes_on(tmp_path: Path) -> None:
    store = filled(tmp_path)
    assert store.save(3) == tmp_path / "cell-000012-r0003.bin"
    store.put(0, np.array([0]), Ragged.of([b"newer"]))
    store.save(4)
    back = CellStore.open(tmp_path, 12, 3)
    assert held(back, 0) == [b"first", b"", b"third"]
    assert held(back, 1) == [b"for all"] * 3
    assert back.state["tokens"].tolist() == [1.5, 2.5, 3.5]
    back.put(0, np.array([1]), Ragged.of([b"second"]))
    back.state["tokens"][0] = 0
    assert held(back, 0) == [b"first", b"second", b"third"]
    assert held(CellStore.open(tmp_path, 12, 4), 0) == [b"newer", b"", b"third"]


def test_the_same_store_makes_the_same_bytes(tmp_path: Path) -> None:
    paths = [filled(tmp_path / name).save(0) for name in ("a", "b")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_old_rounds_are_kept_until_dropped(tmp_path: Path) -> None:
    store = filled(tmp_path)
    for round in range(4):
        store.save(round)
    store.drop_before(2)
    store.drop_before(2)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["cell-000012-r0002.bin", "cell-000012-r0003.bin"]


def test_a_round_that_was_not_kept_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"r0007.bin: round 7 of cell 12 was not kept"):
        CellStore.open(tmp_path, 12, 7)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_file_is_told(tmp_path: Path, damage: str) -> None:
    path = filled(tmp_path).save(1)
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    path.write_bytes({"cut": bytes(data[:-3]), "flip": bytes(data), "empty": b""}[damage])
    match = r"r0001.bin: is damaged: .*delete the ledger's file of that round if it is the last"
    with pytest.raises(StoreError, match=match):
        CellStore.open(tmp_path, 12, 1)


def test_a_whole_file_of_something_else_is_told(tmp_path: Path) -> None:
    text = b"no archive"
    path = version_path(tmp_path, 12, 1)
    path.write_bytes(zlib.crc32(text).to_bytes(4, "little") + text)
    with pytest.raises(StoreError, match="is no store of this fedsim"):
        CellStore.open(tmp_path, 12, 1)


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, "the disk is full; free some space, then go on"),
        (errno.EROFS, "the disk is read-only; choose a folder that can be written"),
        (errno.EACCES, "permission is denied; choose a folder that can be written"),
        (errno.EIO, "Input/output error; mend the folder"),
    ],
)
def test_a_disk_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, told: str
) -> None:
    store = filled(tmp_path)
    store.save(1)

    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(StoreError, match=f"r0002.bin: cannot be written: {told}"):
        store.save(2)
    assert [path.name for path in tmp_path.iterdir()] == ["cell-000012-r0001.bin"]


def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("no folder")
    with pytest.raises(StoreError, match=r"cell-000000-r0000.bin: cannot be written: "):
        CellStore(tmp_path / "store", 0, 1, 1).save(0)


def test_records_for_other_edges_are_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="2 records for 3 edges of cell 12; give one each"):
        filled(tmp_path).put(0, np.arange(3), Ragged.of([b"a", b"b"]))
