"""PEEL: how tables are cut, what is learned of blocks, and what fits into memory."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedsim import rng
from fedsim.engine.parts import check_parts
from fedsim.engine.run import Interrupted, resume, run
from fedsim.errors import ConfigError
from fedsim.setting import Uploads
from fedsim.training.targets import split
from fedsim.wire import seal
from strategies._blocks import Grid, clustered_order, kept_first, kmeans_centres, nearest_centre
from strategies._peel import Refiner, block_order, chance, first_blocks, user_embeddings
from strategies.peel import column_codec, stored_columns, table_columns
from tests.strategies.fitted import SMALL, Fitted, fitted
from tests.studies import StopAfter, ledger_bytes, tiny

PEEL: dict[str, Any] = {"name": "peel", "upload": 12, "groups": 3, "epochs": 2}
TIGHT = {
    "population.devices": {"2g": 1.0, "3g": 1.0, "wifi": 1.0},
    "memory.bytes": {"2g": 200.0, "3g": 4000.0},
    "memory.least": 0.3,
    "model": SMALL,
    "rounds": 4,
    "train.epochs": 1,
}


@pytest.fixture(scope="module")
def peel() -> Fitted:
    return fitted(PEEL)


def answered(made: Fitted, memory: int | None = None) -> dict[str, np.ndarray]:
    uploads = made.uploads()
    room = None if memory is None else np.full(len(uploads.edges), memory)
    rows = made.strategy.answer(0, Uploads(uploads.edges, uploads.items, room), 1)
    return {name: np.asarray(values) for name, values in rows.items()}


def held_blocks(made: Fitted, rows: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(made.strategy.grids[0].there(rows["table"]))


# ---- tables in blocks ---------------------------------------------------------------------


def test_a_table_is_cut_into_clusters_and_slices() -> None:
    """Five items of four numbers, two clusters (2 and 3 items), two slices."""
    grid = Grid(5, 4, 2, 2)
    table = np.arange(20, dtype=np.float32).reshape(1, 5, 4)
    rows = grid.fold(table)
    assert rows[0].tolist() == [
        *[0, 1, 4, 5], *[2, 3, 6, 7], *[8, 9, 12, 13, 16, 17], *[10, 11, 14, 15, 18, 19],
    ]  # fmt: skip
    np.testing.assert_array_equal(grid.unfold(rows), table)
    assert grid.layout.block_sizes.tolist() == [4, 4, 6, 6]
    kept = np.array([[True, False, False, True]])
    assert grid.there(grid.only(rows + 1, kept)).tolist() == kept.tolist()


def test_a_small_catalogue_has_a_cluster_an_item() -> None:
    assert Grid(3, 8, 4, 2).layout.block_sizes.tolist() == [4] * 6


def test_clusters_are_of_equal_size_and_hold_what_is_near() -> None:
    draw = rng.generator(0, "points")
    middle = np.eye(3, 8)[np.repeat([2, 0, 1], 20)] * 10
    table = (middle + draw.normal(size=(60, 8))).astype(np.float32)
    order = clustered_order(table, Grid(60, 8, 3, 1), 1)
    assert sorted(order.tolist()) == list(range(60))
    assert {frozenset(part) for part in (order.reshape(3, 20) // 20).tolist()} == {
        frozenset([0]), frozenset([1]), frozenset([2]),
    }  # fmt: skip
    crowded = np.repeat(table[:1], 60, axis=0)
    assert sorted(clustered_order(crowded, Grid(60, 8, 3, 1), 1).tolist()) == list(range(60))


def test_the_first_blocks_are_those_of_largest_weight_and_nested() -> None:
    weights = np.array([[0.2, 0.9, 0.2, 0.5]], np.float32)
    found = [kept_first(weights, np.array([count]))[0].astype(int).tolist() for count in range(5)]
    assert found == [[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 1], [1, 1, 0, 1], [1, 1, 1, 1]]


def test_users_join_the_group_whose_centre_is_nearest() -> None:
    items = np.zeros((5, 8), np.float32)
    items[1:, :4] = np.eye(4) * [1, 2, 3, 4]
    users = user_embeddings(items, np.array([[0, 0, 2], [0, 1, 1], [0, 0, 0], [0, 0, 1]]))
    np.testing.assert_allclose(np.linalg.norm(users, axis=1), [1, 1, 0, 1])
    centres = kmeans_centres(users[[0, 1, 3]], 7, 1)
    assert len(centres) == 2
    group = nearest_centre(users, centres)
    assert group[1] == group[3] != group[0]
    assert kmeans_centres(users[:0], 3, 1).tolist() == [[0.0] * 8]


# ---- what is learned ----------------------------------------------------------------------


def test_orders_are_drawn_with_the_chance_they_are_said_to_have() -> None:
    """Two of three blocks, Plackett-Luce: P(2, 0) = 4/7 * 1/3 for odds 1, 2, 4."""
    logits = torch.tensor([1.0, 2.0, 4.0]).log().expand(20_000, 3)
    counts = torch.full((20_000, 1), 2)
    order = block_order(logits, torch.Generator().manual_seed(1))
    drawn = float(((order[:, 0] == 2) & (order[:, 1] == 0)).float().mean())
    assert drawn == pytest.approx(4 / 7 / 3, abs=0.01)
    one = torch.tensor([[2, 0, 1]])
    said = chance(logits[:1], one, counts[:1])
    assert said.exp().item() == pytest.approx(4 / 7 / 3, rel=1e-5)
    assert first_blocks(one, counts[:1]).tolist() == [[1, 0, 1]]
    assert chance(logits[:1], one, torch.tensor([[3]])).exp().item() == pytest.approx(
        4 / 7 / 3, rel=1e-5
    )


def refiner(made: Fitted) -> Refiner:
    learner, scenario = made.strategy._learners[0], made.setting.scenario
    gen = torch.Generator().manual_seed(5)
    return Refiner(learner, made.history[0], scenario.train, "none", gen)


def test_a_validation_step_moves_the_controller_alone() -> None:
    made = fitted(PEEL, changes={"train.lr": 1e-30})
    trainer = refiner(made)
    before = {name: value.clone() for name, value in trainer.learner.state_dict().items()}
    trainer._weigh()
    moved = {
        name for name, value in trainer.learner.state_dict().items()
        if not torch.equal(value, before[name])
    }  # fmt: skip
    assert moved == {"controller"}


def test_the_controller_finds_the_block_that_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only block 5 gains anything, its weight becomes the largest of every group."""
    made = fitted(PEEL)
    trainer = refiner(made)
    monkeypatch.setattr(trainer, "_gain", lambda edge, position, mask: mask[:, 5])
    for _ in range(200):
        trainer._weigh()
    weights = trainer.learner.block_weights()
    assert (weights.argmax(axis=1) == 5).all()
    assert (weights[:, 5] > weights.mean(axis=1) + 0.2).all()


