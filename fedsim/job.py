"""One run of a study, whoever computes it: this process, one beside it, a task on a cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fedsim.display import Display
from fedsim.engine.directory import open_run_dir
from fedsim.engine.run import Run, resume
from fedsim.scenario import ScenarioConfig

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a study."""

    label: str
    seed: int
    scenario: ScenarioConfig
    path: Path

    @property
    def title(self) -> str:
        """What it is called where progress is told."""
        return f"{self.label}, seed {self.seed}"

    def finish(self) -> Run:
        """Run it, or go on with it, or find it finished.

        Raises
        ------
        FedsimError
            It failed; committed rounds are kept.
        """
        open_run_dir(self.scenario, self.path, self.label)
        return resume(self.path, scenario=self.scenario, display=Display(quiet=True))


def tell_done(tell: Tell, job: Job, left: int) -> None:
    """Tell that a job is done, and how many there are to go."""
    tell(f"{job.title}: done{f', {left} to go' if left else ''}")
