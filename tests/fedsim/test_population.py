from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from fedsim.data.base import Streams
from fedsim.devices import DEVICES
from fedsim.errors import ConfigError, DataError
from fedsim.population import Cell, Population
from fedsim.scenario import ScenarioConfig
from tests.worlds import real_data, world

SUDDEN = {"name": "sudden", "at": 0.5}
TWO = [{"name": "home"}, {"name": "video"}]


def same(a: Cell, b: Cell) -> bool:
    arrays = [[c.edges, c.ood, c.device, c.drift_weight] for c in (a, b)]
    for cell, found in zip((a, b), arrays, strict=True):
        found += [x for part in cell.channels for x in (part.items, part.offsets, part.cuts)]
    return all(np.array_equal(x, y) for x, y in zip(*arrays, strict=True))


def stream(cell: Cell, row: int, channel: int = 0) -> list[int]:
    part = cell.channels[channel]
    found: list[int] = part.items[part.offsets[row] : part.offsets[row + 1]].tolist()
    return found


@pytest.fixture(params=["plain", "drift", "channels", "time", "recorded"])
def scenario(request: pytest.FixtureRequest, tmp_path: Path) -> ScenarioConfig:
    if request.param == "recorded":
        rows = [(u, (u * 5 + s * s) % 17) for u in range(40) for s in range(12)]
        (tmp_path / "s.txt").write_text("".join(f"{u} {i}\n" for u, i in rows))
        data = {"name": "sequence", "path": tmp_path / "s.txt", "k_core": 0, "clusters": 3}
        return world(data=data, drift="splice", population={"cell_size": 16})
    sections: dict[str, dict[str, Any]] = {
        "plain": {},
        "drift": {"drift": SUDDEN},
        "channels": {"channels": TWO, "drift": "gradual"},
        "time": {"stream": {"slices": "time"}, "drift": SUDDEN},
    }
    return world(**sections[request.param])


def test_cells_part_the_edges(scenario: ScenarioConfig) -> None:
    population = Population(scenario)
    assert population.num_cells == 3
    cells = [population.cell(index) for index in range(3)]
    assert [len(cell) for cell in cells] == [16, 16, 8]
    assert np.array_equal(np.concatenate([cell.edges for cell in cells]), np.arange(40))


def test_a_cell_is_made_alone(scenario: ScenarioConfig) -> None:
    first, second = Population(scenario), Population(scenario)
    for index in (0, 1, 2):
        first.cell(index)
    assert same(first.cell(2), second.cell(2))


def test_an_edge_alone_is_the_same_as_in_its_cell(scenario: ScenarioConfig) -> None:
    population = Population(scenario)
    cell = population.cell(1)
    for row in (0, 7, 15):
        alone = population.gather(cell.edges[row : row + 1])
        for channel in range(len(population.channels)):
            assert stream(alone, 0, channel) == stream(cell, row, channel)
            cuts = alone.channels[channel].cuts[0], cell.channels[channel].cuts[row]
            assert np.array_equal(*cuts)
        assert alone.ood[0] == cell.ood[row]
        assert alone.device[0] == cell.device[row]
        assert alone.available(3)[0] == cell.available(3)[row]


def test_cell_size_changes_no_edge() -> None:
    small = Population(world(population={"edges": 40, "cell_size": 3}, drift=SUDDEN))
    large = Population(world(population={"edges": 40, "cell_size": 40}, drift=SUDDEN)).cell(0)
    for row in (0, 1, 2):
        assert stream(small.cell(4), row) == stream(large, 12 + row)


def test_history_is_what_the_cells_know_before_round_one(scenario: ScenarioConfig) -> None:
    population = Population(scenario)
    history = population.history()
    cells = [population.cell(index) for index in range(3)]
    for channel, streams in enumerate(history):
        rows: list[list[int]] = []
        for cell in cells:
            known = cell.channels[channel].cuts[:, 0]
            rows += [stream(cell, row, channel)[: known[row]] for row in range(len(cell))]
        assert len(streams) == 40
        for row, expected in enumerate(rows):
            start, stop = streams.offsets[row], streams.offsets[row + 1]
            assert streams.items[start:stop].tolist() == expected


