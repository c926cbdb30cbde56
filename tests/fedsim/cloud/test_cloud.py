"""The desk's helpers: spool, order, averaging, controls, majority."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from fedsim.answers import majority_row
from fedsim.cloud import controls
from fedsim.cloud.federated import mean_updates
from fedsim.cloud.spool import Spool
from fedsim.codecs.base import Column
from fedsim.display import Display
from fedsim.engine.run import run
from fedsim.errors import StoreError
from fedsim.layout import Layer, Layout
from fedsim.population import Population
from tests.studies import tiny


def test_a_spool_gives_back_what_a_cell_sent_last(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.put(1, {"a": np.arange(3)})
    spool.put(0, {"a": np.arange(2.0), "b": np.array([True])})
    spool.put(1, {"a": np.arange(4)})
    assert len(spool) == 2
    assert spool.get(1)["a"].tolist() == [0, 1, 2, 3]
    assert spool.get(0)["b"].tolist() == [True]
    assert not list(tmp_path.iterdir()), "the file must go with the process"


def test_a_spool_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.put(0, {"a": np.arange(3)})
    with open(os.devnull, "wb") as sink:
        os.dup2(sink.fileno(), spool._file.fileno())
    with pytest.raises(StoreError, match=r"uploads: cannot be read: Bad file descriptor; mend"):
        spool.get(0)
    spool.close()


class Obstructed(Display):
    """Puts a folder where the cloud kept what it had learnt after round 1."""

    def round(self, round: int, metrics: Mapping[str, float]) -> None:
        if round == 1 and self.path:
            (file,) = self.path.rglob("learnt-r0001.safetensors")
            file.unlink()
            file.mkdir()


def test_state_that_cannot_be_deleted_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"learnt-r0001.safetensors: cannot be deleted: .*; mend"):
        run(tiny("full_download"), out=tmp_path, display=Obstructed(quiet=True))


def test_updates_are_averaged_by_examples() -> None:
    cells = [
        {"0.examples": np.array([1.0]), "0.mean.w": np.array([0.0, 4.0], np.float32)},
        {"0.examples": np.array([0.0]), "0.mean.w": np.array([9.0, 9.0], np.float32)},
        {"0.examples": np.array([3.0]), "0.mean.w": np.array([4.0, 0.0], np.float32)},
    ]
    assert mean_updates(0, iter(cells))["w"] == pytest.approx([3.0, 1.0])
    assert mean_updates(1, iter(cells)) == {}


def test_a_majority_keeps_what_most_keep() -> None:
    layout = Layout((Layer("a", 2, 4), Layer("b", 1, 4)))
    bits = np.array(
        [
            [1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
            [1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0],
            [1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0],
        ],
        np.uint8,
    )
    packed = np.packbits(bits, axis=1, bitorder="little")
    row = majority_row(Column("mask", "mask", layout), packed)
    found = np.unpackbits(row, axis=1, count=12, bitorder="little")
    assert found.tolist() == [[1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]]


def test_controls_sample_as_many_edges_as_asked() -> None:
    scenario = tiny("diet", **{"controls.edges": 15})
    cells = controls.sampled_cells(scenario, Population(scenario))
    assert len(cells) == 2
    assert len(controls.sample_of(scenario, 20, 10)) == 8
    assert controls.sample_of(scenario, 20, 10).tolist()[0] == 0
    everybody = tiny("diet", **{"controls.edges": 24})
    assert [len(controls.sample_of(everybody, 24, count)) for count in (10, 10, 4)] == [10, 10, 4]


def test_controls_do_not_depend_on_how_edges_are_dealt_to_cells(tmp_path: Path) -> None:
    sums = []
    for size in (1, 24):
        scenario = tiny("diet", **{"controls.edges": 24, "population.cell_size": size})
        found = run(scenario, out=tmp_path / str(size)).controls
        assert set(found.kind) == {"own", "lag1", "lag5", "other", "majority"}
        sums.append(found.groupby(["round", "kind"])[["targets", "hit_10"]].sum())
    assert sums[0].equals(sums[1])
