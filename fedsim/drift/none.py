"""No drift: interests stay what they are."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fedsim.drift.base import ActsOn, Drift


class NoDrift(Drift):
    """Streams as they were recorded or generated."""

    acts_on: ClassVar[ActsOn] = "nothing"

    def weights(self, edges: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return zeros."""
        return np.zeros((len(edges), self.rounds + 1), np.float32)
