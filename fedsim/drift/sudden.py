"""Sudden drift: from one round on, an edge has another interest.

Gama, Žliobaitė, Bifet, Pechenizkiy, Bouchachia: A survey on concept drift adaptation.
ACM Computing Surveys 46(4), 2014. https://doi.org/10.1145/2523813 (section 2.3).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fedsim.drift.base import ActsOn, Moment, PartialDrift, PartialDriftConfig, round_of


class SuddenConfig(PartialDriftConfig):
    """Options of `sudden`."""

    at: Moment = 0.5
    """First round of the new interest: a round, or a share of the run."""


class Sudden(PartialDrift):
    """The interest mixture is replaced at once."""

    Config = SuddenConfig
    acts_on: ClassVar[ActsOn] = "mixture"
    config: SuddenConfig

    def course(self, edges: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return a step from 0 to 1 at the round `at`."""
        first = round_of(self.config.at, self.rounds)
        return (np.arange(self.rounds + 1)[None] >= first).astype(np.float32)
