"""The place a study is computed from, found again by its tasks on the machines of a cluster."""

from __future__ import annotations

import os
import pickle
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import chdir, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from filelock import Timeout

from fedsim.cache import cache_dir
from fedsim.data.reading import DATA_VARIABLE, data_folder
from fedsim.display import console
from fedsim.engine.directory import LOCK
from fedsim.engine.parts import code_digest
from fedsim.errors import FedsimError, RunError
from fedsim.files import locked, write_atomic
from fedsim.plugins import look_in

SEEN_S = 10.0
"""How long a new file may take to be seen on other machines."""

RELEASE_S = 100.0
"""How long shared storage may keep the locks of a machine that is lost: NFS does for 90 s."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a study is computed from: what its tasks must find, and are told."""

    machine: str
    mark: Path
    """A file of the study's folder that is there as long as the study."""
    code: str
    """Names the sources (`code_digest`)."""
    working: Path
    """The working directory, which data and plugins may be named from."""
    modules: tuple[str, ...]
    """Folders that modules are imported from."""
    environment: tuple[tuple[str, str], ...]
    """What fedsim reads of the environment."""

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Be in this place, from whatever machine: draw nothing, look where it looks.

        Raises
        ------
        RunError
            This machine does not see the study's folder, or has other code.
        """
        console().quiet = True
        os.environ.update(self.environment)
        look_in(self.modules)
        with chdir(self.working) if self.working.is_dir() else nullcontext():
            self._check()
            yield

    def _check(self) -> None:
        here, until = socket.gethostname(), time.monotonic() + SEEN_S
        while not _sees(self.mark):
            if time.monotonic() >= until:
                raise RunError(
                    f"machine {here} does not see the study's folder {self.mark.parent} of machine "
                    f"{self.machine}; name an output folder on storage that all machines of the "
                    "cluster share, under the same path"
                )
            time.sleep(0.2)
        if code_digest() != self.code:
            raise RunError(
                f"machine {here} has other code of fedsim or its plugins than machine "
                f"{self.machine}; install the same on all machines of the cluster"
            )

    def outwait(self, run_dir: Path) -> None:
        """Wait, but not for ever, until a lost machine's lock of a run is let go of."""
        with suppress(Timeout), locked(run_dir / LOCK, wait=RELEASE_S):
            pass

    def pickled(self, error: Exception) -> bytes:
        """Return an error for the study's process, where its text and type are the same.

        Noted in it are the machine, if it is another, and where an unforeseen one comes from.
        One that cannot be pickled becomes a RunError that names it.
        """
        notes = [] if isinstance(error, FedsimError) else [traceback.format_exc()]
        if (here := socket.gethostname()) != self.machine:
            notes.append(f"on machine {here}")
        for note in notes:
            error.add_note(note)
        try:
            pickled = pickle.dumps(error)
            pickle.loads(pickled)
        except Exception:
            plain = RunError(f"{type(error).__name__}: {error}")
            for note in notes:
                plain.add_note(note)
            return pickle.dumps(plain)
        return pickled


@contextmanager
def shared(folder: Path) -> Iterator[Place]:
    """Yield this place, and mark a study's folder meanwhile, for others to see that it is this.

    Raises
    ------
    StoreError
        The folder cannot be written.
    """
    mark = folder / f".study-{uuid4().hex}"
    write_atomic(mark)
    try:
        yield Place(
            machine=socket.gethostname(),
            mark=mark,
            code=code_digest(),
            working=Path.cwd(),
            modules=tuple(filter(None, sys.path)),
            environment=(
                ("FEDSIM_CACHE", str(cache_dir().absolute())),
                (DATA_VARIABLE, str(data_folder().absolute())),
            ),
        )
    finally:
        mark.unlink(missing_ok=True)


def _sees(mark: Path) -> bool:
    """Tell whether a file is there; its folder is read, for what is known of it may be old."""
    try:
        return mark.name in os.listdir(mark.parent)
    except OSError:
        return False
