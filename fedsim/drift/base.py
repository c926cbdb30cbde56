"""What a drift is: how far each edge's interest has moved, round by round."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedsim import split
from fedsim.errors import ConfigError
from fedsim.plugins import Options, Plugin
from fedsim.scenario import Fraction, ScenarioConfig
from fedsim.slices import ChannelStreams

Moment = Annotated[int, Field(ge=1)] | Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""A round (an integer from 1) or a share of the run (a float from 0 to 1)."""

ActsOn = Literal["nothing", "mixture", "stream"]
"""What a drift changes: nothing, the mixtures streams are made from, recorded streams."""

Cut = Callable[[NDArray[np.int64]], tuple[ChannelStreams, ...]]
"""Gives the plain streams, per channel, of any edges."""


class Drift(Plugin):
    """A process that moves interests; made as ``Drift(config, scenario, num_edges)``.

    A drift that acts on the "mixture" moves the interest mixtures streams are generated
    from; one that acts on the "stream" rewrites recorded streams.
    """

    acts_on: ClassVar[ActsOn]

    def __init__(self, config: Options, scenario: ScenarioConfig, num_edges: int) -> None:
        self.seed = scenario.seed
        self.rounds = scenario.rounds
        self.num_edges = num_edges

    @abstractmethod
    def weights(self, edges: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return each edge's share of its new interest, float32 (B, R + 1); column 0 is history."""

    def rewrite(
        self,
        edges: NDArray[np.int64],
        parts: tuple[ChannelStreams, ...],
        cut: Cut,
        interests: tuple[NDArray[np.float32], ...],
    ) -> tuple[ChannelStreams, ...]:
        """Return the edges' streams after the drift; only a drift on the stream changes them.

        `parts` are their plain streams per channel, `cut` gives those of other edges,
        `interests` is each channel's item interests (V + 1, G).
        """
        return parts


class PartialDriftConfig(Options):
    """Options of every drift that moves some edges."""

    fraction: Fraction = 0.5
    """Share of edges that drift; which ones is fixed by the seed."""


class PartialDrift(Drift):
    """A drift that takes exactly a `fraction` of the edges along one course."""

    Config = PartialDriftConfig

    def __init__(
        self, config: PartialDriftConfig, scenario: ScenarioConfig, num_edges: int
    ) -> None:
        super().__init__(config, scenario, num_edges)
        self.config = config

    @abstractmethod
    def course(self, edges: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the share of the new interest of edges that drift, over the run.

        float32 (B, R + 1), or (1, R + 1) where it is the same for all; from 0 to 1; column 0
        is history.
        """

    def drifts(self, edges: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which edges drift at all, bool (B)."""
        return split.chosen(self.seed, "drift", edges, self.num_edges, self.config.fraction)

    def weights(self, edges: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the course for edges that drift and zeros for the others."""
        return self.drifts(edges)[:, None] * self.course(edges)


def round_of(moment: int | float, rounds: int) -> int:
    """Return the round that begins at a moment; at the end of the run, one past the last.

    >>> round_of(3, 10), round_of(0.5, 10), round_of(1.0, 10)
    (3, 6, 11)
    """
    if isinstance(moment, int) and moment > rounds:
        raise ConfigError(
            f"drift at round {moment}, but the run has {rounds} rounds; name an earlier one, or "
            f"a share of the run such as 0.5"
        )
    return moment if isinstance(moment, int) else int(np.floor(moment * rounds)) + 1
