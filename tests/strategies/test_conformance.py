"""Every strategy, found by itself, keeps what all strategies promise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedsim import client_app, plugins
from fedsim.edges.side import make_columns, make_setting
from fedsim.engine.run import Interrupted, Run, resume, run
from fedsim.population import Population
from fedsim.scenario import ScenarioConfig
from fedsim.setting import Uploads
from fedsim.strategy import EdgeCloudStrategy
from fedsim.wire import at_rest, open_records, seal
from tests.studies import StopAfter, ledger_bytes, tiny

STRATEGIES = list(plugins.available("strategies"))

TROUBLE = {
    "population.ood_fraction": 0.25,
    "population.availability": 0.7,
    "population.devices": {"2g": 1.0, "wifi": 1.0},
    "channels": [{"name": "home"}, {"name": "video"}, {"name": "purchase"}],
    "data.length": 8,
    "drift.name": "sudden",
    "evaluation.exclude": "seen",
}
"""Unseen users, absent edges, three channels, short windows, a drift."""


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Check all strategies, or the one that ``--strategy`` names, wherever it is."""
    if "name" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--strategy")
        metafunc.parametrize("name", [chosen] if chosen else STRATEGIES)


def hard(name: str) -> ScenarioConfig:
    return tiny(name, **TROUBLE)


def test_a_run_measures_every_edge_channel_and_round(name: str, tmp_path: Path) -> None:
    done = run(hard(name), out=tmp_path)
    ledger, edges = done.ledger, done.edges
    assert len(ledger) == 24 * 3 * (1 + 3)
    assert (ledger.groupby(["round", "channel"]).edge.nunique() == 24).all()
    later = ledger[ledger["round"] > 0]
    assert later.targets.sum() > 0
    assert (later.hit_10 <= later.targets).all()
    assert (later.ndcg_10 <= later.hit_10).all()
    assert edges.ood.sum() == 6
    assert ((later.uplink_bytes > 0) <= later.requested).all()
    assert ((later.downlink_bytes > 0) == later.answered).all()
    assert (later.stored_bytes > 0).all() or (ledger.downlink_bytes == 0).all()


def test_two_runs_are_bit_identical(name: str, tmp_path: Path) -> None:
    first, second = (run(hard(name), out=tmp_path / side) for side in ("a", "b"))
    assert ledger_bytes(first) == ledger_bytes(second)


def test_a_resumed_run_ends_in_the_same_bytes(name: str, tmp_path: Path) -> None:
    whole = run(hard(name), out=tmp_path / "whole")
    with pytest.raises(Interrupted) as stopped:
        run(hard(name), out=tmp_path / "cut", display=StopAfter(1))
    part = Run(stopped.value.path)
    assert part.rounds_done == 1
    assert ledger_bytes(resume(part.path)) == ledger_bytes(whole)


