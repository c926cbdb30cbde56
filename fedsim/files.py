"""Writing files whole or not at all, with one clear error when a disk will not take them."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from fedsim.errors import StoreError


def write_atomic(file: Path, data: bytes | str) -> None:
    """Write a file beside its place and move it there.

    Raises
    ------
    StoreError
        The disk is full or read-only; what was there before is untouched.
    """
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)
        temporary.replace(file)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise disk_error(file, error) from error


def disk_error(file: Path, error: OSError) -> StoreError:
    """Return the error that tells what a disk refused and what to do."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    fix = "free some space and resume" if full else "choose a folder you can write to"
    return StoreError(f"cannot write {file}: {error.strerror or error}; {fix}")
