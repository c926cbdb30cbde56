"""The runs of a study as Ray tasks, on a cluster or on a Ray of this machine.

A task has one core and computes one run as it would be computed here, in process. What a run
keeps lies in the study's folder, which all machines of the cluster share, so a task that is
lost with its process or machine is begun again elsewhere and goes on from its run's last
committed round. The lock of a run (`only_here`) keeps a task that was only thought to be lost
from computing beside its successor.
"""

from __future__ import annotations

import pickle
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayError, WorkerCrashedError

from fedsim.cores import usable_cores
from fedsim.engine.cluster import OBJECT_STORE_BYTES, start_ray, stop_ray
from fedsim.engine.place import Place, shared
from fedsim.engine.run import Run
from fedsim.engine.workers import cause_of
from fedsim.errors import RunError
from fedsim.job import Job, Tell, tell_done
from fedsim.scenario import EngineConfig

GRACE_S = 5.0
"""How long tasks may take to leave their runs when they are asked to."""

MAX_LOSSES = 3
"""Processes that may be lost on a run before it is given up."""

LOST = (WorkerCrashedError, OutOfMemoryError, NodeDiedError)
"""What Ray says of a task whose process or machine is gone."""


@contextmanager
def ray_at(address: str, jobs: int | None, runs: int) -> Iterator[None]:
    """Make Ray ready for the runs of a study, at most `jobs` of them side by side.

    A Ray that is started for them ends with them; one that this process runs already is used.

    Raises
    ------
    RunError
        No cluster answers at `address`.
    """
    here = address == "local" and not ray.is_initialized()
    cores = min(jobs or usable_cores(), runs) if here else 1
    started = start_ray(cores, address, OBJECT_STORE_BYTES)
    try:
        yield
    finally:
        if started:
            stop_ray()


def on_ray(jobs: Sequence[Job], count: int, tell: Tell) -> Iterator[tuple[Path, Run]]:
    """Finish jobs as tasks; on a failure, as on Ctrl-C, end them: their runs can go on later.

    Ray is given `count` of them at a time, and computes as many as it has cores.

    Raises
    ------
    FedsimError
        A run failed, or its processes were lost too often; all others can go on later.
    """
    with shared(jobs[0].path.parent) as place:
        tasks = _Tasks(place, jobs, count)
        try:
            while tasks.left:
                if job := tasks.next(tell):
                    tell_done(tell, job, tasks.left)
                    yield job.path, Run(job.path)
        except BaseException:
            _end(tasks.pending)
            raise


class _Tasks:
    """Jobs that wait for their task, and tasks that are computed, at most `count` at a time."""

    def __init__(self, place: Place, jobs: Iterable[Job], count: int) -> None:
        self.pending: dict[ray.ObjectRef[Any], Job] = {}
        self._place, self._count = place, count
        self._waiting = deque(jobs)
        self._losses: Counter[Path] = Counter()

    @property
    def left(self) -> int:
        """Jobs that are not finished."""
        return len(self._waiting) + len(self.pending)

    def next(self, tell: Tell) -> Job | None:
        """Begin what may begin, wait for a task, and return its job; None if the task is lost.

        A lost one is told, and is the next to begin again.

        Raises
        ------
        FedsimError
            The run failed, its processes were lost too often, or Ray cannot compute it.
        """
        while self._waiting and len(self.pending) < self._count:
            self._begin(self._waiting.popleft())
        (ref, *_), _ = ray.wait(list(self.pending), num_returns=1)
        job = self.pending[ref]
        try:
            raised = ray.get(ref)
        except LOST as error:
            self._note_loss(job, error)
            tell(f"{job.title}: its process was lost; it goes on from its last committed round")
            self._waiting.appendleft(self.pending.pop(ref))
            return None
        except RayError as error:
            raise RunError(
                f"{job.title}: cannot be computed on Ray ({cause_of(error)}); see that all "
                "machines of the cluster have the same fedsim and packages"
            ) from error
        del self.pending[ref]
        if raised is not None:
            raise pickle.loads(raised)
        return job

    def _begin(self, job: Job) -> None:
        # Ray's own retries would neither be told nor, out of memory, be bounded.
        job_here = replace(job, scenario=job.scenario.model_copy(update={"engine": EngineConfig()}))
        task = ray.remote(_compute).options(
            name=job.title, num_cpus=1, max_retries=0, scheduling_strategy="SPREAD"
        )
        again = self._losses[job.path] > 0
        pickled = cloudpickle.dumps(job_here)  # type: ignore[no-untyped-call]
        self.pending[task.remote(self._place, pickled, again)] = job

    def _note_loss(self, job: Job, error: RayError) -> None:
        self._losses[job.path] += 1
        if self._losses[job.path] == MAX_LOSSES:
            raise RunError(
                f"{job.title}: given up after {MAX_LOSSES} processes were lost on it, the last "
                f"with {cause_of(error)} (out of memory?); give the command again, with fewer "
                "jobs: finished runs are kept, the others go on"
            ) from error


def _compute(place: Place, pickled: bytes, again: bool) -> bytes | None:
    """Finish a job in a task; return what it raised, pickled.

    Raised, it would come in the guise of an error of Ray.
    """
    try:
        with place.taken():
            job: Job = cloudpickle.loads(pickled)
            if again:
                place.outwait(job.path)
            job.finish()
    except Exception as error:
        return place.pickled(error)
    return None


def _end(tasks: Iterable[ray.ObjectRef[Any]]) -> None:
    """Let tasks leave their runs in good order, and kill those that take too long.

    On another Ctrl-C none is killed here: Ray aborts this process if a task ends just when it is
    cancelled, and kills what is left of them once this process or its Ray ends.
    """
    ended = list(tasks)
    for task in ended:
        ray.cancel(task)
    if ended:
        late = ray.wait(ended, num_returns=len(ended), timeout=GRACE_S)[1]
        for task in late:
            ray.cancel(task, force=True)