def test_a_training_step_reaches_tables_of_its_groups_and_no_controller() -> None:
    made = fitted(PEEL)
    trainer = refiner(made)
    targets, _ = split(made.history[0])
    mine = np.flatnonzero(trainer.group.numpy()[targets.edge] == 1)[:40]
    trainer.learner.config = trainer.learner.config.model_copy(update={"diversity": 0.0})
    trainer.learner.zero_grad()
    trainer.loss(targets, mine[:, None]).backward()  # type: ignore[no-untyped-call]
    gradient = trainer.learner.tables.grad
    assert gradient is not None
    reached = gradient.abs().sum((1, 2)) > 0
    assert reached.tolist() == [False, True, False]
    assert trainer.learner.flat.grad is not None
    assert trainer.learner.controller.grad is None
    assert trainer.learner.items.grad is None


def test_diversity_is_the_mean_squared_distance_of_unit_slices(peel: Fitted) -> None:
    learner = peel.strategy._learners[0]
    grid = peel.strategy.grids[0]
    rows = grid.fold(learner.tables.detach()[:, 1 + learner.order].numpy())
    distances = []
    for row in rows:
        for cluster in range(grid.clusters):
            blocks = []
            for part in range(grid.slices):
                start, stop = grid.layout.offsets[cluster * grid.slices + part :][:2]
                blocks.append(row[start:stop] / np.linalg.norm(row[start:stop]))
            distances += [np.square(a - b).sum() for i, a in enumerate(blocks) for b in blocks[:i]]
    assert float(learner.diversity().detach()) == pytest.approx(np.mean(distances), rel=1e-4)


def test_more_weight_on_diversity_makes_slices_differ_more() -> None:
    found = [
        float(fitted({**PEEL, "diversity": weight}).strategy._learners[0].diversity().detach())
        for weight in (0.0, 30.0)
    ]
    assert found[1] > found[0]


# ---- the conversation ---------------------------------------------------------------------


