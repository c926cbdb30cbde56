"""Refuses a scenario whose parts do not go together, before anything is written."""

from __future__ import annotations

import numpy as np

from fedsim import plugins
from fedsim.edges.side import make_columns, make_setting
from fedsim.errors import ConfigError
from fedsim.population import Population
from fedsim.scenario import ScenarioConfig


def check_parts(scenario: ScenarioConfig) -> None:
    """Make every part of a scenario once, and one edge's streams.

    Raises
    ------
    FedsimError
        The data cannot be read, or a part does not fit the data or the strategy.
    """
    population = Population(scenario)
    population.gather(np.zeros(1, np.int64))
    wanted = scenario.evaluation.candidates
    for channel in population.channels:
        if wanted > channel.num_items:
            raise ConfigError(
                f"evaluation.candidates = {wanted}, but channel '{channel.name}' has only "
                f"{channel.num_items} items; take fewer, or 0 to rank them all"
            )
    setting = make_setting(scenario, population)
    strategy = plugins.load("strategies", scenario.strategy.name)(scenario.strategy, setting)
    for index in range(len(population.channels)):
        make_columns(strategy, index, {})
