from __future__ import annotations

import hashlib
import io
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from fedsim.data import fetch as module
from fedsim.data.fetch import SOURCES, Source, fetch
from fedsim.errors import DataError


def archive(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, text in files.items():
            packed.writestr(f"folder/{name}", text)
    return buffer.getvalue()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a small archive named 'tiny' is published."""
    file = tmp_path / "tiny.zip"
    file.write_bytes(archive(a="one", b="two", c="not wanted"))
    md5 = hashlib.md5(file.read_bytes()).hexdigest()
    source = Source(file.as_uri(), md5, ("a", "b"), "be kind")
    monkeypatch.setattr(module, "SOURCES", {"tiny": source})
    return file


def test_files_are_unpacked_once(place: Path, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "data"
    first = fetch("tiny", target)
    assert first.folder == target / "tiny"
    assert first.licence == "be kind"
    assert not first.was_there
    assert {f.name: f.read_text() for f in first.folder.iterdir()} == {"a": "one", "b": "two"}
    place.unlink()
    assert fetch("tiny", target).was_there


def test_a_damaged_archive_leaves_nothing(place: Path, tmp_path: Path) -> None:
    place.write_bytes(place.read_bytes() + b"!")
    with pytest.raises(DataError, match=r"has MD5 \w+, but \w+ was published; .* fetch again"):
        fetch("tiny", tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_being_offline_is_said(place: Path, tmp_path: Path) -> None:
    place.unlink()
    with pytest.raises(DataError, match=r"cannot download .*tiny\.zip: .*; check the connection"):
        fetch("tiny", tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


class BreaksOff(BaseHTTPRequestHandler):
    """Promises a hundred bytes and hangs up after four."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"half")

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_download_that_breaks_off_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HTTPServer(("127.0.0.1", 0), BreaksOff) as server:
        source = Source(f"http://127.0.0.1:{server.server_port}/tiny.zip", "", ("a",), "")
        monkeypatch.setattr(module, "SOURCES", {"tiny": source})
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        thread = Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(DataError, match=r"cannot download .*96 more expected.*; check the"):
            fetch("tiny", tmp_path / "data")
        thread.join()
    assert list((tmp_path / "data").iterdir()) == []


def test_an_archive_without_a_file_leaves_nothing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    md5 = hashlib.md5(place.read_bytes()).hexdigest()
    source = Source(place.as_uri(), md5, ("a", "z"), "")
    monkeypatch.setattr(module, "SOURCES", {"tiny": source})
    with pytest.raises(DataError, match="holds no 'z'; nothing was kept"):
        fetch("tiny", tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_half_a_data_set_is_not_taken_for_whole(place: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "tiny").mkdir(parents=True)
    (tmp_path / "data" / "tiny" / "a").write_text("one")
    with pytest.raises(DataError, match="not a whole tiny; remove it and fetch again"):
        fetch("tiny", tmp_path / "data")


def test_a_place_that_cannot_be_written_is_said(place: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*; name another folder"):
        fetch("tiny", tmp_path / "file")


def test_an_unknown_name_is_named_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"no data set 'ml-10k' to fetch; did you mean 'ml-100k'"):
        fetch("ml-10k", Path("data"))


def test_sources_are_official_and_say_their_licence() -> None:
    for name, source in SOURCES.items():
        assert source.url == f"https://files.grouplens.org/datasets/movielens/{name}.zip"
        assert len(source.md5) == 32
        assert "do not redistribute" in source.licence
