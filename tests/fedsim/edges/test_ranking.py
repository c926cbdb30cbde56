"""Ranks of next items against a plain reference, under every rule of exclusion."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fedsim.edges.ranking import Targets, rank_targets, sample_candidates
from fedsim.errors import PluginError
from fedsim.population import ChannelStreams
from fedsim.scenario import EvaluationConfig
from fedsim.strategy import EdgeHalf

ITEMS = 30
WINDOW = 3


class LastItem:
    """Scores that depend on the edge's own row and the window's items."""

    backbone = SimpleNamespace(window=WINDOW)
    setting = SimpleNamespace(channels=(SimpleNamespace(num_items=ITEMS),))

    def scores(
        self, channel: int, rows: dict[str, NDArray[Any]], windows: NDArray[np.int32]
    ) -> torch.Tensor:
        row = np.broadcast_to(rows["row"], (len(windows), 1))
        last = windows.astype(np.float64) @ np.array([0.1, 0.7, 1.3])
        line = np.sin(np.arange(ITEMS + 1) * 1.7 + last[..., None] + row[:, None])
        return torch.from_numpy(line.astype(np.float32))


@pytest.fixture
def streams() -> ChannelStreams:
    gen = np.random.default_rng(2)
    lengths = np.array([25, 4, 0, 13])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    items = gen.integers(1, ITEMS + 1, offsets[-1]).astype(np.int32)
    return ChannelStreams(items, offsets, np.stack([lengths // 2, lengths], axis=1))


def reference(
    streams: ChannelStreams, rows: NDArray[np.float64], targets: Targets, exclude: str
) -> list[int]:
    ranks = []
    for owner, position in zip(targets.owner, targets.position, strict=True):
        stream = streams.items[streams.offsets[owner] : streams.offsets[owner + 1]]
        before = stream[:position]
        window = np.zeros(WINDOW, np.int32)
        known = before[-WINDOW:]
        if len(known):
            window[-len(known) :] = known
        row = {"row": rows[owner : owner + 1]}
        scores = LastItem().scores(0, row, window[None, None]).numpy()[0, 0]
        out = {"none": before[:0], "window": before[-WINDOW:], "seen": before}[exclude]
        scores[0] = -np.inf
        scores[out] = -np.inf
        mine = scores[stream[position]]
        ranks.append(int((scores[1:] >= mine).sum()) - 1)
    return ranks


@pytest.mark.parametrize("exclude", ["none", "window", "seen"])
def test_ranks_equal_a_plain_reference(streams: ChannelStreams, exclude: Any) -> None:
    rows = np.array([[0.0], [1.0], [2.0], [3.0]])
    targets = Targets(*streams.targets(1))
    found = rank_targets(
        cast(EdgeHalf, LastItem()),
        0,
        {"row": rows},
        streams,
        targets,
        np.arange(4),
        EvaluationConfig(exclude=exclude),
    )
    assert found.tolist() == reference(streams, rows, targets, exclude)


def test_a_sample_of_edges_ranks_as_in_the_whole(streams: ChannelStreams) -> None:
    rows = np.array([[0.0], [1.0], [2.0], [3.0]])
    targets = Targets(*streams.targets(1))
    sample = np.array([0, 3])
    config = EvaluationConfig()
    half = cast(EdgeHalf, LastItem())
    whole = rank_targets(half, 0, {"row": rows}, streams, targets, np.arange(4), config)
    part = rank_targets(half, 0, {"row": rows[sample]}, streams, targets.of(sample), sample, config)
    assert part.tolist() == whole[np.isin(targets.owner, sample)].tolist()


def test_candidates_limit_who_can_be_above(streams: ChannelStreams) -> None:
    rows = np.zeros((1, 1))
    targets = Targets(*streams.targets(1))
    candidates = sample_candidates(7, 1, np.arange(4), ITEMS, 5)
    assert candidates.min() >= 1
    assert candidates.max() <= ITEMS
    half, config = cast(EdgeHalf, LastItem()), EvaluationConfig()
    ranks = rank_targets(half, 0, {"row": rows}, streams, targets, np.arange(4), config, candidates)
    everything = np.tile(np.arange(1, ITEMS + 1, dtype=np.int32), (4, 1))
    whole = rank_targets(half, 0, {"row": rows}, streams, targets, np.arange(4), config)
    same = rank_targets(half, 0, {"row": rows}, streams, targets, np.arange(4), config, everything)
    assert ranks.max() <= 5
    assert same.tolist() == whole.tolist()


@pytest.mark.parametrize("item", [None, 1])
@pytest.mark.parametrize("exclude", ["none", "window"])
def test_scores_that_are_not_numbers_are_no_perfect_model(
    streams: ChannelStreams, exclude: Any, item: int | None
) -> None:
    """Of one edge: all its scores, or one item's."""

    class Diverged(LastItem):
        def scores(self, *args: Any) -> torch.Tensor:
            scores = super().scores(*args)
            rows = torch.from_numpy(args[1]["row"])[:, 0] == 3.0
            scores[rows, :, slice(None) if item is None else item] = torch.nan
            return scores

    targets = Targets(*streams.targets(1))
    rows = {"row": np.array([[0.0], [1.0], [2.0], [3.0]])}
    half, config = cast(EdgeHalf, Diverged()), EvaluationConfig(exclude=exclude)
    ranks = rank_targets(half, 0, rows, streams, targets, np.arange(4), config)
    assert ((ranks < 0) == (targets.owner == 3)).all()


