from __future__ import annotations

from pathlib import Path

import analysis
from analysis import load
from analysis.looks import places
from tests.analysis.factory import World, make_run


def test_a_label_looks_alike_whoever_is_beside_it() -> None:
    names = ["static", "diet", "long_diet", "fedavg", "dieting", "full_download"]
    whole = dict(zip(names, places(names), strict=True))
    assert places(["fedavg", "diet"]) == [whole["fedavg"], whole["diet"]]
    assert places(names[::-1]) == list(whole.values())[::-1]
    many = [f"method {i}" for i in range(21)]
    assert len(set(places(many))) == 21
    assert {place % 8 for place in places(many[:8])} == set(range(8))
    assert places([*names, "diet, keep 0.2"])[:6] == list(whole.values())


def test_lines_that_lie_on_each_other_are_drawn_by_turns(tmp_path: Path) -> None:
    world = World("same", edges=8, rounds=4, controls=0)
    made = [make_run(tmp_path, world, "static", label=label) for label in ("a", "b")]
    runs = load([*made, make_run(tmp_path, world, "diet")])
    a, b, other = (line for line in analysis.traffic(runs).get_lines() if line.get_gid())
    assert a.get_ydata().tolist() == b.get_ydata().tolist()  # type: ignore[union-attr]
    assert [line.get_markevery() for line in (a, b, other)] == [(0, 2), (1, 2), None]
    assert [line.is_dashed() for line in (a, b, other)] == [True, True, False]


def test_figures_and_page_share_looks(tmp_path: Path) -> None:
    world = World("pair", edges=8, rounds=2, controls=0)
    both = load([make_run(tmp_path, world, name) for name in ("fedavg", "static")])
    alone = load(make_run(tmp_path / "alone", world, "static"))
    assert both.looks == {"fedavg": 3, "static": 0}
    assert alone.looks == {"static": 0}
    colors = [line.get_color() for line in analysis.accuracy(both).get_lines()]
    assert colors[1] == analysis.accuracy(alone).get_lines()[0].get_color()
