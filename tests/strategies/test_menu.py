"""The menu: what is on a list, how long it is good for, and what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fedsim.data.base import Streams
from fedsim.engine.run import run
from fedsim.errors import ConfigError
from fedsim.setting import Uploads
from fedsim.training.targets import split
from fedsim.wire import HEADER_BYTES
from strategies import menu
from strategies._cloud_ranking import CloudRanking, _ease, _logit
from strategies._levels import unpacked
from strategies.snack import SnackEdge
from tests.strategies.fitted import Fitted, fitted
from tests.studies import tiny

ITEMS, LISTED = 60, 5
MENU: dict[str, Any] = {"name": "menu", "upload": 12, "listed": LISTED}


@pytest.fixture(scope="module")
def made() -> Fitted:
    return fitted(MENU)


def lists(packed: NDArray[np.uint8]) -> NDArray[np.int64]:
    return unpacked(packed, LISTED + 1, 6).astype(np.int64)


def test_a_list_has_the_best_items_of_the_clouds_ranking(made: Fitted) -> None:
    uploads = made.uploads().items
    found = lists(made.strategy.answer(0, made.uploads(), 1)["list"])
    np.testing.assert_array_equal(found[:, 0], uploads[:, -1])
    ranking = made.strategy._rankings[0]
    with torch.inference_mode():
        features = ranking._features(torch.from_numpy(uploads).long()).numpy()
    scores = np.tensordot(ranking.weights.numpy(), features, 1)
    scores[:, 0] = -np.inf
    wanted = np.argsort(-scores, axis=1, kind="stable")[:, :LISTED]
    np.testing.assert_array_equal(found[:, 1:], wanted)
    assert len(np.unique(found[:, 1:], axis=0)) > len(found) / 2


def test_features_are_what_they_are_called(made: Fitted) -> None:
    (learner,) = made.strategy._learners
    uploads = made.uploads().items[:3]
    ids = torch.from_numpy(uploads).long()
    with torch.inference_mode():
        chance, ease, follow = made.strategy._rankings[0]._features(ids).numpy()
        logits = learner(ids[:, None, -4:], ids)[:, 0] @ learner.items.T
        logits[:, 0] = -torch.inf
        logs = torch.log_softmax(logits, 1).numpy()
    np.testing.assert_allclose(chance[:, 1:], logs[:, 1:], rtol=1e-4, atol=1e-5)
    for feature, fade, table in zip((ease, follow), (0.97, 0.9), tables(made), strict=True):
        wanted = np.zeros((3, ITEMS + 1))
        for row, items in enumerate(uploads):
            for age, item in enumerate(items[::-1]):
                wanted[row] += fade**age * table[item] * (item > 0)
        np.testing.assert_allclose(feature[:, 1:], wanted[:, 1:], rtol=1e-3, atol=1e-5)


def tables(made: Fitted) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return EASE and what followed what, by their formulas, without the items that validate."""
    (streams,) = made.history
    edges = [
        streams.items[a : b - 1]
        for a, b in zip(streams.offsets[:-1], streams.offsets[1:], strict=True)
    ]
    seen, after = np.zeros((len(edges), ITEMS + 1)), np.zeros((ITEMS + 1, ITEMS + 1))
    for row, items in enumerate(edges):
        seen[row, items] = 1
        for at, item in enumerate(items):
            for later in items[at + 1 : at + 11]:
                after[item, later] += 1
    inverse = np.linalg.inv(seen.T @ seen + 150 * np.eye(ITEMS + 1))
    ease = -inverse / np.diag(inverse)
    np.fill_diagonal(ease, 0)
    scale = np.sqrt(np.outer(after.sum(1), after.sum(0)))
    return ease, after / np.where(scale > 0, scale, 1)


def test_a_fresh_list_is_ranked_first_and_a_void_one_not_at_all(made: Fitted) -> None:
    rows = made.strategy.answer(0, made.uploads(), 1)
    fresh = made.cell.channels[0].windows(1, 4)
    newer = np.roll(fresh, -1, axis=1)
    newer[:, -1] = fresh[:, -1] % ITEMS + 1
    windows = np.stack([fresh, newer], axis=1)
    with torch.inference_mode():
        found = made.half.scores(0, rows, windows).numpy()
        snack = SnackEdge.scores(made.half, 0, rows, windows).numpy()
    np.testing.assert_array_equal(found[:, 1], snack[:, 1])
    for edge, items in enumerate(lists(rows["list"])[:, 1:]):
        best = np.argsort(-found[edge, 0])
        np.testing.assert_array_equal(best[:LISTED], items)
        rest = np.setdiff1d(np.arange(ITEMS + 1), items)
        np.testing.assert_array_equal(found[edge, 0, rest], snack[edge, 0, rest])


