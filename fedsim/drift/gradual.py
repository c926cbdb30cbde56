"""Gradual drift: the old interest gives way to the new one over some rounds.

Gama, Žliobaitė, Bifet, Pechenizkiy, Bouchachia: A survey on concept drift adaptation.
ACM Computing Surveys 46(4), 2014. https://doi.org/10.1145/2523813 (section 2.3).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fedsim.drift.base import ActsOn, Moment, PartialDrift, PartialDriftConfig, round_of
from fedsim.errors import ConfigError


class GradualConfig(PartialDriftConfig):
    """Options of `gradual`."""

    start: Moment = 0.25
    """First round with some of the new interest: a round, or a share of the run."""
    end: Moment = 0.75
    """First round with nothing left of the old one."""


class Gradual(PartialDrift):
    """The mixture moves in equal steps."""

    Config = GradualConfig
    acts_on: ClassVar[ActsOn] = "mixture"
    config: GradualConfig

    def course(self, edges: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return a ramp from 0 before `start` to 1 at `end`."""
        first = round_of(self.config.start, self.rounds)
        last = round_of(self.config.end, self.rounds)
        if first > last:
            raise ConfigError(
                f"drift.start = {self.config.start} is after drift.end = {self.config.end} in a "
                f"run of {self.rounds} rounds; swap them"
            )
        steps = (np.arange(self.rounds + 1)[None] - first + 1) / (last - first + 1)
        return np.clip(steps, 0, 1).astype(np.float32)
