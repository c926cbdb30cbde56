"""When an edge asks the cloud for a fresh answer."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedsim.plugins import Options, Plugin
from fedsim.scenario import ScenarioConfig


@dataclass(frozen=True, slots=True)
class Situation:
    """What B edges know about one channel before a round.

    `recent` is float32 (B, G), the interest histogram of the items an edge would upload;
    `asked` the same histogram when it last asked (zeros if never); `waited` is how many rounds
    ago that was (1: the round before), int32 (B), and -1 for an edge that has never asked.
    """

    round: int
    recent: NDArray[np.float32]
    asked: NDArray[np.float32]
    waited: NDArray[np.int32]


class Policy(Plugin):
    """Decides for many edges at once; made as ``Policy(config, scenario)``."""

    Config = Options

    def __init__(self, config: Options, scenario: ScenarioConfig) -> None:
        self.config, self.scenario = config, scenario

    @abstractmethod
    def requests(self, situation: Situation) -> NDArray[np.bool_]:
        """Return which edges ask now, bool (B)."""
