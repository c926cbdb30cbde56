"""The trials of docs/front.md: each ranks as it was trained, and in as many bytes as it says."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from docs.trials.coarse_diet import groups_of
from docs.trials.codebook_diet import CodebookLearner
from docs.trials.read_vector import AttentionReader
from fedsim.engine.run import run
from fedsim.errors import ConfigError
from fedsim.layout import Layer, Layout
from fedsim.paper_toml import load_paper
from fedsim.scenario import load_scenario
from fedsim.setting import Uploads
from fedsim.wire import HEADER_BYTES
from strategies._levels import packed, unpacked
from tests.strategies.fitted import Fitted, bits, fitted
from tests.studies import tiny

TABLE = Path(__file__).parents[2] / "docs" / "trials" / "front.toml"

CASES: dict[str, tuple[dict[str, Any], int]] = {
    "rows": ({"name": "docs.trials.coarse_diet:RowDiet", "keep": 0.2}, 640 // 8),
    "blocks": ({"name": "docs.trials.coarse_diet:RowDiet", "keep": 0.2, "block": 8}, 80 // 8),
    "low_rank": ({"name": "docs.trials.low_rank_diet:LowRankDiet"}, 40_960 // 8),
    "codebook": ({"name": "docs.trials.codebook_diet:CodebookDiet"}, 40 // 8),
    "gru": ({"name": "docs.trials.read_vector:ReadVector"}, 4 * 64),
    "attention": ({"name": "docs.trials.read_vector:ReadVector", "reader": "attention"}, 4 * 64),
    "hybrid": ({"name": "docs.trials.hybrid:Hybrid"}, 4 * 64),
    "signed": ({"name": "docs.trials.signed_diet:SignedDiet"}, 2 * 40_960 // 8),
}
"""What is tried, and the bytes of an answer for SASRec as in the table."""


@cache
def usual(case: str) -> Fitted:
    """Fit a case, once; tests leave it as it is."""
    table = {**CASES[case][0], "upload": 12}
    return fitted(table | {"block": 4} if case == "blocks" else table)


def answer(made: Fitted, uploads: Uploads) -> np.ndarray:
    (column,) = made.strategy.columns()
    rows: np.ndarray = made.strategy.answer(0, uploads, 1)[column.name]
    return rows


@pytest.mark.parametrize("case", CASES)
def test_an_edge_ranks_as_it_was_trained(case: str) -> None:
    made = usual(case)
    (learner,) = made.strategy._learners
    uploads = made.uploads()
    windows = made.cell.channels[0].windows(1, 4)[:, None]
    ids = torch.from_numpy(uploads.items).long()
    with torch.no_grad():
        trained = learner(torch.from_numpy(windows).long(), ids)
        served = made.half.queries(0, made.strategy.answer(0, uploads, 1), windows)
        other = made.half.queries(0, made.strategy.initial(0), windows)
    torch.testing.assert_close(served, trained, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(served, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_a_row_is_the_same_bits_in_any_batch(case: str) -> None:
    made = usual(case)
    ids = np.random.default_rng(1).integers(0, 61, (300, 12)).astype(np.int32)
    whole = answer(made, Uploads(np.arange(300), ids))
    assert len(whole) == 300
    assert len(np.unique(whole, axis=0)) > 1
    for part in (slice(299, 300), slice(60, 70), slice(3, 270)):
        some = answer(made, Uploads(np.arange(300)[part], ids[part]))
        np.testing.assert_array_equal(some, whole[part])


@pytest.mark.parametrize("case", CASES)
def test_a_gradient_reaches_every_part(case: str) -> None:
    (learner,) = usual(case).strategy._learners
    ids = torch.randint(1, 61, (6, 2, 4), generator=torch.Generator().manual_seed(0))
    learner.zero_grad()
    learner(ids, torch.cat([ids[:, 0]] * 3, 1)).square().sum().backward()
    for name, parameter in learner.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("case", CASES)
def test_an_answer_is_as_many_bytes_as_told(case: str, tmp_path: Path) -> None:
    strategy, size = CASES[case]
    done = run(tiny(strategy, **{"train.epochs": 1, "strategy.epochs": 1}), out=tmp_path)
    answered = done.ledger[done.ledger.answered]
    assert len(answered) == 24 * 3
    assert (answered.downlink_bytes == HEADER_BYTES + size).all()
    assert (answered.paper_bits == 8 * size).all()
    assert (answered.macs <= 208_640).all()
    assert (done.ledger.targets.sum()) > 0


@pytest.mark.parametrize("case", ["rows", "blocks"])
def test_shut_rows_keep_nothing_and_open_ones_what_the_mask_keeps(case: str) -> None:
    made = usual(case)
    (learner,) = made.strategy._learners
    layout, block = made.setting.backbone.layout, made.strategy.config.block
    groups = groups_of(layout, block)
    rows = made.strategy.answer(0, made.uploads(), 1)
    is_open = bits(rows["mask"], groups.size).reshape(len(rows["mask"]), len(layout.layers), -1)
    few = 16 // block
    assert (is_open.sum(axis=2) == round(0.8 * few)).all()
    mask = bits(learner.mask.numpy()[None], layout.size).reshape(-1, 16, 16)
    wanted = is_open.repeat(block, axis=2)[..., None] * mask
    kept = made.half.decoded(0, rows["mask"])  # type: ignore[attr-defined]
    np.testing.assert_array_equal(bits(kept, layout.size), wanted.reshape(len(kept), -1))
    assert (made.half.macs(0, rows) < made.setting.backbone.macs()).all()


def test_blocks_divide_the_rows() -> None:
    with pytest.raises(ConfigError, match=r"strategy.block = 7 does not divide the 64 rows of 'a'"):
        groups_of(Layout((Layer("a", 64, 8),)), 7)


def test_only_masks_of_the_book_are_answered_and_first_those_named_most() -> None:
    made = usual("codebook")
    rows = made.strategy.answer(0, made.uploads(), 1)
    kept = made.half.decoded(0, rows["mask"])  # type: ignore[attr-defined]
    book = made.half.provision.channels[0]["masks"]
    assert book.shape == (16, 10 * 256 // 8)
    for layer in range(10):
        part = slice(layer * 32, (layer + 1) * 32)
        assert {row.tobytes() for row in kept[:, part]} <= {row.tobytes() for row in book[:, part]}
    names = np.array([[3] * 10, [5] * 10, [5] * 10], np.uint8)
    most = made.strategy.majority(0, {"mask": packed(names, 4)})["mask"]
    assert unpacked(most, 10, 4).tolist() == [[5] * 10]


def test_a_choice_in_training_is_one_mask_of_the_book_exactly() -> None:
    (learner,) = usual("codebook").strategy._learners
    assert isinstance(learner, CodebookLearner)
    ids = torch.randint(0, 61, (40, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        names = learner.logits(ids).argmax(2)
        for (scores, _), of, book in zip(
            learner.layer_scores(ids), names, learner.scores, strict=True
        ):
            torch.testing.assert_close(scores, book[of], rtol=0, atol=0)


def test_attention_without_queries_reads_decayed_means() -> None:
    vector, attention = (
        fitted({**table, "upload": 12}, changes={"train.lr": 1e-30}).strategy._learners[0]
        for table in ({"name": "user_vector"}, CASES["attention"][0])
    )
    assert isinstance(attention.reader, AttentionReader)
    ids = torch.tensor([[0] * 12, [0] * 9 + [3, 5, 7], list(range(1, 13))])
    with torch.no_grad():
        attention.reader.queries.zero_()
        found = attention.reader.means(ids, attention.items)
        wanted = vector.reader.means(ids, vector.items)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_signs_are_turned_of_kept_weights_only() -> None:
    made = usual("signed")
    size = made.setting.backbone.layout.size
    both = bits(made.strategy.answer(0, made.uploads(), 1)["mask"], 2 * size)
    kept, turned = both[:, :size], both[:, size:]
    assert (turned <= kept).all()
    assert 0 < turned.sum() < kept.sum()


def test_every_row_of_the_table_can_be_run() -> None:
    spec = load_paper(str(TABLE))
    names = {str(row.set["strategy.name"]) for row in spec.rows}
    assert {table["name"] for table, _ in CASES.values()} <= names
    for row in spec.rows:
        scenario = load_scenario(spec.scenario, (), {**spec.changes("ml-100k"), **row.set})
        assert scenario.stream.hold_out == 1
