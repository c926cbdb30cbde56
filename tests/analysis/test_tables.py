from __future__ import annotations

from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from analysis import Runs, Table, compare, differences, load, paper
from analysis.changes import out_of_distribution
from analysis.compare import count_text
from analysis.paper import Entry, differences_from_paper, measure
from analysis.style import bytes_text
from fedsim.errors import ConfigError, StoreError
from tests.analysis.conftest import LABELS
from tests.analysis.factory import World, make_run


def test_compare_says_what_each_strategy_reaches_and_costs(runs: Runs) -> None:
    table = compare(runs)
    assert table.text["strategy"].tolist() == list(LABELS)
    assert table.numbers["seeds"].tolist() == [2] * 4
    row = table.numbers.set_index("label").loc["static"]
    assert row["down_bytes"] == 0
    assert row["stored_bytes"] == 3 * 163_840
    assert row["NDCG@10_low"] < row["NDCG@10"] < row["NDCG@10_high"]
    sums = runs.query("""
        select avg(r) as r from (select run, sum(ndcg_10) / sum(targets) as r from ledger
                                 where round > 0 and run in (0, 1) group by run)
    """)
    assert row["NDCG@10"] == pytest.approx(float(sums["r"].iloc[0]))
    text = table.text.set_index("strategy")
    assert text.loc["static", "stored"] == "492 kB"
    assert text.loc["static", "own \u2212 other"] == "\u2013"
    assert str(text.loc["diet", "own \u2212 other"]).startswith(("+", "\u2212"))


def test_the_same_runs_make_the_same_table(folders: list[Path], runs: Runs) -> None:
    assert compare(folders).csv() == compare(runs).csv()


def test_differences_are_from_static_unless_told_otherwise(runs: Runs) -> None:
    table = differences(runs)
    assert table.numbers["label"].tolist() == ["diet", "long_diet", "full_download"]
    assert set(table.numbers["reference"]) == {"static"}
    other = differences(runs, reference="diet", metric="hit", k=5)
    assert set(other.numbers["metric"]) == {"Hit@5"}
    signs = differences(runs, reference="diet").numbers.set_index("label")["difference"]
    back = table.numbers.set_index("label")["difference"]
    assert signs["static"] == pytest.approx(-back["diet"])
    with pytest.raises(ConfigError, match="no run is labelled 'base'; "):
        differences(runs, reference="base")


COSTS = ["Param, Mbit", "FLOPs, M", "up", "answer", "once", "stored"]


def test_paper_prints_accuracy_and_costs(runs: Runs) -> None:
    table = paper(runs)
    assert table.text.columns.tolist() == ["strategy", "seeds", "NDCG@10", "Hit@10", *COSTS]
    rows, ours = (made.numbers.set_index("label") for made in (table, compare(runs)))
    for name in ("NDCG@10", "NDCG@10_low", "Hit@10_high", "stored_bytes", "up_bytes"):
        assert rows[name].tolist() == ours[name].tolist()
    assert rows["param_mbit"]["diet"] == pytest.approx(0.04096)
    assert rows["flops_m"].tolist() == pytest.approx((ours["macs"] / 1e6).tolist())


def entry(said: dict[str, float], **more: object) -> Entry:
    return Entry("diet", "DIET", paper=said, **more)  # type: ignore[arg-type]


def test_paper_stands_beside_and_is_contradicted_plainly(runs: Runs) -> None:
    (row,) = measure(runs, [entry({})])
    ndcg = row.accuracy["NDCG@10"]
    within = {"ndcg_10": ndcg.high, "hit_10": row.accuracy["Hit@10"].low, "param_mbit": 0.0410}
    (row,) = measure(runs, [entry(within, goal={"hit_10": 0.5})])
    assert differences_from_paper([row]) == ["as in the paper: DIET"]
    columns = paper(runs, [row.entry]).text.columns.tolist()
    assert columns == [
        "strategy", "seeds", "NDCG@10", "paper", "Hit@10", "paper", "wanted",
        "Param, Mbit", "paper", *COSTS[1:],
    ]  # fmt: skip
    (row,) = measure(runs, [entry({"ndcg_10": ndcg.high + 1e-4, "param_mbit": 0.0400})])
    assert differences_from_paper([row]) == [
        f"DIET: NDCG@10 {ndcg.text()} is below the paper's {ndcg.high + 1e-4:.4f}; "
        "Param 0.0410 against 0.0400 (+2.4%)"
    ]  # fmt: skip