def test_ledgers_do_not_depend_on_workers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker answers all messages, or each one another."""
    alone = run(hard(name), out=tmp_path / "one")
    made = client_app._edge_side.__wrapped__
    monkeypatch.setattr(client_app, "_edge_side", made)
    assert ledger_bytes(run(hard(name), out=tmp_path / "many")) == ledger_bytes(alone)


def codec_cases() -> list[Any]:
    """Return every codec with a strategy whose answers it takes, and not by default."""
    cases = []
    for strategy in ("diet", "full_download"):
        usual = plugins.load("strategies", strategy).Config(name=strategy).codec.name
        kinds = plugins.load("codecs", usual).kinds
        for codec in plugins.available("codecs"):
            if kinds & plugins.load("codecs", codec).kinds and codec != usual:
                cases.append(pytest.param(strategy, {"name": codec}, id=f"{strategy}-{codec}"))
    half = {"name": "dense", "dtype": "fp16"}
    return [*cases, pytest.param("full_download", half, id="full_download-fp16")]


@pytest.mark.parametrize(("strategy", "codec"), codec_cases())
def test_any_codec_goes_through_a_whole_run(
    strategy: str, codec: dict[str, object], tmp_path: Path
) -> None:
    scenario = tiny({"name": strategy, "codec": codec}, **TROUBLE)
    whole = run(scenario, out=tmp_path / "whole")
    later = whole.ledger[whole.ledger["round"] > 0]
    assert later.answered.any()
    with pytest.raises(Interrupted) as stopped:
        run(scenario, out=tmp_path / "cut", display=StopAfter(2))
    assert ledger_bytes(resume(stopped.value.path)) == ledger_bytes(whole)


def test_edges_without_history_in_a_channel_are_served(name: str, tmp_path: Path) -> None:
    """Channels by genre leave many edges nothing: the last edges, and all those trained on."""
    films, users = 30, 12
    genres = ["|".join("01"[genre == film % 3] for genre in range(19)) for film in range(films)]
    (tmp_path / "u.item").write_text(
        "".join(f"{film + 1}|Film {film}|1|2|3|{genres[film]}\n" for film in range(films))
    )
    seen = [(user, film) for user in range(users) for film in range(films)]
    kept = [(u, f) for u, f in seen if f % 3 == 0 or (u < 3 and f % 3 == 1)]
    (tmp_path / "u.data").write_text(
        "".join(f"{user + 1}\t{film + 1}\t5\t{film}\n" for user, film in kept)
    )
    data = {"name": "movielens", "path": str(tmp_path), "min_item_count": 1}
    channels = [{"name": "a", "genres": ["unknown"]}, {"name": "b", "genres": ["Action"]}]
    place = {"data": data, "channels": channels, "population.edges": users}
    done = run(tiny(name, **place), out=tmp_path)
    assert done.ledger.groupby("channel").targets.sum().gt(0).all()


def test_a_tight_budget_is_kept_and_said(name: str, tmp_path: Path) -> None:
    done = run(tiny(name, **{"budget.bytes_per_round": 40.0}), out=tmp_path)
    later = done.ledger[done.ledger["round"] > 0]
    spent = later.groupby("edge")[["uplink_bytes", "downlink_bytes"]].sum().sum(axis=1)
    assert (spent <= 40.0 * 3).all()
    assert not (later.refused & (later.answered | ~later.requested)).any()
    assert (later.refused | later.answered | ~later.requested).all()


def test_no_answer_fits_into_a_byte(name: str, tmp_path: Path) -> None:
    """Of two classes of devices one has no room: it keeps what it has, and the ledger says why."""
    classes = {"population.devices": {"2g": 1.0, "wifi": 1.0}}
    done = run(tiny(name, **classes, **{"memory.bytes": {"2g": 1}}), out=tmp_path)
    small = done.edges.set_index("edge")["device"] == "2g"
    assert 0 < small.sum() < len(small)
    later = done.ledger[done.ledger["round"] > 0]
    without_room = later["edge"].map(small)
    assert (later.too_large == (without_room & later.requested)).all()
    assert (later.answered == (~without_room & later.requested)).all()
    assert (later[without_room].downlink_bytes == 0).all()


def asked(name: str, folder: Path) -> tuple[EdgeCloudStrategy, Uploads]:
    """Return a fitted strategy, and what the edges of a cell upload in round 1."""
    scenario = tiny(name)
    population = Population(scenario)
    setting = make_setting(scenario, population, folder)
    strategy = plugins.load("strategies", name)(scenario.strategy, setting)
    strategy.fit(population.history())
    half = strategy.edge(setting, scenario.strategy, strategy.provision())
    cell = population.cell(0)
    return strategy, Uploads(cell.edges, cell.channels[0].windows(1, half.upload_length))


def test_answers_come_back_from_the_wire(name: str, tmp_path: Path) -> None:
    """To the bit, but where the codec rounds; then what came back comes back to the bit."""
    strategy, uploads = asked(name, tmp_path)
    rows = strategy.answer(0, uploads, 1)
    columns = tuple(at_rest(make_columns(strategy, 0, {})))
    assert set(rows) == {column.name for column, _ in columns}
    if not columns:
        return
    once = open_records(columns, seal(columns, rows))
    again = open_records(columns, seal(columns, once))
    for column, codec in columns:
        sent, came = (np.asarray(each[column.name]) for each in (rows, once))
        half_floats = getattr(codec.config, "dtype", None) == "fp16"
        np.testing.assert_allclose(came, sent, rtol=2e-3 if half_floats else 0, atol=1e-7)
        np.testing.assert_array_equal(again[column.name], came)


def test_answers_do_not_depend_on_who_else_asks(name: str, tmp_path: Path) -> None:
    strategy, uploads = asked(name, tmp_path)
    together = strategy.answer(0, uploads, 1)
    alone = strategy.answer(0, Uploads(uploads.edges[3:4], uploads.items[3:4]), 1)
    for column in strategy.columns():
        rows = together[column.name]
        one = rows if len(rows) == 1 else rows[3:4]
        np.testing.assert_array_equal(one, alone[column.name])
