"""Controls that tell whether it is the edge's own, fresh answer that helps.

The same edges are served with their own fresh answer, their answer of some interactions ago,
another edge's, and the majority's. What travels for this is measured, not booked.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.arrays import Named
from fedsim.population import Population
from fedsim.scenario import ScenarioConfig
from fedsim.setting import Arrays, Uploads
from fedsim.strategy import EdgeCloudStrategy


def due(scenario: ScenarioConfig, strategy: EdgeCloudStrategy, round: int) -> bool:
    """Tell whether the controls are measured in a round."""
    every = scenario.controls.every
    return strategy.personalises and bool(every) and (round == 1 or round % every == 0)


def sampled_cells(scenario: ScenarioConfig, population: Population) -> frozenset[int]:
    """Return the cells whose edges are measured: enough for the sample, fixed by the seed."""
    size = scenario.population.cell_size
    wanted = min(-(-scenario.controls.edges // size), population.num_cells)
    order = rng.generator(scenario.seed, "controls").permutation(population.num_cells)
    return frozenset(int(cell) for cell in order[:wanted])


def sample_of(scenario: ScenarioConfig, cells: int, count: int) -> NDArray[np.int64]:
    """Return positions in a sampled cell, evenly spread over its edges."""
    share = min(-(-scenario.controls.edges // max(cells, 1)), count)
    return np.unique(np.linspace(0, count - 1, share).astype(np.int64))


def answers(
    scenario: ScenarioConfig, strategy: EdgeCloudStrategy, round: int, sent: Named
) -> Named:
    """Return the control rows of a sampled cell, ``C.control.KIND.COLUMN`` for ``C.sample``."""
    out: Named = {}
    wanted = -(-scenario.controls.edges // scenario.population.cell_size)
    sample = sample_of(scenario, wanted, len(sent["names"]))
    for c in range(len(strategy.setting.channels)):
        out[f"{c}.sample"] = sample
        for kind, rows in _kinds(scenario, strategy, c, round, sent, sample).items():
            out |= {f"{c}.control.{kind}.{name}": row for name, row in rows.items()}
    return out


def _kinds(
    scenario: ScenarioConfig,
    strategy: EdgeCloudStrategy,
    channel: int,
    round: int,
    sent: Named,
    sample: NDArray[np.int64],
) -> dict[str, Arrays]:
    names = sent["names"][sample]

    def at(lag: int) -> Arrays:
        windows = sent[f"{channel}.lag{lag}"][sample]
        return strategy.answer(channel, Uploads(names, windows), round)

    own = at(0)
    kinds: dict[str, Arrays] = {"own": own}
    kinds |= {f"lag{lag}": at(lag) for lag in scenario.controls.lags}
    if len(sample) > 1:
        kinds["other"] = {name: np.roll(row, 1, axis=0) for name, row in own.items()}
    kinds["majority"] = strategy.majority(channel, own)
    return kinds
