"""Writing files whole or not at all, and one clear error when a disk will not take them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedsim.errors import StoreError

_MEANINGS = {
    errno.ENOSPC: ("the disk is full", "free some space"),
    errno.EDQUOT: ("the disk quota is used up", "free some space"),
    errno.EROFS: ("the disk is read-only", "choose a folder that can be written"),
    errno.EACCES: ("permission is denied", "choose a folder that can be written"),
    errno.EPERM: ("permission is denied", "choose a folder that can be written"),
    errno.ENOTDIR: ("a folder of its path is a file", "choose another folder"),
    errno.EEXIST: ("a folder of its path is a file", "choose another folder"),
}


def write_atomic(file: Path, *parts: bytes | str) -> None:
    """Write a file beside its place and move it there, so that it is whole or not there.

    Raises
    ------
    StoreError
        The disk is full or read-only; what was there before is untouched.
    """
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    with disk(file):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as sink:
                for part in parts:
                    sink.write(part.encode() if isinstance(part, str) else part)
            temporary.replace(file)
        except OSError:
            _forget(temporary)
            raise


@contextmanager
def disk(file: Path) -> Iterator[None]:
    """Turn what a disk refuses inside into the error that tells what and what to do.

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
        raise StoreError(f"{file}: cannot be written: {meaning}; {fix}, then resume") from error


def _forget(file: Path) -> None:
    try:
        file.unlink()
    except OSError:
        return
