"""Ask in every round."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedsim.policies.base import Policy, Situation


class Always(Policy):
    """Every edge asks in every round."""

    def requests(self, situation: Situation) -> NDArray[np.bool_]:
        return np.ones(len(situation.waited), np.bool_)