def test_paper_counts_the_edges_it_is_told(runs: Runs) -> None:
    (every,), (unseen,) = (measure(runs, [entry({})], edges) for edges in ("all", "unseen"))
    assert every.accuracy["NDCG@10"] != unseen.accuracy["NDCG@10"]
    sums = runs.query("""
        select avg(r) as r from (
            select run, sum(ndcg_10) / sum(targets) as r
            from ledger join edges using (run, edge) join runs using (run)
            where round > 0 and ood and label = 'diet' group by run)
    """)
    assert unseen.accuracy["NDCG@10"].value == pytest.approx(float(sums["r"].iloc[0]))


def test_files(runs: Runs, tmp_path: Path) -> None:
    files = compare(runs).write(tmp_path / "tables")
    assert [file.name for file in files] == ["compare.csv", "compare.md", "compare.tex"]
    read = pd.read_csv(StringIO(files[0].read_text()))
    assert read["label"].tolist() == list(LABELS)
    markdown = files[1].read_text().splitlines()
    assert markdown[0].startswith("| strategy | NDCG@10 |")
    assert len(markdown) == 2 + 4 + 2
    latex = files[2].read_text()
    assert r"full\_download &" in latex
    assert latex.count(r"\\") == 5


def test_special_characters_are_escaped() -> None:
    frame = pd.DataFrame({"a_b": ["50 % | x"]})
    table = Table("t", "T", frame, frame)
    assert "50 % \\| x" in table.markdown()
    assert r"50 \% | x \\" in table.latex()
    assert r"a\_b \\" in table.latex()


def test_notebooks_show_tables_as_html(runs: Runs) -> None:
    shown = compare(runs)._repr_html_()
    assert shown.count("<tr") == 1 + len(LABELS)
    assert "What 4 strategies reach and cost" in shown
    assert "Brackets: 95 %" in shown
    frame = pd.DataFrame({"a": ["<b>&"]})
    escaped = Table("t", "<b>&", frame, frame, "<b>&")._repr_html_()
    assert escaped.count("&lt;b&gt;&amp;") == 3


def test_a_folder_that_cannot_be_written_is_an_error(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "tables").write_text("a file")
    with pytest.raises(
        StoreError, match=r"compare.csv: cannot be written: .*; choose another folder"
    ):
        compare(runs).write(tmp_path / "tables")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (9.5, "9.5 B"), (999.6, "1 kB"), (40_960, "41 kB"), (1.31e6, "1.31 MB")],
)
def test_bytes_have_three_digits(value: float, text: str) -> None:
    assert bytes_text(value) == text


def test_counts_have_no_unit() -> None:
    assert [count_text(v) for v in (208_640, 92_700, float("nan"))] == ["209 k", "92.7 k", "\u2013"]


def test_an_interval_does_not_depend_on_the_populations_beside_it(tmp_path: Path) -> None:
    worlds = [World("one", edges=n, rounds=3, controls=2, ood=0.3) for n in (40, 90)]
    small, large = (make_run(tmp_path / str(w.edges), w, "diet") for w in worlds)
    alone, mixed = compare(small), compare([large, small])
    assert mixed.text.iloc[1, 1:].tolist() == alone.text.iloc[0, 1:].tolist()
    gaps = [
        [each.gaps for each in out_of_distribution(load(s), "ndcg_10")]
        for s in ([large, small], small)
    ]
    assert gaps[0][1] == gaps[1][0]