def test_ood_edges_are_exactly_the_share_and_not_in_history() -> None:
    population = Population(world(population={"edges": 40, "ood_fraction": 0.2}))
    ood = population.cell(0).ood
    assert ood.sum() == 8
    assert np.array_equal(population.fit_edges(), np.flatnonzero(~ood))
    assert len(population.history()[0]) == 32


def test_history_is_of_at_most_fit_edges_evenly_spaced() -> None:
    population = Population(world(population={"edges": 40, "fit_edges": 10}))
    assert population.fit_edges().tolist() == list(range(0, 40, 4))


def test_devices_are_exactly_in_their_shares() -> None:
    devices = {"wifi": 1.0, "2g": 3.0}
    cell = Population(world(population={"edges": 40, "devices": devices})).cell(0)
    names = np.array(list(DEVICES))[cell.device]
    assert {name: int((names == name).sum()) for name in set(names)} == {"wifi": 10, "2g": 30}
    assert cell.device.dtype == np.int8


def test_edges_come_and_go_at_the_rate_asked_for() -> None:
    scenario = world(population={"edges": 400, "cell_size": 400, "availability": 0.3})
    cell = Population(scenario).cell(0)
    there = np.stack([cell.available(round) for round in range(1, 11)])
    assert there.mean() == pytest.approx(0.3, abs=0.03)
    assert not np.array_equal(there[0], there[1])
    assert Population(world()).cell(0).available(1).all()


def test_edges_are_listed_cell_by_cell() -> None:
    population = Population(world(population={"edges": 40, "cell_size": 16, "ood_fraction": 0.5}))
    batches = list(population.edges_table())
    assert [batch.num_rows for batch in batches] == [16, 16, 8]
    table = pa.Table.from_batches(batches).to_pydict()
    assert table["edge"] == list(range(40))
    assert table["cell"] == [0] * 16 + [1] * 16 + [2] * 8
    assert set(table["device"]) == {"4g"}
    assert sum(table["ood"]) == 20


def test_generated_drift_moves_the_rounds_it_should_and_no_other() -> None:
    sections = {"population": {"edges": 40, "cell_size": 40}, "rounds": 4}
    plain = Population(world(**sections)).cell(0)
    moved = Population(world(**sections, drift=SUDDEN)).cell(0)
    drifts = moved.drift_true(3)
    assert drifts.sum() == 20
    assert not moved.drift_true(2).any()
    assert not moved.drift_true(4).any()
    changed = np.array([stream(plain, row) != stream(moved, row) for row in range(40)])
    assert not changed[~drifts].any()
    assert changed[drifts].mean() > 0.8  # the new interest may well give the same few items
    for row in range(40):
        known = plain.channels[0].cuts[row, 2]
        assert stream(plain, row)[:known] == stream(moved, row)[:known]


def scores(cell: Cell, round: int) -> NDArray[np.float32]:
    return cell.drift_score(0, round)


@pytest.mark.parametrize("order", [0.0, 0.6])
def test_the_drift_score_sees_a_sudden_drift(order: float) -> None:
    data = {"name": "synthetic", "order": order}
    cell = Population(
        world(data=data, population={"edges": 400, "cell_size": 400}, drift=SUDDEN, rounds=4)
    ).cell(0)
    drifts = cell.drift_true(3)
    assert ((scores(cell, 3) >= 0) & (scores(cell, 3) <= 1)).all()
    assert scores(cell, 3)[drifts].mean() > scores(cell, 3)[~drifts].mean() + 0.2
    assert scores(cell, 2)[drifts].mean() == pytest.approx(
        scores(cell, 2)[~drifts].mean(), abs=0.05
    )


