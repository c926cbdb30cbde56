"""The runs of a study in processes of this machine, beside each other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing.process import BaseProcess
from pathlib import Path

from fedsim.display import console
from fedsim.engine.run import Run
from fedsim.errors import RunError
from fedsim.job import Job, Tell, tell_done

GRACE_S = 5.0
"""How long a run's process may take to leave when it is asked to."""

LEFT = 130
"""Exit code of a process that was asked to leave."""


def side_by_side(jobs: Sequence[Job], count: int, tell: Tell) -> Iterator[tuple[Path, Run]]:
    """Spawn `count` processes; on a failure, as on Ctrl-C, end them: their runs can go on later."""
    context, before = multiprocessing.get_context("spawn"), multiprocessing.active_children()
    with ProcessPoolExecutor(count, mp_context=context, initializer=_begin) as pool:
        try:
            with _deaf():
                pending = {pool.submit(_in_process, job): job for job in jobs}
            while pending:
                finished, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in finished:
                    run = future.result()
                    job = pending.pop(future)
                    tell_done(tell, job, len(pending))
                    yield job.path, run
        except BrokenProcessPool as error:
            # Processes take jobs in this order, so no later one was begun.
            left = (job for future, job in pending.items() if future.exception() is not None)
            begun = " or ".join(f"'{job.title}'" for job in islice(left, count))
            raise RunError(
                f"the process of {begun} was killed (out of memory?); start the study again with "
                "fewer jobs: finished runs are kept, the others go on"
            ) from error
        except BaseException:
            _end({*multiprocessing.active_children()} - {*before})
            raise


@contextmanager
def _deaf() -> Iterator[None]:
    """Start processes that do not hear Ctrl-C: whoever spawns them ends them (`_end`)."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(processes: Iterable[BaseProcess]) -> None:
    """Let processes leave their runs in good order; on another Ctrl-C, or too late, kill them."""
    ended = list(processes)
    try:
        for process in ended:
            process.terminate()
        until = time.monotonic() + GRACE_S
        for process in ended:
            process.join(max(until - time.monotonic(), 0))
    finally:
        for process in ended:
            process.kill()


def _begin() -> None:
    """Draw nothing from a process of its own: the terminal is the study's. Leave when asked.

    And leave with the study, whatever ended it: a process that hears no Ctrl-C would go on.
    """
    console().quiet = True
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _leave(*_: object) -> None:
    raise SystemExit(LEFT)


def _in_process(job: Job) -> Run:
    """Finish a job; the process takes no other once it is asked to leave."""
    try:
        return job.finish()
    except SystemExit:
        os._exit(LEFT)
