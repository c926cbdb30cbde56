"""One long upload of all channels: what strategies that read it promise, and what it is for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedsim import client_app, plugins
from fedsim.data.base import Streams
from fedsim.engine.run import Interrupted, Run, resume, run
from fedsim.errors import ConfigError
from fedsim.population import Population
from fedsim.rng import torch_generator
from fedsim.scenario import ScenarioConfig
from fedsim.setting import Uploads
from fedsim.timeline import of_cell, of_history
from fedsim.training.learner import Learner
from fedsim.training.targets import Targets, grouped, split
from fedsim.wire import UPLOAD_HEADER_BYTES
from strategies._long_upload import TimelineTrainer
from strategies.menu import listed_items
from tests.strategies.fitted import fitted
from tests.studies import StopAfter, ledger_bytes, tiny

NAMES = ["long_diet", "user_vector", "snack", "menu"]
THREE: dict[str, Any] = {"channels": [{"name": "home"}, {"name": "video"}, {"name": "music"}]}
TROUBLE = {
    **THREE,
    "population.ood_fraction": 0.25,
    "population.availability": 0.7,
    "data.length": 8,
    "drift.name": "sudden",
    "evaluation.exclude": "seen",
}


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def study(name: str, reads: str = "all", **changes: Any) -> ScenarioConfig:
    return tiny({"name": name, "upload": 12, "reads": reads}, **changes)


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_ends_in_the_same_bytes_on_any_workers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = study(name, **TROUBLE)
    whole = run(scenario, out=tmp_path / "whole")
    assert whole.ledger.groupby("channel").answered.any().all()
    assert set(whole.controls.kind) == {"own", "lag1", "lag5", "other", "majority"}
    monkeypatch.setattr(client_app, "_edge_side", client_app._edge_side.__wrapped__)
    with pytest.raises(Interrupted) as stopped:
        run(scenario, out=tmp_path / "cut", display=StopAfter(1))
    part = Run(stopped.value.path)
    assert ledger_bytes(resume(part.path)) == ledger_bytes(whole)


@pytest.mark.parametrize("name", NAMES)
def test_with_one_channel_nothing_changes(name: str, tmp_path: Path) -> None:
    own, every = (run(study(name, reads), out=tmp_path / reads) for reads in ("channel", "all"))
    assert ledger_bytes(own) == ledger_bytes(every)


def test_an_edge_sends_one_upload_a_round(tmp_path: Path) -> None:
    scenario = study("user_vector", **THREE)
    ledger = run(scenario, out=tmp_path).ledger
    assert (ledger[ledger["round"] > 0].answered).all()
    population = Population(scenario)
    for round in (1, 2, 3):
        rows = ledger[ledger["round"] == round]
        assert (rows[rows.channel > 0].uplink_bytes == 0).all()
        for index in range(population.num_cells):
            cell = population.cell(index)
            held = of_cell(cell.channels, population.channels).windows(round, 12)
            sizes = UPLOAD_HEADER_BYTES + 2 * np.count_nonzero(held, axis=1)
            own = rows[(rows.channel == 0) & rows.edge.isin(cell.edges)].sort_values("edge")
            assert own.uplink_bytes.tolist() == sizes.tolist()


def test_who_cannot_pay_the_upload_is_answered_in_no_channel(tmp_path: Path) -> None:
    tight = {**THREE, "budget.bytes_per_round": 20.0}
    ledger = run(study("snack", **tight), out=tmp_path).ledger
    later = ledger[ledger["round"] > 0]
    spent = later.groupby("edge")[["uplink_bytes", "downlink_bytes"]].sum().sum(axis=1)
    assert (spent <= 60).all()
    assert (later.refused ^ later.answered).all()
    first = later[later["round"] == 1]  # 20 bytes do not pay for 6 and 12 items of 2
    assert first.refused.all()
    assert not first.uplink_bytes.any()


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ({"name": "snack", "tied": True}, "reads = 'all' needs a table .* leave out tied"),
        ({"name": "local_vector"}, "'local_vector' edges upload nothing; leave out reads"),
        ({"name": "shortlist"}, "reads = 'all' is for a snack.* or take strategy 'menu'"),
    ],
)
def test_what_cannot_read_all_channels_says_so(strategy: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny({**strategy, "reads": "all"})


def films(folder: Path) -> dict[str, Any]:
    """Write films of one genre or both: what is in both catalogues is met in both at once."""
    kinds = [kind + "|0" * 17 for kind in ("1|0", "0|1", "1|1")]
    (folder / "u.item").write_text(
        "".join(f"{n + 1}|Film {n}|1|2|3|{kinds[n % 3]}\n" for n in range(18))
    )
    order = np.random.default_rng(0)
    (folder / "u.data").write_text(
        "".join(
            f"{user + 1}\t{film + 1}\t5\t{place // 2}\n"
            for user in range(12)
            for place, film in enumerate(order.permutation(18))
        )
    )
    return {
        "data": {"name": "movielens", "path": str(folder), "min_item_count": 1},
        "channels": [{"name": "a", "genres": ["unknown"]}, {"name": "b", "genres": ["Action"]}],
        "population.edges": 12,
    }


def test_streams_of_several_users_have_no_common_order(tmp_path: Path) -> None:
    mixed = study("snack", **films(tmp_path), **{"drift.name": "splice"})
    with pytest.raises(ConfigError, match=r"reads = 'all' puts .* set drift.name = 'none'"):
        run(mixed, out=tmp_path)


def times_of(streams: Streams, edge: int) -> NDArray[np.int64]:
    assert streams.times is not None
    return streams.times[streams.offsets[edge] : streams.offsets[edge + 1]]


class Recorder(Learner):
    """Keeps the uploads it is shown."""

    upload_length = 40

    def forward(self, windows: Tensor, uploads: Tensor, **options: Any) -> Tensor:
        self.seen = uploads.numpy()
        return torch.zeros(*windows.shape[:2], self.backbone.dim)


@pytest.mark.parametrize("size", [1, 4])
def test_in_training_an_upload_has_only_what_is_strictly_earlier(tmp_path: Path, size: int) -> None:
    scenario = study("snack", **films(tmp_path))
    population = Population(scenario)
    backbone = plugins.load("backbones", "sasrec")(scenario.model)
    history, before = population.history(), (0, population.channels[0].num_items)
    for channel, streams in enumerate(of_history(history, population.channels)):
        num_items = population.channels[channel].num_items
        learner = Recorder(backbone, num_items, torch_generator(0, "x"))
        trainer = TimelineTrainer(learner, streams, scenario.train, "none", torch_generator(0, "y"))
        targets: Targets = split(streams)[0]
        group = grouped(targets, size, np.random.default_rng(0))
        trainer.loss(targets, group)
        for row, upload in zip(group, learner.seen, strict=True):
            edge, first = targets.edge[row.max()], targets.position[row[row >= 0]].min()
            moment = times_of(streams, edge)[first]
            known: list[int] = []
            for part, start in zip(history, before, strict=True):
                items = part.items[part.offsets[edge] : part.offsets[edge + 1]]
                known += (items[times_of(part, edge) < moment] + start).tolist()
            assert sorted(upload[upload > 0]) == sorted(known)


@pytest.mark.parametrize("name", NAMES)
def test_answers_depend_on_what_was_done_in_other_channels(name: str) -> None:
    made = fitted({"name": name, "upload": 12, "reads": "all"}, changes=THREE)
    whole = of_cell(made.cell.channels, made.setting.channels)
    uploads = Uploads(made.cell.edges, whole.windows(1, made.half.upload_length))
    assert made.half.reads_all_channels
    others = np.where(uploads.items > 60, 121 + uploads.items % 60, uploads.items)
    column = made.strategy.columns()[0].name
    fresh = made.strategy.answer(0, uploads, 1)[column]
    changed = made.strategy.answer(0, Uploads(uploads.edges, others), 1)[column]
    assert (fresh != changed).any()
    alone = made.strategy.answer(0, Uploads(uploads.edges[3:4], uploads.items[3:4]), 1)
    np.testing.assert_array_equal(alone[column], fresh[3:4])


def test_a_menus_list_is_of_the_channels_own_items() -> None:
    made = fitted({"name": "menu", "upload": 30, "reads": "all"}, changes=THREE)
    whole = of_cell(made.cell.channels, made.setting.channels)
    uploads = Uploads(made.cell.edges, whole.windows(1, 30))
    for channel in range(3):
        rows = made.strategy.answer(channel, uploads, 1)["list"]
        last = made.cell.channels[channel].windows(1, 1)
        ids = listed_items(made.setting, channel, rows, made.strategy.config.listed)
        assert ids.max() <= 60
        assert ids[:, :1].tolist() == last.tolist()


def test_interests_that_channels_share_show_in_any_of_them(tmp_path: Path) -> None:
    """Streams too short to tell a user's topics alone; those of three channels tell more."""
    shared = {
        **THREE,
        "rounds": 1,
        "population": {"edges": 500, "cell_size": 250},
        "data.items": 144,
        "data.topics": 12,
        "data.concentration": 0.1,
        "data.length": 12,
        "data.order": 0.0,
        "train.epochs": 4,
        "train.lr": 3e-3,
        "controls.every": 0,
    }
    hits = []
    for reads in ("channel", "all"):
        options = {"strategy.upload": 60, "strategy.epochs": 8}
        scenario = study("user_vector", reads, **shared, **options)
        ledger = run(scenario, out=tmp_path / reads).ledger
        hits.append(ledger.ndcg_10.sum() / ledger.targets.sum())
    assert hits[1] > 1.05 * hits[0], hits
