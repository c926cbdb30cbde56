"""Forward-OFA: gates and their gradients, answers and their bytes, memory, messages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fedsim.edges.side import make_columns
from fedsim.engine.run import run
from fedsim.errors import ConfigError
from fedsim.models.sasrec import SASRec, SASRecConfig
from fedsim.plugins import options
from fedsim.setting import Uploads
from fedsim.training.learner import DenseLearner
from fedsim.training.loop import Trainer
from fedsim.training.targets import grouped, split
from fedsim.wire import at_rest, open_records, seal
from strategies._forward_ofa import ForwardOfaLearner, LowRank, capped
from strategies.forward_ofa import ForwardOfaConfig, assembled, record_sizes
from tests.strategies.fitted import Fitted, fitted
from tests.studies import tiny

SMALL = {"name": "sasrec", "dim": 16, "heads": 2, "window": 4, "blocks": 3}
BLOCK = 5 * 16 * 16


@pytest.fixture(scope="module")
def made() -> Fitted:
    return fitted({"name": "forward_ofa", "upload": 8, "sparsity": 0.0}, model=SMALL)


def learner(**changes: Any) -> ForwardOfaLearner:
    config = ForwardOfaConfig(**({"upload": 6} | changes))
    gen = torch.Generator().manual_seed(0)
    return ForwardOfaLearner(DenseLearner(SASRec(SASRecConfig(**SMALL)), 60, gen), gen, config)


def some_uploads(count: int, length: int = 6) -> NDArray[np.int64]:
    return np.random.default_rng(0).integers(0, 61, (count, length))


def gradient(parameter: torch.Tensor) -> torch.Tensor:
    assert parameter.grad is not None
    return parameter.grad


# ---- the controller ---------------------------------------------------------------------------


def test_gates_are_drawn_with_their_probability_and_from_their_generator() -> None:
    scores = torch.tensor([[-1.0, 0.0, 2.0]]).expand(20_000, 3)
    first, again, other = (
        learner().sampled(scores, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert set(first.flatten().tolist()) == {0.0, 1.0}
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.testing.assert_close(first.mean(0), torch.sigmoid(scores[0]), atol=0.015, rtol=0)


def test_gates_pass_the_gradient_of_the_relaxed_ones() -> None:
    scores = torch.tensor([[-1.0, 0.5, 2.0]], requires_grad=True)
    made = learner(temperature=0.5)
    made.sampled(scores, torch.Generator().manual_seed(3)).sum().backward()  # type: ignore[no-untyped-call]
    uniform = torch.rand(1, 3, generator=torch.Generator().manual_seed(3))
    relaxed = torch.sigmoid((scores.detach() + torch.log(uniform / (1 - uniform))) / 0.5)
    torch.testing.assert_close(scores.grad, relaxed * (1 - relaxed) / 0.5)


def test_the_gradient_of_the_ranking_reaches_the_controller() -> None:
    made = learner(sparsity=0.0)
    windows = torch.from_numpy(some_uploads(8, 4)).view(8, 1, 4)
    uploads = torch.from_numpy(some_uploads(8))
    query = made(windows, uploads, gen=torch.Generator().manual_seed(0))
    query.square().sum().backward()
    assert gradient(made.light).abs().max() > 1e-4
    assert gradient(made.extractors.hidden)[0].abs().max() > 1e-6


def test_the_penalty_is_lambda_times_the_expected_share_of_the_macs() -> None:
    made = learner(sparsity=0.7, start=0.3)
    made.light.data.zero_()
    windows, uploads = torch.zeros(2, 1, 4, dtype=torch.int64), torch.from_numpy(some_uploads(2))
    made(windows, uploads, gen=torch.Generator())
    assert isinstance(made.penalty, torch.Tensor)
    assert made.penalty.item() == pytest.approx(0.7 / (1 + np.exp(-0.3)))


@pytest.mark.parametrize(("sparsity", "least", "most"), [(0.0, 1, 3), (50.0, 0, 0.1)])
def test_lambda_decides_how_many_blocks_are_assembled(
    made: Fitted, sparsity: float, least: float, most: float
) -> None:
    trained = learner(sparsity=sparsity, start=0.5)
    (streams,) = made.history
    config = made.setting.scenario.train
    trainer = Trainer(trained, streams, config, "none", torch.Generator().manual_seed(0))
    targets, _ = split(streams)
    groups = grouped(targets, 1, np.random.default_rng(0))
    for _ in range(30):
        trainer.step(targets, groups, 0.02)
    rows = trained.answers(some_uploads(50), np.full(50, 3))
    counts = assembled(rows, trained.backbone.layout).sum(1)
    assert least <= counts.mean() <= most
    macs = made.half.macs(0, {"weights": rows})
    assert macs.tolist() == (counts * (4 * BLOCK + 2 * 10 * 16)).tolist()


# ---- the mapper -------------------------------------------------------------------------------


def test_a_low_rank_layer_multiplies_as_if_written_out() -> None:
    gen = torch.Generator().manual_seed(0)
    shapes = ((5, 7), (5, 3), (7, 3), (4, 3))
    layer = LowRank(*(torch.randn(shape, generator=gen) for shape in shapes))
    values = torch.randn(4, 6, 7, generator=gen)
    whole = layer.written_out()
    assert whole.shape == (4, 5, 7)
    wanted = layer.base + sum(
        layer.c[2, k] * torch.outer(layer.left[:, k], layer.right[:, k]) for k in range(3)
    )
    torch.testing.assert_close(whole[2], wanted)
    torch.testing.assert_close(layer.linear(values), values @ whole.transpose(1, 2))


def test_a_block_that_is_left_out_gets_no_gradient_from_the_others() -> None:
    made = learner()
    uploads = torch.from_numpy(some_uploads(8))
    gates = torch.tensor([[1.0, 0.0, 1.0]]).expand(8, 3)
    items = torch.randn(8, 1, 4, 16, generator=torch.Generator().manual_seed(0))
    weights = made.mapped(made.states(uploads), gates)
    padding = torch.zeros(8, 1, 4, dtype=torch.bool)
    query = made.backbone.forward(weights, dict(made.small), items, padding, gates=gates)
    query.square().sum().backward()  # type: ignore[no-untyped-call]
    parts = [gradient(part) for part in (made.hyper, made.mix, made.structure)]
    for part in (*parts, gradient(made.base).view(3, -1), gradient(made.extractors.hidden)[1:]):
        assert not part[1].any()
        assert part[0].abs().max() > 0
        assert part[2].abs().max() > 0


def test_parameters_depend_on_behaviours_and_on_the_structure() -> None:
    made = learner()
    states = made.states(torch.from_numpy(some_uploads(2)))
    on, fewer = torch.ones(2, 3), torch.tensor([[1.0, 1.0, 0.0]]).expand(2, 3)
    first = made.mapped(states, on)[0].written_out()
    assert (first[0] - first[1]).abs().max() > 1e-4
    assert (first - made.mapped(states, fewer)[0].written_out()).abs().max() > 1e-4


def test_it_starts_from_a_dense_model_of_all_blocks() -> None:
    gen = torch.Generator().manual_seed(0)
    warm = DenseLearner(SASRec(SASRecConfig(**SMALL)), 60, gen)
    made = ForwardOfaLearner(warm, gen, ForwardOfaConfig(gain=1e-9, start=9.0))
    windows, uploads = (torch.from_numpy(some_uploads(5, length)) for length in (4, 20))
    found = made(windows[:, None], uploads)
    torch.testing.assert_close(found, warm(windows[:, None], uploads), rtol=1e-4, atol=1e-5)


# ---- answers ----------------------------------------------------------------------------------


def test_an_edge_computes_what_training_did(made: Fitted) -> None:
    (learned,) = made.strategy._learners
    uploads = made.uploads()
    rows = made.strategy.answer(0, uploads, 1)
    windows = made.cell.channels[0].windows(1, 4)[:, None]
    with torch.no_grad():
        ids = torch.from_numpy(uploads.items.astype(np.int64))
        wanted = learned(torch.from_numpy(windows.astype(np.int64)), ids)
        found = made.half.queries(0, rows, windows)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_an_answer_depends_on_its_own_upload_alone() -> None:
    made = learner()
    uploads = some_uploads(70)
    most = np.full(70, 3)
    together = made.answers(uploads, most)
    for start, count in [(0, 1), (3, 1), (5, 2), (1, 3), (7, 9), (60, 10), (2, 66)]:
        part = slice(start, start + count)
        np.testing.assert_array_equal(made.answers(uploads[part], most[part]), together[part])


def test_bytes_are_the_header_a_byte_of_bits_and_two_a_parameter(made: Fitted) -> None:
    columns = make_columns_of(made)
    rows = made.strategy.answer(0, made.uploads(), 1)
    counts = assembled(rows["weights"], made.setting.backbone.layout).sum(1)
    assert seal(columns, rows).sizes.tolist() == (12 + 1 + 2 * BLOCK * counts).tolist()
    np.testing.assert_array_equal(made.half.paper_bits(0, rows), 3 + 32 * BLOCK * counts)


def test_six_blocks_of_the_papers_size() -> None:
    codec, layout = ForwardOfaConfig().codec, SASRec(SASRecConfig(blocks=6)).layout
    assert record_sizes(codec, layout).tolist() == [13 + 40_960 * blocks for blocks in range(7)]
    whole = options("codecs", {"name": "dense"})
    assert record_sizes(whole, layout).tolist() == [12 + 4 * 6 * 20_480] * 7


def test_half_precision_hardly_moves_the_ranking(made: Fitted) -> None:
    columns = make_columns_of(made)
    rows = made.strategy.answer(0, made.uploads(), 1)
    sent = open_records(columns, seal(columns, rows))
    windows = made.cell.channels[0].windows(1, 4)[:, None]
    exact, rounded = (made.half.queries(0, each, windows).detach() for each in (rows, sent))
    assert (exact - rounded).abs().max() < 0.02
    assert (assembled(sent["weights"], made.setting.backbone.layout).sum(1) == 3).any()


def test_the_first_answer_has_the_blocks_most_edges_assemble(made: Fitted) -> None:
    rows = np.zeros((3, 3 * BLOCK), np.float32)
    rows[:, :BLOCK] = [[1], [2], [6]]
    rows[0, BLOCK : 2 * BLOCK] = 1
    rows[1:, 2 * BLOCK :] = [[1], [2]]
    (one,) = made.strategy.majority(0, {"weights": rows})["weights"]
    assert one[:BLOCK].tolist() == [3.0] * BLOCK
    assert not one[BLOCK : 2 * BLOCK].any()
    assert one[2 * BLOCK :].tolist() == [1.5] * BLOCK
    assert made.strategy.initial(0)["weights"].shape == (1, 3 * BLOCK)


# ---- memory -----------------------------------------------------------------------------------


def make_columns_of(made: Fitted) -> Any:
    return at_rest(make_columns(made.strategy, 0, made.strategy.provision().channels[0]))


def test_memory_caps_the_blocks_and_the_least_likely_go(made: Fitted) -> None:
    uploads = made.uploads()
    memory = np.resize([5, 13 + 2 * BLOCK, 13 + 4 * BLOCK + 1, 10**9], len(uploads.items))
    rows = made.strategy.answer(0, replace(uploads, memory=memory), 1)
    there = assembled(rows["weights"], made.setting.backbone.layout)
    free = assembled(made.strategy.answer(0, uploads, 1)["weights"], made.setting.backbone.layout)
    most = np.resize([0, 1, 2, 3], len(memory))
    assert there.sum(1).tolist() == np.minimum(free.sum(1), most).tolist()
    assert (there <= free).all()
    (learned,) = made.strategy._learners
    ids = torch.from_numpy(uploads.items.astype(np.int64))
    with torch.no_grad():
        scores = learned.scores(learned.states(ids)).numpy()
    gone = free & ~there
    least_kept = np.where(there, scores, np.inf).min(1)
    assert gone.any()
    assert (np.where(gone, scores, -np.inf).max(1) <= least_kept).all()
    sizes = seal(make_columns_of(made), rows).sizes
    assert (sizes[memory >= 13] <= memory[memory >= 13]).all()


def test_the_lower_index_wins_a_tie() -> None:
    gates = capped(torch.tensor([[1.0, 1.0, 1.0], [0.0, 1.0, 1.0]]), torch.tensor([2, 1]))
    assert gates.tolist() == [[1, 1, 0], [0, 1, 0]]


def test_an_edge_whose_memory_shrinks_drops_the_least_likely_blocks(made: Fitted) -> None:
    usual = made.half.provision.channels[0]["probabilities"].astype(np.float64)
    rows = np.ones((3, 3 * BLOCK), np.float32)
    rows[2, :BLOCK] = 0
    memory = np.array([13 + 2 * BLOCK, 13 + 5 * BLOCK, 13 + 2 * BLOCK])
    kept = made.half.shrink(0, {"weights": rows}, memory)["weights"]
    there = assembled(kept, made.setting.backbone.layout)
    order = np.argsort(-usual, kind="stable")
    wanted = np.zeros((3, 3), np.bool_)
    wanted[0, order[:1]] = wanted[1, order[:2]] = True
    wanted[2, [block for block in order if block != 0][:1]] = True
    np.testing.assert_array_equal(there, wanted)
    np.testing.assert_array_equal(kept, np.repeat(wanted, BLOCK, axis=1).astype(np.float32))
    assert (seal(make_columns_of(made), {"weights": kept}).sizes <= memory).all()


def test_a_run_with_changing_memory_never_stores_more(tmp_path: Any) -> None:
    room = {"2g": float(13 + 2 * BLOCK), "wifi": float(13 + 8 * BLOCK)}
    scenario = tiny(
        {"name": "forward_ofa", "upload": 8, "sparsity": 0.0},
        **{
            "model": SMALL,
            "population.devices": {"2g": 1.0, "wifi": 1.0},
            "memory.bytes": room,
            "memory.least": 0.5,
            "request.name": "every_k",
            "request.k": 2,
        },
    )
    done = run(scenario, out=tmp_path)
    later = done.ledger[done.ledger["round"] > 0].merge(done.edges[["edge", "device"]])
    assert not later.too_large.any()
    assert (later.downlink_bytes <= later.memory_bytes).all()
    per_block = 4 * BLOCK + 2 * 10 * 16
    blocks = later.parts.map(sum)
    assert later.parts.map(len).eq(3).all()
    assert (later.macs == per_block * blocks).all()
    assert (13 + 2 * BLOCK * blocks <= later.memory_bytes).all()
    assert blocks[later.device == "2g"].max() <= 1
    assert blocks[later.device == "wifi"].max() > 1
    stored = later.stored_bytes - later.stored_bytes.min()
    assert (stored <= later.memory_bytes).all()


# ---- what is told ------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_lambda_out_of_range_is_told(value: float) -> None:
    with pytest.raises(ConfigError, match=r"strategy\.sparsity"):
        tiny({"name": "forward_ofa", "sparsity": value})


def test_backbones_without_blocks_are_refused_and_others_named() -> None:
    with pytest.raises(
        ConfigError, match=r"backbone 'caser' has none; set model\.name to 'sasrec'"
    ):
        fitted("forward_ofa", model={"name": "caser"})


def test_answers_differ_between_edges(made: Fitted) -> None:
    uploads = made.uploads()
    rows = made.strategy.answer(0, uploads, 1)["weights"]
    same = Uploads(uploads.edges, np.repeat(uploads.items[:1], len(uploads.items), 0))
    assert (rows != rows[:1]).any()
    assert (made.strategy.answer(0, same, 1)["weights"] == rows[:1]).all()