def test_an_edge_scores_as_the_learner_did(peel: Fitted) -> None:
    rows = answered(peel, memory=1000)
    learner, uploads = peel.strategy._learners[0], peel.uploads()
    windows = peel.cell.channels[0].windows(1, peel.setting.backbone.window)
    mask = torch.from_numpy(held_blocks(peel, rows)).float().view(len(windows), 4, 4)
    assert 0 < mask.sum() < mask.numel()
    group = torch.from_numpy(learner.groups(uploads.items))
    with torch.no_grad():
        wanted = learner.block_scores(torch.from_numpy(windows).long(), group, mask)
        scores = peel.half.scores(0, rows, windows[:, None])[:, 0, 1:]
    torch.testing.assert_close(scores, wanted, rtol=1e-4, atol=1e-5)


def test_without_a_limit_every_block_is_sent_and_they_are_the_groups(peel: Fitted) -> None:
    rows = answered(peel)
    assert held_blocks(peel, rows).all()
    group = peel.strategy._learners[0].groups(peel.uploads().items)
    assert len(set(group.tolist())) > 1
    for first in range(len(group)):
        for second in range(first):
            same = np.array_equal(rows["table"][first], rows["table"][second])
            assert same == (group[first] == group[second])


def test_answers_fill_the_memory_with_the_blocks_worth_most(peel: Fitted) -> None:
    columns = stored_columns(peel.strategy.grids[0], peel.strategy.config)
    before = np.zeros((10, 16), np.bool_)
    for memory in range(250, 2100, 150):
        rows = answered(peel, memory)
        sizes = seal(columns, rows).sizes
        there = held_blocks(peel, rows)
        assert (sizes <= memory).all()
        one_more = 2 * peel.strategy.grids[0].layout.block_sizes.max()
        assert (there.all(axis=1) | (sizes > memory - one_more)).all()
        least_kept = np.where(there, rows["weights"], 2).min(axis=1)
        best_left = np.where(there, -1, rows["weights"]).max(axis=1)
        assert (least_kept >= best_left).all()
        assert (there >= before).all()
        before = there


def test_a_record_is_two_bytes_a_parameter_and_the_weights(peel: Fitted) -> None:
    """60 items of 16 numbers in 16 blocks of 60: header, length, bits, floats; fp16, fp32."""
    sizes = [12 + 4 + 2 + 60 * 2 * blocks + 1 + 16 * 4 for blocks in range(1, 17)]
    assert peel.strategy._sizes[0].tolist() == [sizes] * 3


def test_too_little_for_one_block_is_answered_with_one_that_is_refused(peel: Fitted) -> None:
    assert held_blocks(peel, answered(peel, memory=100)).sum(axis=1).tolist() == [1] * 10


def test_an_edge_shrinks_to_what_the_cloud_would_have_sent(peel: Fitted) -> None:
    full = answered(peel)
    for memory in (1500, 700, 210):
        small = answered(peel, memory)
        shrunk = peel.half.shrink(0, full, np.full(10, memory))
        for name, values in small.items():
            np.testing.assert_array_equal(shrunk[name], values)
    nothing = peel.half.shrink(0, full, np.full(10, 90))
    assert not nothing["table"].any()


def test_sizes_by_the_paper_are_the_parameters_held(peel: Fitted) -> None:
    rows = answered(peel, memory=700)
    bits = peel.half.paper_bits(0, rows)
    assert bits is not None
    assert bits.tolist() == (32 * 60 * held_blocks(peel, rows).sum(axis=1)).tolist()


def test_the_majority_holds_the_blocks_most_edges_hold(peel: Fitted) -> None:
    grid = peel.strategy.grids[0]
    table = grid.only(np.ones((3, 960), np.float32), np.eye(3, 16, dtype=np.bool_)[[0, 0, 1]])
    table[1] *= 3
    weights = np.full((3, 16), 0.5, np.float32)
    one = peel.strategy.majority(0, {"table": table, "weights": weights})
    assert one["table"].shape == (1, 960)
    assert np.flatnonzero(grid.there(one["table"])).tolist() == [0]
    assert set(one["table"][0, :60].tolist()) == {2.0}