@pytest.mark.parametrize(
    ("made", "given"),
    [
        (lambda scores: scores[..., :20].contiguous(), r"float32 \(4, 8, 20\)"),
        (lambda scores: scores[..., 1:], r"float32 \(4, 8, 30\)"),
        (lambda scores: scores[:1], r"float32 \(1, 8, 31\)"),
        (lambda scores: scores[:, 0], r"float32 \(4, 31\)"),
        (lambda scores: scores.long(), r"int64 \(4, 8, 31\)"),
        (lambda scores: scores.numpy(), "a ndarray"),
    ],
)
def test_scores_of_another_shape_or_type_are_told(
    streams: ChannelStreams, made: Callable[[torch.Tensor], Any], given: str
) -> None:
    """The compiled ranking checks no bounds: a short row would be read and written past its end."""

    class Wrong(LastItem):
        def scores(self, *args: Any) -> Any:
            return made(super().scores(*args))

    targets, rows = Targets(*streams.targets(1)), {"row": np.zeros((1, 1))}
    told = rf"scores\(\) of Wrong gave {given}, wanted .* \(B, K, V \+ 1\) = \(4, 8, 31\)"
    with pytest.raises(PluginError, match=told):
        rank_targets(
            cast(EdgeHalf, Wrong()), 0, rows, streams, targets, np.arange(4), EvaluationConfig()
        )


def test_scores_may_be_doubles_and_remember_how_they_were_made(streams: ChannelStreams) -> None:
    class Doubles(LastItem):
        def scores(self, *args: Any) -> torch.Tensor:
            return super().scores(*args).double().requires_grad_()

    targets, rows = Targets(*streams.targets(1)), {"row": np.zeros((1, 1))}
    args = (0, rows, streams, targets, np.arange(4), EvaluationConfig())
    found = rank_targets(cast(EdgeHalf, Doubles()), *args)
    assert found.tolist() == rank_targets(cast(EdgeHalf, LastItem()), *args).tolist()


def test_a_score_that_is_not_ranked_may_be_anything(streams: ChannelStreams) -> None:
    class NoPadding(LastItem):
        def scores(self, *args: Any) -> torch.Tensor:
            scores = super().scores(*args)
            scores[..., 0] = torch.nan
            return scores

    targets, rows = Targets(*streams.targets(1)), {"row": np.zeros((1, 1))}
    args = (0, rows, streams, targets, np.arange(4), EvaluationConfig())
    found = rank_targets(cast(EdgeHalf, NoPadding()), *args)
    assert found.tolist() == rank_targets(cast(EdgeHalf, LastItem()), *args).tolist()
