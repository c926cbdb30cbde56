"""Refuses a scenario whose parts do not go together, and names the code they are made of."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path

import numpy as np

from fedsim import plugins
from fedsim.edges.side import make_columns, make_setting
from fedsim.errors import ConfigError
from fedsim.population import Population
from fedsim.scenario import ScenarioConfig


def check_parts(scenario: ScenarioConfig) -> Population:
    """Make every part of a scenario once, and one edge's streams; return the population.

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
    return population


def code_digest() -> str:
    """Return 16 hex digits that name the sources of fedsim and of all plugins' packages."""
    packages = {"fedsim", *(package for package, _ in plugins.FAMILIES.values())}
    state = hashlib.blake2b(digest_size=8)
    for package in sorted(packages):
        root = Path(str(importlib.import_module(package).__file__)).parent
        for file in sorted(root.rglob("*.py")):
            state.update(f"{package}/{file.relative_to(root)}\n".encode())
            state.update(file.read_bytes())
    return state.hexdigest()
