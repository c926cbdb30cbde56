"""What a paper's figures show beyond ledgers: means over seeds, and what is drawn of them."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import pyplot as plt

from analysis.paper_views import case, curves, rows


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def epochs(*values: float) -> list[dict[str, float]]:
    return [{"loss": 1.0, "ndcg": value, "hit": 2 * value} for value in values]


def test_a_curve_is_the_mean_over_the_seeds_that_still_train() -> None:
    part = curves("Here", {"Base": [epochs(0.1, 0.3), epochs(0.3)], "DIET": [epochs(0.2, 0.1)]})
    numbers = part.table.numbers
    assert numbers["ndcg"].tolist() == pytest.approx([0.2, 0.3, 0.2, 0.1])
    assert numbers["seeds"].tolist() == [2, 1, 1, 1]
    assert part.table.text.to_numpy().tolist() == [
        ["Base", 2, "0.3000", "0.6000"],
        ["DIET", 1, "0.2000", "0.4000"],
    ]
    _, ax = plt.subplots()
    part.draws[1](ax)
    base, diet = (np.asarray(line.get_xydata()).tolist() for line in ax.get_lines())
    assert base == [[1.0, pytest.approx(0.4)], [2.0, pytest.approx(0.6)]]
    assert diet == [[1.0, 0.4], [2.0, 0.2]]


def test_rows_are_bars_by_layer() -> None:
    part = rows("Here", {"+MG": {"a": [0.5, 1.0], "b": [1.0]}, "DIET": {"a": [0.25], "b": [0.5]}})
    assert part.table.text.to_numpy().tolist() == [
        ["a", "75.0%", "25.0%"],
        ["b", "100.0%", "50.0%"],
    ]
    _, ax = plt.subplots()
    part.draws[0](ax)
    widths = [[bar.get_width() for bar in container] for container in ax.containers]
    assert widths == [[0.75, 1.0], [0.25, 0.5]]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]


def test_a_case_marks_the_next_item() -> None:
    found = SimpleNamespace(
        user=3,
        other=5,
        window=["A", "B"],
        others_window=["Y"],
        following="C",
        first={"Base": ["D", "E"], "own": ["D", "C"]},
        hits={"Base": 0.25, "own": 0.5},
    )
    part = case("Here", found)
    assert part.table.text.to_numpy().tolist() == [[1, "D", "D"], [2, "E", "C (next)"]]
    assert part.told[-1] == "users whose next item is among the first 2: Base 25.0%, own 50.0%"
