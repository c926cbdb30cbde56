"""Parts of a paper's table: what stands in them, and what is drawn beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis import Runs
from analysis.paper import Entry
from analysis.paper_files import Part, write_paper
from analysis.paper_parts import counted, ranked
from fedsim.errors import ConfigError


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def drawn(part: Part) -> list[Axes]:
    found = []
    for draw in part.draws:
        _, ax = plt.subplots()
        found.append(draw(ax))
    return found


def xy(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_xydata())


ENTRIES = [
    Entry("static", "Base", paper={"ndcg_10": 0.75}),
    Entry("diet", "DIET"),
    Entry("long_diet", "Long"),
]


def test_a_dot_for_ours_and_a_diamond_for_the_papers(runs: Runs) -> None:
    part, rows, _ = ranked(runs, "Somewhere", ENTRIES)
    ndcg, hit = drawn(part)
    assert [text.get_text() for text in ndcg.get_yticklabels()] == ["Base", "DIET", "Long"]
    dots = [points for points in map(xy, ndcg.get_lines()) if len(points) == 1]
    assert [float(x) for ((x, _),) in dots] == pytest.approx(
        [rows[0]["NDCG@10"], 0.75, rows[1]["NDCG@10"], rows[2]["NDCG@10"]]
    )
    assert (ndcg.get_title(loc="left"), hit.get_xlabel()) == ("Somewhere", "Hit@10")


def test_a_sweep_is_a_line_a_series_and_what_is_outside_lies_level(runs: Runs) -> None:
    swept = [
        Entry("static", "Base", "Base"),
        Entry("diet", "Diet 1", "Diet", 1.0),
        Entry("long_diet", "Diet 2", "Diet", 2.0),
    ]
    part, rows, _ = ranked(runs, "Somewhere", swept, swept="kept")
    ndcg, _hit, param, flops = drawn(part)
    base, diet = ndcg.get_lines()
    assert xy(diet).ravel().tolist() == pytest.approx(
        [1.0, rows[1]["NDCG@10"], 2.0, rows[2]["NDCG@10"]]
    )
    assert set(xy(base)[:, 1]) == {rows[0]["NDCG@10"]}
    assert [row.get("x") for row in rows] == [None, 1.0, 2.0]
    assert (param.get_xlabel(), flops.get_ylabel()) == ("kept", "FLOPs, M")
    assert param.get_xscale() == "linear"
    wide = [*swept, Entry("diet", "Diet 16", "Diet", 16.0)]
    _, _, param, _ = drawn(ranked(runs, "Somewhere", wide, swept="kept")[0])
    assert param.get_xscale() == "log"
    assert [text.get_text() for text in param.get_xticklabels()] == ["1", "2", "16"]


def test_pairs_are_differences_over_the_same_edges(runs: Runs) -> None:
    part, rows, pairs = ranked(runs, "Somewhere", ENTRIES, pairs=[("diet", "static")])
    (pair,) = pairs
    assert (pair["first"], pair["second"], pair["metric"]) == ("DIET", "Base", "NDCG@10")
    assert pair["value"] == pytest.approx(rows[1]["NDCG@10"] - rows[0]["NDCG@10"])
    assert part.told[-1].startswith("DIET \u2212 Base, NDCG@10: ")


def test_figures_of_the_package_are_drawn_under_the_rows_names(folders: list[Path]) -> None:
    from analysis import load

    part, _, _ = ranked(load(folders), "Somewhere", ENTRIES[:2], figures=["storage"])
    *_, storage = drawn(part)
    names = {text.get_text() for text in [*storage.get_yticklabels(), *storage.get_xticklabels()]}
    assert {"Base", "DIET"} <= names
    with pytest.raises(ConfigError, match="no figure 'storge'; did you mean 'storage'"):
        ranked(load(folders), "Somewhere", ENTRIES, figures=["storge"])


def test_a_table_may_draw_its_figures_alone_each_under_its_title(folders: list[Path]) -> None:
    from analysis import load

    part, rows, _ = ranked(
        load(folders), "Somewhere", ENTRIES[:2], dots=False, figures=["answer_bytes"]
    )
    (gained,) = drawn(part)
    assert gained.get_title(loc="left") == "Somewhere\nNDCG@10 gained over Base"
    assert [row["label"] for row in rows] == ["Base", "DIET"]


def test_a_row_looks_the_same_in_all_panels(folders: list[Path]) -> None:
    from analysis import load

    part, _, _ = ranked(load(folders), "Somewhere", ENTRIES, figures=["answer_bytes"])
    ndcg, _, gained = drawn(part)
    names = [text.get_text() for text in ndcg.get_yticklabels()]
    dots = {
        names[2 - int(line.get_ydata()[0])]: line.get_color()  # type: ignore[index, arg-type]
        for line in ndcg.get_lines()
        if len(xy(line)) == 1 and line.get_marker() != "D"
    }
    points = {str(each.get_label()): each[0].get_color() for each in gained.containers}
    assert len(set(dots.values())) == 3
    assert dots == points


SAID = {
    "users": 3.0,
    "items": 1000.0,
    "interactions": 9.0,
    "mean_length": 3.0,
    "sparsity": 0.997,
}


def test_data_sets_are_counted_beside_the_paper() -> None:
    places = {"a": ("A", SAID), "b": ("B", SAID), "c": ("C", {})}
    part, rows = counted("Data", places, {"a": SAID | {"items": 1001.0}, "c": SAID})
    assert part.table.text["items"].tolist() == ["1,001", "\u2013", "1,000"]
    assert part.table.text["paper's items"].tolist() == ["1,000", "1,000", ""]
    assert part.told == ["A: items 1,001 against 1,000"]
    assert [row["users"] for row in rows] == [3.0, None, 3.0]


def test_a_table_is_written_in_four_forms(runs: Runs, tmp_path: Path) -> None:
    part, rows, _ = ranked(runs, "Some_where", ENTRIES)
    files = write_paper(tmp_path, "mine", "All", [part, part], ["A note."], {"rows": rows})
    assert [file.name for file in files] == [
        "mine.json", "mine.md", "mine.tex", "mine.svg", "mine.png",
    ]  # fmt: skip
    assert json.loads(files[0].read_text())["rows"] == rows
    page = files[1].read_text()
    assert page.startswith("# All\n\n## Some_where\n\n| strategy | seeds | NDCG@10 | paper |")
    assert "\n- Base: NDCG@10 " in page
    assert page.endswith("\nA note.\n")
    assert files[2].read_text().count(r"\begin{tabular}") == 2
    assert files[3].read_text().count("Some_where") == 4
