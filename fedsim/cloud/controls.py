"""Controls that tell whether it is the edge's own, fresh answer that helps.

The same edges are served with their own fresh answer, their answer of some interactions ago,
another edge's, and the majority's. What travels for this is measured, not booked.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.arrays import Named
from fedsim.cloud import hooks
from fedsim.memory import Memory
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


def sample_of(scenario: ScenarioConfig, edges: int, count: int) -> NDArray[np.int64]:
    """Return positions in a cell of `count` edges, evenly spread.

    `edges` is how many all sampled cells have together; each gives its share.
    """
    share = min(-(-scenario.controls.edges * count // edges), count)
    return np.unique(np.linspace(0, count - 1, share).astype(np.int64))


def answers(
    scenario: ScenarioConfig,
    strategy: EdgeCloudStrategy,
    round: int,
    sent: Mapping[int, Named],
    memory: Memory,
) -> dict[int, Named]:
    """Return each sampled cell's control rows, ``C.control.KIND.COLUMN`` for ``C.sample``.

    `sent` is what the sampled cells uploaded. Another's answer and the majority's are those
    of the whole sample, whatever the cells.
    """
    edges = sum(len(arrays["names"]) for arrays in sent.values())
    samples = {
        cell: sample_of(scenario, edges, len(arrays["names"])) for cell, arrays in sent.items()
    }
    out: dict[int, Named] = {cell: {} for cell in sent}
    for c in range(len(strategy.setting.channels)):
        for kind, rows in _kinds(scenario, strategy, c, round, sent, samples, memory).items():
            start = 0
            for cell, sample in samples.items():
                part = slice(start, start := start + len(sample))
                out[cell][f"{c}.sample"] = sample
                for name, values in rows.items():
                    own = values if len(values) == 1 else values[part]
                    out[cell][f"{c}.control.{kind}.{name}"] = own
    return out


def _kinds(
    scenario: ScenarioConfig,
    strategy: EdgeCloudStrategy,
    channel: int,
    round: int,
    sent: Mapping[int, Named],
    samples: Mapping[int, NDArray[np.int64]],
    memory: Memory,
) -> dict[str, Arrays]:
    """Return for every kind the rows of the whole sample, cell after cell."""

    def at(lag: int) -> Arrays:
        parts = []
        for cell, sample in samples.items():
            names = sent[cell]["names"][sample]
            items = sent[cell][f"{channel}.lag{lag}"][sample]
            uploads = Uploads(names, items, memory.free(names, round))
            parts.append(hooks.answer(strategy, channel, uploads, round))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    own = at(0)
    kinds: dict[str, Arrays] = {"own": own}
    kinds |= {f"lag{lag}": at(lag) for lag in scenario.controls.lags}
    count = sum(map(len, samples.values()))
    if count > 1:
        order = rng.generator(scenario.seed, "other", round=round).permutation(count)
        whose = np.empty(count, np.int64)
        whose[order] = np.roll(order, 1)
        kinds["other"] = {name: values[whose] for name, values in own.items()}
    kinds["majority"] = hooks.majority(strategy, channel, own)
    return kinds