def test_an_edge_without_history_has_no_fresh_list(made: Fitted) -> None:
    nothing = np.zeros((1, 12), np.int32)
    rows = made.strategy.answer(0, Uploads(np.arange(1), nothing), 1)
    with torch.inference_mode():
        found = made.half.scores(0, rows, nothing[:, None, :4])
        snack = SnackEdge.scores(made.half, 0, rows, nothing[:, None, :4])
    torch.testing.assert_close(found, snack)


def test_the_first_answer_has_no_list(made: Fitted) -> None:
    first = made.strategy.initial(0)
    assert not first["list"].any()
    assert first["code"].any()


@pytest.mark.parametrize(("exclude", "last"), [("none", 0), ("window", 4), ("seen", 12)])
def test_what_is_not_ranked_is_not_listed(exclude: str, last: int) -> None:
    made = fitted(MENU, changes={"evaluation": {"exclude": exclude}})
    uploads = made.uploads()
    found = lists(made.strategy.answer(0, uploads, 1)["list"])[:, 1:]
    left_out = uploads.items[:, 12 - last :]
    assert not (found[:, :, None] == left_out[:, None]).any()
    assert (found > 0).all()
    if not last:
        assert (found[:, :, None] == uploads.items[:, None]).any()


def test_an_upload_shorter_than_the_window_is_not_listed() -> None:
    made = fitted({**MENU, "upload": 3}, changes={"evaluation": {"exclude": "window"}})
    uploads = made.uploads()
    found = lists(made.strategy.answer(0, uploads, 1)["list"])[:, 1:]
    assert not (found[:, :, None] == uploads.items[:, None]).any()


def test_where_few_items_are_left_the_list_is_short() -> None:
    made = fitted(
        {"name": "menu", "upload": 12, "listed": 70}, changes={"evaluation": {"exclude": "seen"}}
    )
    uploads = made.uploads()
    found = unpacked(made.strategy.answer(0, uploads, 1)["list"], 71, 6)[:, 1:]
    for items, row in zip(uploads.items, found, strict=True):
        known = np.setdiff1d(np.arange(1, ITEMS + 1), items)
        assert sorted(row[row > 0]) == known.tolist()
    windows = made.cell.channels[0].windows(1, 4)[:, None]
    rows = made.strategy.answer(0, uploads, 1)
    assert torch.isfinite(made.half.scores(0, rows, windows)[..., 1:]).all()


def test_a_list_is_the_same_bits_in_any_batch(made: Fitted) -> None:
    ids = np.random.default_rng(1).integers(0, ITEMS + 1, (300, 12)).astype(np.int32)
    whole = made.strategy.answer(0, Uploads(np.arange(300), ids), 1)["list"]
    assert len(np.unique(whole, axis=0)) > 200
    for part in (slice(299, 300), slice(60, 70), slice(3, 270)):
        some = made.strategy.answer(0, Uploads(np.arange(300)[part], ids[part]), 1)["list"]
        np.testing.assert_array_equal(some, whole[part])


def test_the_snack_is_trained_once_for_both(made: Fitted) -> None:
    snack = fitted({"name": "snack", "upload": 12}).strategy._learners[0].state_dict()
    for name, value in made.strategy._learners[0].state_dict().items():
        torch.testing.assert_close(value, snack[name], rtol=0, atol=0)


def test_more_models_are_others_whose_chances_are_averaged(made: Fitted) -> None:
    two = fitted({**MENU, "models": 2})
    mine, other = (each.strategy.answer(0, made.uploads(), 1) for each in (made, two))
    np.testing.assert_array_equal(mine["code"], other["code"])
    ids = torch.from_numpy(made.uploads().items).long()
    both = two.strategy._rankings[0]
    (models,) = both.models
    assert not torch.equal(models[0].state_dict()["flat"], models[1].state_dict()["flat"])
    chances = []
    with torch.inference_mode():
        for some in (models[:1], models[1:], models):
            both.models = [some]
            chances.append(both._features(ids)[0, :, 1:].exp())
    torch.testing.assert_close(chances[2], (chances[0] + chances[1]) / 2)


def test_a_long_diet_ranks_too_and_is_trained_as_one(made: Fitted) -> None:
    rich = fitted({**MENU, "with_diet": True})
    mine, other = (each.strategy.answer(0, made.uploads(), 1) for each in (made, rich))
    np.testing.assert_array_equal(mine["code"], other["code"])
    ranking = rich.strategy._rankings[0]
    ids = torch.from_numpy(made.uploads().items).long()
    with torch.inference_mode():
        snack, diet, *tables = ranking._features(ids)
    assert not torch.equal(snack, diet)
    assert len(ranking.weights) == 2 + len(tables) == 4
    ranking.weights = torch.tensor([0.0, 1.0, 0.0, 0.0])
    likeliest = diet.where(diet != 0, -torch.inf).argmax(1, keepdim=True)
    np.testing.assert_array_equal(ranking.best(made.uploads().items, 1), likeliest)
    kept = {"upload": 12, "keep": 0.2, "epochs": rich.strategy.config.epochs}
    alone = fitted({"name": "long_diet"} | kept).strategy._learners[0].state_dict()
    for name, value in ranking.models[1][0].state_dict().items():
        torch.testing.assert_close(value, alone[name], rtol=0, atol=0)
    sizes = [len(each.strategy.provision().encode()["channel.0"]) for each in (made, rich)]
    assert sizes[0] == sizes[1]


