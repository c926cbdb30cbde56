"""Writing files whole or not at all, and one clear error when a disk will not take them."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from fedsim.errors import StoreError

_MEANINGS = {
    errno.ENOSPC: ("the disk is full", "free some space"),
    errno.EDQUOT: ("the disk quota is used up", "free some space"),
    errno.EROFS: ("the disk is read-only", "choose a folder that can be written"),
    errno.EACCES: ("permission is denied", "choose a folder that can be written"),
    errno.EPERM: ("permission is denied", "choose a folder that can be written"),
    errno.ENOTDIR: ("a folder of its path is a file", "choose another folder"),
    errno.ENOENT: ("there is no {name}, and it cannot be made", "choose another folder"),
    errno.EEXIST: ("a folder of its path is a file", "choose another folder"),
}


def write_atomic(file: Path, *parts: bytes | str) -> None:
    """Write a file beside its place and move it there, so that it is whole or not there.

    Raises
    ------
    StoreError
        The disk is full or read-only; what was there before is untouched.
    """
    with replacing(file) as sink:
        for part in parts:
            sink.write(part.encode() if isinstance(part, str) else part)


@contextmanager
def locked(file: Path, *, wait: bool | float = True) -> Iterator[None]:
    """Keep other processes of this machine out, where the lock's folder takes locks.

    A killed process lets go of it. Without `wait` what another process holds is told at once;
    a number is how many seconds it is waited for.

    Raises
    ------
    filelock.Timeout
        Another process is inside, and this one is not to wait, or no longer.
    """
    lock = FileLock(file, timeout=-1 if wait is True else float(wait))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:  # an OSError, too
        raise
    except OSError:
        yield
        return
    try:
        yield
    finally:
        lock.release()


@contextmanager
def replacing(file: Path, *, sync: bool = False) -> Iterator[BinaryIO]:
    """Give a sink beside a file, which takes the file's place when all is written.

    With `sync` the file outlives a power cut from then on. What is raised inside passes on
    as it is, and nothing stays behind.

    Raises
    ------
    StoreError
        The disk is full or read-only; what was there before is untouched.
    """
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    with disk(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        raw = io.FileIO(temporary, "w")
    try:
        with _Sink(raw) as sink:
            yield sink
            sink.flush()
            if sync:
                _sync(sink.fileno(), file)
        with disk(file):
            temporary.replace(file)
    except BaseException:
        _forget(temporary)
        raise
    if sync:
        with disk(file):
            folder = os.open(file.parent, os.O_RDONLY)
            try:
                _sync(folder, file)
            finally:
                os.close(folder)


def settle() -> None:
    """Put on disk what has been written on this machine so far, by whatever process.

    One call, however many files: some milliseconds for hundreds of small ones. Others' unwritten
    data is waited for too, and other machines' is not known here.
    """
    os.sync()


@contextmanager
def disk(file: Path, asked: str = "written") -> Iterator[None]:
    """Turn what a disk refuses inside into the error that tells what and what to do.

    `asked` says what was to be done with the file.

    Raises
    ------
    StoreError
        Instead of any OSError.
    """
    try:
        yield
    except OSError as error:
        default = (error.strerror or str(error), "mend the folder")
        meaning, fix = _MEANINGS.get(error.errno or 0, default)
        why = meaning.replace("{name}", str(error.filename))
        raise StoreError(f"{file}: cannot be {asked}: {why}; {fix}, then go on") from error


class _Sink(io.BufferedWriter):
    """A file whose own failures are StoreErrors, unlike those of whoever makes its content."""

    def write(self, data: Any) -> int:
        with disk(Path(os.fsdecode(self.raw.name))):  # type: ignore[attr-defined]
            return super().write(data)

    def flush(self) -> None:
        with disk(Path(os.fsdecode(self.raw.name))):  # type: ignore[attr-defined]
            super().flush()


def _sync(descriptor: int, file: Path) -> None:
    with disk(file):
        os.fsync(descriptor)


def _forget(file: Path) -> None:
    try:
        file.unlink()
    except OSError:
        return
