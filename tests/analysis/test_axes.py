from __future__ import annotations

from itertools import pairwise

import pytest
from matplotlib.figure import Figure

from analysis.axes import ByteFormatter, byte_axis


@pytest.mark.parametrize(
    ("ticks", "texts"),
    [
        ([5170, 5200, 5220, 5250], ["5.17 kB", "5.20 kB", "5.22 kB", "5.25 kB"]),
        ([0, 500_000, 1_000_000], ["0", "0.5 MB", "1.0 MB"]),
        ([0, 20, 40], ["0", "20 B", "40 B"]),
        ([], []),
    ],
)
def test_ticks_in_bytes_have_one_unit_and_as_many_decimals(
    ticks: list[float], texts: list[str]
) -> None:
    assert ByteFormatter().format_ticks(ticks) == texts


@pytest.mark.parametrize("values", [[168_000, 1_480_000], [5_150, 5_151], [16, 80], [10, 90_000]])
def test_ticks_of_a_horizontal_axis_leave_each_other_room(values: list[float]) -> None:
    figure = Figure(figsize=(4.5, 3.2), layout="constrained")
    ax = figure.subplots()
    byte_axis(ax.xaxis, values)
    ax.plot(values, [0, 1])
    figure.draw_without_rendering()
    low, high = ax.get_xlim()
    boxes = [
        tick.label1.get_window_extent()
        for tick in ax.xaxis.get_major_ticks()
        if low <= tick.get_loc() <= high
    ]
    assert len(boxes) >= 2
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes))
