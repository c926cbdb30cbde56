"""Where a study is computed from, as its tasks find it, or not, on another machine."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fedsim.cache import cache_dir
from fedsim.data.reading import data_folder
from fedsim.display import console
from fedsim.engine import place as module
from fedsim.engine.directory import only_here
from fedsim.engine.place import Place, shared
from fedsim.errors import DataError, RunError


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Yield a study's place; whoever takes it leaves no trace in these tests."""
    for name in ("FEDSIM_CACHE", "FEDSIM_DATA"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(console(), "quiet", console().quiet)
    monkeypatch.setattr(module, "SEEN_S", 0.3)
    with shared(tmp_path) as place:
        yield place


def test_a_task_looks_where_the_study_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("FEDSIM_CACHE", "cache")
    monkeypatch.setenv("FEDSIM_DATA", "recorded")
    monkeypatch.setattr(console(), "quiet", False)
    with shared(tmp_path) as place:
        place = replace(place, modules=("/nowhere/mine",))
        assert place.mark.parent == tmp_path
        monkeypatch.chdir("/")
        monkeypatch.delenv("FEDSIM_DATA")
        monkeypatch.setattr(sys, "path", list(sys.path))
        with pickle.loads(pickle.dumps(place)).taken():
            assert Path.cwd() == tmp_path / "here"
            assert (cache_dir(), data_folder()) == (
                Path("cache").absolute(),
                Path.cwd() / "recorded",
            )
            assert sys.path[-1] == "/nowhere/mine"
            assert console().quiet
        assert Path.cwd() == Path("/")
    assert not place.mark.exists()


def test_a_machine_that_does_not_see_the_study_says_so(place: Place, tmp_path: Path) -> None:
    """It may have a folder of the same name, even with the same study in it."""
    wrong = (tmp_path / "gone" / place.mark.name, tmp_path / ".study-another")
    for mark in wrong:
        with (
            pytest.raises(
                RunError,
                match=rf"machine .+ does not see the study's folder {mark.parent} of machine "
                "there; name an output folder on storage that all machines of the cluster share",
            ),
            replace(place, mark=mark, machine="there").taken(),
        ):
            pass


def test_a_folder_may_be_seen_a_little_later(place: Place) -> None:
    place.mark.unlink()
    threading.Timer(0.1, place.mark.touch).start()
    with place.taken():
        assert place.mark.exists()


def test_a_machine_with_other_code_says_so(place: Place) -> None:
    with (
        pytest.raises(RunError, match="has other code of fedsim or its plugins than machine there"),
        replace(place, code="0" * 16, machine="there").taken(),
    ):
        pass


def test_a_lost_machines_lock_is_waited_for_but_not_for_ever(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, end = threading.Event(), threading.Event()

    def hold() -> None:
        with only_here(tmp_path):
            begun.set()
            end.wait(20)

    lost = threading.Thread(target=hold)
    lost.start()
    begun.wait()
    start = time.monotonic()
    monkeypatch.setattr(module, "RELEASE_S", 0.2)
    place.outwait(tmp_path)
    assert 0.2 <= time.monotonic() - start < 5
    monkeypatch.setattr(module, "RELEASE_S", 60.0)
    threading.Timer(0.2, end.set).start()
    place.outwait(tmp_path)
    assert end.is_set()
    assert time.monotonic() - start < 15
    lost.join()


def test_an_error_says_which_other_machine_it_is_of(place: Place) -> None:
    here = pickle.loads(place.pickled(DataError("no ratings.dat")))
    assert (type(here), str(here)) == (DataError, "no ratings.dat")
    assert not hasattr(here, "__notes__")
    there = pickle.loads(replace(place, machine="head").pickled(DataError("no ratings.dat")))
    assert str(there) == "no ratings.dat"
    assert [note.partition(" ")[0] for note in there.__notes__] == ["on"]
