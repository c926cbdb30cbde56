"""Recurring drift: an edge goes to and fro between two interests.

Gama, Žliobaitė, Bifet, Pechenizkiy, Bouchachia: A survey on concept drift adaptation.
ACM Computing Surveys 46(4), 2014. https://doi.org/10.1145/2523813 (section 2.3).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fedsim.drift.base import ActsOn, PartialDrift, PartialDriftConfig
from fedsim.scenario import Count


class RecurringConfig(PartialDriftConfig):
    """Options of `recurring`."""

    every: Count = 3
    """Rounds an interest lasts; the run begins with the old one."""


class Recurring(PartialDrift):
    """Old and new mixture take turns."""

    Config = RecurringConfig
    acts_on: ClassVar[ActsOn] = "mixture"
    config: RecurringConfig

    def course(self, edges: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return 0 and 1 by turns, `every` rounds each; history is 0."""
        turn = np.maximum(np.arange(self.rounds + 1)[None] - 1, 0) // self.config.every
        return (turn % 2).astype(np.float32)