def test_weights_make_the_wanted_items_likeliest() -> None:
    draws = np.random.default_rng(0)
    features = draws.normal(size=(3, 4000, 20)).astype(np.float32) * [[[1]], [[0.1]], [[5]]]
    scores = 1.5 * features[0] + 8 * features[1] + draws.gumbel(size=features.shape[1:])
    out = np.zeros(scores.shape, np.bool_)
    out[:, 0] = True
    scores[out] = -np.inf
    weights = _logit(features.astype(np.float32), out, scores.argmax(axis=1)).numpy()
    assert (np.abs(weights - [1.5, 8, 0]) < [0.1, 0.7, 0.02]).all()


def test_weights_do_not_show_rounding() -> None:
    draws = np.random.default_rng(1)
    features = draws.normal(size=(3, 500, 20)).astype(np.float32)
    wanted = (features[0] + 2 * features[1] + draws.gumbel(size=(500, 20))).argmax(axis=1)
    out = np.zeros((500, 20), np.bool_)
    found = _logit(features, out, wanted).numpy()
    order = draws.permutation(500)
    again = _logit(features[:, order], out, wanted[order]).numpy()
    np.testing.assert_allclose(found, again, rtol=1e-6, atol=1e-7)


def test_without_validation_the_chance_alone_counts(made: Fitted) -> None:
    nothing = Streams(np.empty(0, np.int32), np.zeros(1, np.int64))
    assert len(split(nothing)[1]) == 0
    models = made.strategy._learners
    ranking = CloudRanking(
        [models], nothing, "seen", ridge=1.0, reach=2, ease_fade=0.9, follow_fade=0.9
    )
    assert ranking.weights.tolist() == [1, 0, 0]
    assert ranking.best(np.zeros((2, 12), np.int64), 4).all()


def test_an_item_of_a_user_counts_once_in_ease() -> None:
    once = Streams(np.array([1, 2, 3, 1], np.int32), np.array([0, 2, 4]))
    twice = Streams(np.array([1, 2, 2, 1, 3, 1, 3], np.int32), np.array([0, 4, 7]))
    torch.testing.assert_close(_ease(once, 3, 2.0), _ease(twice, 3, 2.0))


def test_a_catalogue_may_be_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(menu, "LARGEST", 59)
    with pytest.raises(ConfigError, match=r"has 60 items, .* at most 59 of them; .* 'snack'"):
        fitted(MENU)


def test_bytes_of_an_answer(tmp_path: Path) -> None:
    done = run(tiny({"name": "menu", "listed": 9}), out=tmp_path)
    answered = done.ledger[done.ledger.answered]
    assert len(answered) == 24 * 3
    assert (answered.paper_bits == 128 + 10 * 6).all()
    lengths = 4  # of the first column, where there are two
    assert (answered.downlink_bytes == HEADER_BYTES + lengths + 16 + 8).all()
    assert (answered.macs == 208_640).all()


def test_a_shortlist_is_the_menus_list_and_no_network(made: Fitted) -> None:
    alone = fitted({**MENU, "name": "shortlist"})
    rows = alone.strategy.answer(0, alone.uploads(), 1)
    mine = made.strategy.answer(0, made.uploads(), 1)
    assert set(rows) == {"list"}
    np.testing.assert_array_equal(rows["list"], mine["list"])
    whole = alone.strategy.provision()
    assert not any(map(bool, (whole.shared, *whole.channels, *whole.candidates)))
    windows = made.cell.channels[0].windows(1, 4)[:, None].repeat(2, axis=1)
    scores = alone.half.scores(0, rows, windows).numpy()
    assert scores.shape == (len(windows), 2, ITEMS + 1)
    for edge, items in enumerate(lists(rows["list"])[:, 1:]):
        for line in scores[edge]:
            assert np.argsort(-line, kind="stable")[:LISTED].tolist() == items.tolist()
            assert np.count_nonzero(line) == LISTED
    one = {"list": rows["list"][:1]}
    np.testing.assert_array_equal(alone.half.scores(0, one, windows[:3]), [scores[0]] * 3)


def test_a_shortlist_is_stored_and_nothing_is_multiplied(tmp_path: Path) -> None:
    done = run(tiny({"name": "shortlist", "listed": 9}), out=tmp_path)
    answered = done.ledger[done.ledger.answered]
    assert (answered.downlink_bytes == HEADER_BYTES + 8).all()
    assert (answered.stored_bytes < 100).all()  # an empty provision's header is 72
    assert (answered.macs == 0).all()
    provided = done.ledger[done.ledger["round"] == 0]
    assert (provided.downlink_bytes < 100).all()
