"""Ask when interests have drifted since the last request."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedsim.divergence import jensen_shannon
from fedsim.plugins import Options
from fedsim.policies.base import Policy, Situation


class OnDriftConfig(Options):
    """Options of `OnDrift`."""

    threshold: Annotated[float, Field(ge=0, le=1)] = 0.25
    """Jensen-Shannon divergence (bits, 0 to 1) above which an edge asks."""


class OnDrift(Policy):
    """An edge asks at first, then when what it would upload differs enough in interests."""

    Config = OnDriftConfig
    config: OnDriftConfig

    def requests(self, situation: Situation) -> NDArray[np.bool_]:
        recent, asked = situation.recent.astype(np.float64), situation.asked.astype(np.float64)
        drifted = jensen_shannon(recent, asked) > self.config.threshold
        return (situation.waited < 0) | drifted