def test_an_empty_slice_has_no_drift_score() -> None:
    scenario = world(stream={"items_per_round": 20}, rounds=3)
    cell = Population(scenario).cell(0)
    counts = np.diff(cell.channels[0].cuts, axis=1)[:, 2]
    assert (counts == 0).any()
    assert np.array_equal(np.isnan(cell.drift_score(0, 3)), counts == 0)


def test_time_slices_are_the_same_moments_for_all() -> None:
    population = Population(world(stream={"slices": "time", "history": 0.4}, rounds=3))
    cell = population.cell(0)
    streams = population.dataset.streams(0, cell.edges)
    assert streams.times is not None
    day = 86_400
    for row in range(len(cell)):
        times = streams.times[streams.offsets[row] : streams.offsets[row + 1]]
        expected = [(times <= limit * day).sum() for limit in (12, 18, 24, 30)]
        assert cell.channels[0].cuts[row].tolist() == expected


def test_max_items_keeps_the_last(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("".join(f"{u} {i}\n" for u in range(4) for i in range(1, 10)))
    data = {"name": "sequence", "path": tmp_path / "s.txt", "k_core": 0, "clusters": 2}
    cell = Population(world(data=data, stream={"max_items": 4})).cell(0)
    assert stream(cell, 0) == [6, 7, 8, 9]


def test_leave_one_out() -> None:
    scenario = world(stream={"history": "leave_one_out"}, rounds=1)
    part = Population(scenario).cell(0).channels[0]
    edge_index, position = part.targets(1)
    assert edge_index.tolist() == list(range(16))
    assert np.array_equal(part.offsets[1:] - 1, part.offsets[edge_index] + position)


LEAVE_ONE_OUT = {"history": "leave_one_out"}


def targets(scenario: ScenarioConfig) -> list[int]:
    """The items of round 1, edge by edge."""
    part = Population(scenario).gather(np.arange(40)).channels[0]
    found: list[int] = part.at(*part.targets(1)).tolist()
    return found


def with_hold_out(scenario: ScenarioConfig, count: int) -> ScenarioConfig:
    stream = scenario.stream.model_copy(update={"hold_out": count})
    return scenario.model_copy(update={"stream": stream})


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_held_out_is_not_there_at_all(scenario: ScenarioConfig, count: int) -> None:
    still = scenario.model_copy(update={"drift": world().drift})
    whole = Population(still).gather(np.arange(40))
    held = Population(with_hold_out(still, count)).gather(np.arange(40))
    for channel, part in enumerate(held.channels):
        assert (part.cuts[:, -1] == np.diff(part.offsets)).all()
        for row in range(40):
            assert stream(held, row, channel) == stream(whole, row, channel)[:-count]


def test_a_drift_moves_only_what_is_not_held_out() -> None:
    scenario = world(drift=SUDDEN, rounds=4)
    whole, held = (Population(with_hold_out(scenario, count)).cell(0) for count in (0, 2))
    kept = np.diff(held.channels[0].offsets)
    assert np.array_equal(kept, np.diff(whole.channels[0].offsets) - 2)
    assert np.array_equal(held.channels[0].cuts[:, -1], kept)
    assert np.array_equal(held.drift_true(3), whole.drift_true(3))


@pytest.mark.parametrize("recorded", [True, False])
def test_the_target_is_the_item_before_those_held_out(recorded: bool, tmp_path: Path) -> None:
    data: dict[str, object] = {"name": "synthetic", "items": 60, "topics": 5, "length": 20}
    if recorded:
        rows = [(u, (u * 5 + s * s) % 17) for u in range(40) for s in range(4 + u % 9)]
        (tmp_path / "s.txt").write_text("".join(f"{u} {i}\n" for u, i in rows))
        data = {"name": "sequence", "path": tmp_path / "s.txt", "k_core": 0, "clusters": 3}
    whole = Population(world(data=data, stream=LEAVE_ONE_OUT, rounds=1))
    held = world(data=data, stream=LEAVE_ONE_OUT | {"hold_out": 1}, rounds=1)
    streams = whole.dataset.streams(0, np.arange(40))
    rows_of = [part.tolist() for part in np.split(streams.items, streams.offsets[1:-1])]
    assert targets(held) == [row[-2] for row in rows_of]
    assert targets(whole.scenario) == [row[-1] for row in rows_of]
    history = Population(held).history()[0]
    parts = np.split(history.items, history.offsets[1:-1])
    assert [part.tolist() for part in parts] == [row[:-2] for row in rows_of]


def test_what_is_held_out_goes_before_max_items_keeps_the_last(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("".join(f"{u} {i}\n" for u in range(4) for i in range(1, 10)))
    data = {"name": "sequence", "path": tmp_path / "s.txt", "k_core": 0, "clusters": 2}
    cell = Population(world(data=data, stream={"max_items": 4, "hold_out": 2})).cell(0)
    assert stream(cell, 0) == [4, 5, 6, 7]


def test_an_edge_needs_as_many_items_more_as_are_held_out(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("".join(f"{u} {i}\n" for u in range(4) for i in range(1, 4)))
    data = {"name": "sequence", "path": tmp_path / "s.txt", "k_core": 0, "clusters": 2}
    Population(world(data=data))
    message = (
        r"has 3 interactions; an edge needs at least 4 with stream\.hold_out = 1; set "
        r"data\.min_interactions = 4 to drop"
    )
    with pytest.raises(DataError, match=message):
        Population(world(data=data, stream={"hold_out": 1}))
    with pytest.raises(DataError, match=r"at least 13 with stream\.hold_out = 10; raise"):
        Population(world(stream={"hold_out": 10}))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"stream": {"history": "leave_one_out"}, "rounds": 2}, r"set rounds = 1"),
        ({"stream": {"history": "leave_one_out", "slices": "time"}}, r"not 'leave_one_out'"),
        ({"drift": "splice"}, r"set drift\.name = 'sudden'"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(
    sections: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Population(world(**sections)).cell(0)


def test_a_mixture_drift_needs_generated_data(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("".join(f"{u} {i}\n" for u in range(4) for i in range(5)))
    data = {"name": "sequence", "path": tmp_path / "s.txt", "k_core": 0, "clusters": 2}
    with pytest.raises(ConfigError, match=r"set drift\.name = 'splice'"):
        Population(world(data=data, drift="sudden"))


def test_a_cell_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="cell 3 does not exist; there are 3 from 0"):
        Population(world()).cell(3)


def test_cells_and_populations_can_be_pickled() -> None:
    population = Population(world(drift=SUDDEN))
    copy = pickle.loads(pickle.dumps(population))
    assert same(copy.cell(1), population.cell(1))
    assert same(pickle.loads(pickle.dumps(population.cell(1))), population.cell(1))


def test_a_cell_of_many_costs_no_more_than_one_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = world(population={"edges": 10**9, "cell_size": 16}, drift=SUDDEN)
    population = Population(scenario)
    asked: list[int] = []
    streams = population.dataset.streams

    def spy(channel: int, edges: NDArray[np.int64], *more: NDArray[np.float32]) -> Streams:
        asked.append(len(edges))
        return streams(channel, edges, *more)

    monkeypatch.setattr(population.dataset, "streams", spy)
    cell = population.cell(population.num_cells - 1)
    assert cell.edges[-1] == 10**9 - 1
    assert asked == [16]


def test_splice_on_real_data_is_seen_by_the_drift_score() -> None:
    data = {"name": "movielens", "path": real_data("ml-100k/u.data")}
    sections = {"data": data, "population": {"cell_size": 943}, "rounds": 4}
    plain = Population(world(**sections)).cell(0)
    moved = Population(world(**sections, drift="splice")).cell(0)
    drifts = moved.drift_true(3)
    assert drifts.sum() == 472
    assert np.array_equal(scores(plain, 2), scores(moved, 2))
    assert np.array_equal(scores(plain, 3)[~drifts], scores(moved, 3)[~drifts])
    assert np.nanmean(scores(moved, 3)[drifts]) > np.nanmean(scores(plain, 3)[drifts]) + 0.05
