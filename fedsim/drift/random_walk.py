"""Random walk: an edge's interest wanders between its old and its new one, step by step."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedsim import rng
from fedsim.drift.base import ActsOn, PartialDrift, PartialDriftConfig


class RandomWalkConfig(PartialDriftConfig):
    """Options of `random_walk`."""

    step: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Longest step in a round, of the way between the two interests."""


class RandomWalk(PartialDrift):
    """Each edge's own walk with uniform steps, reflected at both ends."""

    Config = RandomWalkConfig
    acts_on: ClassVar[ActsOn] = "mixture"
    config: RandomWalkConfig

    def course(self, edges: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the walks, starting at 0 in history."""
        steps = (2 * rng.uniform(self.seed, "drift/walk", edges, self.rounds) - 1).cumsum(axis=1)
        place = np.abs((self.config.step * steps + 1) % 2 - 1)
        return np.concatenate([np.zeros((len(edges), 1)), place], axis=1).astype(np.float32)
