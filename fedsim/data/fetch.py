"""Fetches public data sets from their official places, checked and whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import tempfile
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

from fedsim.errors import DataError, nearest

_LICENCE = (
    "{name} (c) GroupLens Research, University of Minnesota. Research use is free under these "
    "conditions: acknowledge it in publications (Harper, Konstan: The MovieLens datasets: "
    "history and context. ACM TiiS 5(4), 2015, https://doi.org/10.1145/2827872), state or imply "
    "no endorsement, do not redistribute it without permission, make no commercial use of it "
    "without permission. The full text is in its README."
)
_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Source:
    """A zip archive at its official address, the checksum its publisher gives, its files."""

    url: str
    md5: str
    files: tuple[str, ...]
    licence: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """Where a data set lies, what its licence says, and whether it was there before."""

    folder: Path
    licence: str
    was_there: bool


SOURCES = {
    "ml-100k": Source(
        "https://files.grouplens.org/datasets/movielens/ml-100k.zip",
        "0e33842e24a9c977be4e0107933c0723",
        ("u.data", "u.item", "u.genre", "u.user", "u.info", "README"),
        _LICENCE.format(name="MovieLens 100K"),
    ),
    "ml-1m": Source(
        "https://files.grouplens.org/datasets/movielens/ml-1m.zip",
        "c4d9eecfca2ab87c1945afe126590906",
        ("ratings.dat", "movies.dat", "users.dat", "README"),
        _LICENCE.format(name="MovieLens 1M"),
    ),
}


def fetch(name: str, target_dir: Path) -> Fetched:
    """Put a data set at ``target_dir / name``; nothing is done if it is there already.

    Raises
    ------
    DataError
        The name is unknown, the place cannot be reached, what came is not what was
        published, or it cannot be written.
    """
    source = SOURCES.get(name)
    if source is None:
        raise DataError(f"no data set '{name}' to fetch; {nearest(name, SOURCES)}")
    folder = target_dir / name
    if all((folder / file).is_file() for file in source.files):
        return Fetched(folder, source.licence, was_there=True)
    if folder.exists():
        raise DataError(f"{folder} exists but is not a whole {name}; remove it and fetch again")
    try:
        target_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=target_dir) as scratch:
            archive = Path(scratch) / "archive.zip"
            _download(source, archive, folder)
            _unpack(source, archive, Path(scratch) / name)
            (Path(scratch) / name).rename(folder)
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error}; name another folder") from error
    return Fetched(folder, source.licence, was_there=False)


def _download(source: Source, archive: Path, folder: Path) -> None:
    try:
        with urllib.request.urlopen(source.url, timeout=_TIMEOUT_S) as reply:
            content = reply.read()
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise DataError(
            f"cannot download {source.url}: {reason}; check the connection, or get it with "
            f"a browser and unpack it as {folder}"
        ) from error
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != source.md5:
        raise DataError(
            f"{source.url} has MD5 {found}, but {source.md5} was published; it was damaged or "
            f"replaced on the way: fetch again"
        )
    archive.write_bytes(content)


def _unpack(source: Source, archive: Path, folder: Path) -> None:
    folder.mkdir()
    with zipfile.ZipFile(archive) as content:
        members = {Path(member).name: member for member in content.namelist()}
        for file in source.files:
            if file not in members:
                raise DataError(f"{source.url} holds no '{file}'; nothing was kept")
            with content.open(members[file]) as packed, (folder / file).open("wb") as out:
                shutil.copyfileobj(packed, out)