def test_edges_book_what_they_lack_what_they_drop_and_what_does_not_fit(tmp_path: Path) -> None:
    done = run(tiny({**PEEL, "epochs": 1}, **TIGHT), out=tmp_path)
    ledger = done.ledger.merge(done.edges[["edge", "device"]])
    later = ledger[ledger["round"] > 0]
    slow, free = later.device == "2g", later.device == "wifi"
    assert later.too_large[slow].all()
    assert (later.downlink_bytes[slow] == 0).all()
    fixed = ledger.stored_bytes[ledger["round"] == 0].iloc[0]
    assert (later.stored_bytes[slow] == fixed).all()
    first = later[free & (later["round"] == 1)]
    again = later[free & (later["round"] > 1)]
    assert (first.downlink_bytes > 2 * 60 * 16).all()
    assert (again.downlink_bytes < 60).mean() > 0.5
    middle = later[later.device == "3g"].sort_values(["edge", "round"])
    held = middle.stored_bytes - fixed
    assert (held < middle.memory_bytes).all()
    for _, rows in middle.groupby("edge"):
        kept, sent = (rows.stored_bytes - fixed).to_numpy(), rows.downlink_bytes.to_numpy()
        assert (np.diff(kept) <= sent[1:]).all()
    assert (middle.candidate_bytes == 0).all()


def test_a_run_with_changing_memory_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    scenario = tiny({**PEEL, "epochs": 1}, **TIGHT)
    whole = run(scenario, out=tmp_path / "whole")
    with pytest.raises(Interrupted) as stopped:
        run(scenario, out=tmp_path / "cut", display=StopAfter(2))
    assert ledger_bytes(resume(stopped.value.path)) == ledger_bytes(whole)


def test_channels_of_different_size_have_tables_of_their_own(tmp_path: Path) -> None:
    films, users = 40, 12
    genre = ["unknown" if film % 4 else "Action" for film in range(films)]
    flags = {"unknown": "1" + "|0" * 18, "Action": "0|1" + "|0" * 17}
    (tmp_path / "u.item").write_text(
        "".join(f"{film + 1}|Film {film}|1|2|3|{flags[genre[film]]}\n" for film in range(films))
    )
    (tmp_path / "u.data").write_text(
        "".join(f"{u + 1}\t{f + 1}\t5\t{f}\n" for u in range(users) for f in range(films))
    )
    place = {
        "data": {"name": "movielens", "path": str(tmp_path), "min_item_count": 1},
        "channels": [{"name": "a", "genres": ["unknown"]}, {"name": "b", "genres": ["Action"]}],
        "population.edges": users,
        "model": SMALL,
    }
    done = run(tiny(PEEL, **place), out=tmp_path)
    later = done.ledger[done.ledger["round"] == 1]
    bits = later.groupby("channel").paper_bits.max().tolist()
    assert bits == [32 * 30 * 16, 32 * 10 * 16]


@pytest.mark.parametrize("backbone", ["caser", "gru4rec"])
def test_any_backbone_reads_the_blocks(backbone: str) -> None:
    made = fitted(PEEL, model={"name": backbone, "dim": 16, "window": 4})
    windows = made.cell.channels[0].windows(1, 4)[:, None]
    part, full = (made.half.scores(0, answered(made, room), windows) for room in (1000, None))
    assert part.isfinite().all()
    assert full.isfinite().all()
    assert (part != full).any(dim=2).all()


def test_the_codec_of_blocks_may_be_another_but_not_that_of_weights(peel: Fitted) -> None:
    config = peel.strategy.config
    table, weights = table_columns(peel.strategy.grids[0])
    assert column_codec(config, table).name == "blockdelta"
    assert column_codec(config, weights).name == "blockdelta"
    other = fitted({**PEEL, "codec": "dense"})
    stored = seal(stored_columns(other.strategy.grids[0], other.strategy.config), answered(other))
    assert set(stored.sizes) == {12 + 4 + 4 * 960 + 1 + 64}


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("groups", 0, r"'strategy.groups' = 0.*greater than or equal to 1"),
        ("clusters", 0, r"'strategy.clusters' = 0.*greater than or equal to 1"),
        ("slices", 0, r"'strategy.slices' = 0.*greater than or equal to 1"),
        ("diversity", -0.1, r"'strategy.diversity' = -0.1.*greater than or equal to 0"),
        ("diversity", math.inf, r"'strategy.diversity' = inf.*finite"),
        ("slices", 3, r"strategy.slices = 3 does not divide .* model.dim = 64; .*\[1, 2, 4, 8"),
    ],
)
def test_options_out_of_range_are_told(option: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_parts(tiny({"name": "peel", option: value}))
