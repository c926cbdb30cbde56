"""Ask every k rounds."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedsim.plugins import Options
from fedsim.policies.base import Policy, Situation


class EveryKConfig(Options):
    """Options of `EveryK`."""

    k: Annotated[int, Field(ge=1)] = 5
    """Rounds between two requests."""


class EveryK(Policy):
    """An edge asks at first, then whenever `k` rounds have passed."""

    Config = EveryKConfig
    config: EveryKConfig

    def requests(self, situation: Situation) -> NDArray[np.bool_]:
        return (situation.waited < 0) | (situation.waited >= self.config.k)
