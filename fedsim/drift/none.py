"""No drift: interests stay what they are."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from fedsim.drift.base import Drift


class NoDrift(Drift):
    """Streams as they were recorded or generated."""

    acts_on: ClassVar[Literal["nothing", "mixture", "stream"]] = "nothing"

    def weights(self, edges: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return zeros."""
        return np.zeros((len(edges), self.rounds + 1), np.float32)
