from __future__ import annotations

import base64
import hashlib
import re
import warnings
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis import Runs, load
from analysis.findings import findings
from analysis.gallery import pictures
from analysis.load import RunInfo
from analysis.report import write_report
from analysis.style import fit_title, overridden, own
from analysis.summary import headline
from fedsim.errors import StoreError
from tests.analysis.conftest import LABELS
from tests.analysis.factory import World, make_run


def test_nothing_in_the_page_points_outside(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r'(?:href|src|xlink:href)="([^"]*)"', text)
    assert all(link.startswith(("#", "data:")) for link in links)
    assert not re.findall(r"url\((?!#)[^)]*\)", text)
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_the_policy_allows_exactly_the_scripts_there_are(page: Path) -> None:
    text = page.read_text()
    policy = re.search(r"script-src ([^;]*);", text)
    assert policy
    scripts = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    assert len(scripts) == 2
    assert {f"'sha256-{digest}'" for digest in digests} == set(policy.group(1).split())


def test_figures_take_their_colours_from_the_page(page: Path) -> None:
    text = page.read_text()
    svgs = re.findall(r"<svg viewBox.*?</svg>", text, flags=re.DOTALL)
    assert len(svgs) == len(re.findall("<figcaption>", text)) >= 9
    assert not re.findall(r"#0101[0-9a-f]{2}|#0102[0-9a-f]{2}|#000000", text)
    assert "var(--s0)" in svgs[0]
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids))


def test_figures_and_tables_are_files_too(page: Path) -> None:
    names = {file.stem for file in (page.parent / "figures").glob("*.svg")}
    assert {
        "accuracy", "pareto", "drift_response", "ood", "controls", "traffic", "storage",
        "bandwidth_ecdf", "bandwidth_map_diet", "bandwidth_map_long_diet",
    } == names  # fmt: skip
    assert names == {file.stem for file in (page.parent / "figures").glob("*.png")}
    tables = {file.name for file in (page.parent / "tables").iterdir()}
    assert tables == {
        f"{n}.{kind}" for n in ("compare", "differences") for kind in ("csv", "md", "tex")
    }
    saved = (page.parent / "figures" / "accuracy.svg").read_text()
    assert "#2156d3" in saved
    assert "<text" in saved


def test_the_same_runs_make_the_same_bytes(page: Path, folders: list[Path], tmp_path: Path) -> None:
    again = write_report(folders, tmp_path / "again.html")
    assert again.read_bytes() == page.read_bytes()
    for name in ("accuracy.svg", "accuracy.png", "bandwidth_map_diet.svg"):
        first = (page.parent / "figures" / name).read_bytes()
        assert (tmp_path / "figures" / name).read_bytes() == first


def test_the_page_begins_with_words_and_numbers(page: Path, runs: Runs) -> None:
    text = page.read_text()
    assert "<h1>interest_drift: 4 strategies on the same streams</h1>" in text
    said = {finding.about: finding.text for finding in findings(runs)}
    assert list(said) == [
        "Accuracy", "Bandwidth", "Trade-off", "Storage", "Personalisation", "OOD edges", "Drift",
    ]  # fmt: skip
    assert said["Accuracy"].startswith("long_diet reaches NDCG@10 0.1")
    assert "static sends nothing after the provision" in said["Bandwidth"]
    assert "with long_diet" in said["Personalisation"]
    assert all(label in text for label in LABELS)
    assert "<summary>NDCG@10 on both kinds of edges</summary>" in text
    assert "whole catalogue" not in text
    words = re.sub(
        r"<style.*?</style>|<script.*?</script>|<pre.*?</pre>", "", text, flags=re.DOTALL
    )
    assert not re.search(r"[Nn]ewcomer|[Uu]nseen|known edges|never saw its", words)


def test_one_run_of_one_round_makes_a_page_without_charts(plain: Runs, tmp_path: Path) -> None:
    page = write_report(plain, tmp_path)
    text = page.read_text()
    assert headline(plain) == "static on plain"
    assert 'class="plot"' not in text
    assert text.count("<script") == 1
    assert {file.stem for file in (tmp_path / "figures").glob("*.svg")} == {
        "accuracy", "traffic", "storage",
    }  # fmt: skip


def test_a_page_shows_nothing_twice_and_nothing_there_is_not(tmp_path: Path) -> None:
    world = World("even", edges=20, rounds=3, controls=0)
    page = write_report(load(make_run(tmp_path, world, "full_download")), tmp_path / "out")
    text = page.read_text()
    assert text.count("Accuracy of every round") == 1
    assert "Shaded" not in text
    assert "All edges pay about the same in every round" in text
    assert "3 rounds)" in text
    files = {file.stem for file in (page.parent / "figures").glob("*.svg")}
    assert files == {
        "accuracy", "traffic", "storage", "bandwidth_ecdf", "bandwidth_map_full_download",
    }  # fmt: skip


def test_one_round_is_one_round(plain: Runs, tmp_path: Path) -> None:
    text = write_report(plain, tmp_path).read_text()
    assert "(1 round)" in text
    assert "1 rounds" not in text


def test_titles_stay_within_their_figures(runs: Runs) -> None:
    for picture in pictures(runs):
        with overridden({}):
            figure = Figure()
            ax = figure.subplots()
            own(figure)
            picture.draw(ax)
            ax.set_title(f"{ax.get_title(loc='left')}, and so on and on, until it is long", pad=17)
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
            fit_title(ax)
            figure.draw_without_rendering()
        titles = [each for each in ax.get_children() if isinstance(each, Text)]
        box = next(each for each in titles if "and so on" in each.get_text()).get_window_extent()
        assert box.x0 >= 0, picture.name
        assert box.x1 <= figure.bbox.x1, picture.name


def test_twelve_methods_with_long_labels_make_a_page_without_warnings(tmp_path: Path) -> None:
    world = World("many", edges=12, rounds=3, ood=0.3, drift_round=2, controls=1)
    made = [
        make_run(tmp_path, world, name, label=f"{name}, request on_drift, codec number {i} of all")
        for i, name in enumerate(["static", "diet", "long_diet", "fedavg"] * 3)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = write_report(load(made), tmp_path / "out")
    assert page.read_text().count('data-look="') == 12


def test_names_are_escaped(tmp_path: Path, runs: Runs) -> None:
    from dataclasses import replace

    from analysis.report import render

    info = replace(runs.infos[0], scenario={**runs.infos[0].scenario, "description": "<b>&"})
    odd = Runs([info], {name: [runs.query(f"select * exclude run from {name} where run = 0")]
                        for name in ("ledger", "edges", "controls")})  # fmt: skip
    from analysis.compare import compare

    text = render(odd, [], [compare(odd)])
    assert "&lt;b&gt;&amp;" in text
    assert "<b>&" not in text


@pytest.mark.parametrize(("idle", "best"), [({"static"}, "diet"), ({"static", "diet"}, None)])
def test_what_predicted_nothing_is_not_best(runs: Runs, idle: set[str], best: str | None) -> None:
    from analysis.compare import compare
    from analysis.report import render

    infos = [info for info in runs.infos if info.label in ("static", "diet") and not info.seed]
    tables = {name: [kept(runs, name, info) for info in infos] for name in ("edges", "controls")}
    ledgers = [kept(runs, "ledger", info) for info in infos]
    for info, rows in zip(infos, ledgers, strict=True):
        if info.label in idle:
            rows.loc[:, rows.columns.str.match("targets|ndcg|hit|mrr")] *= 0
    made = Runs(infos, {"ledger": ledgers, **tables})
    text = render(made, [], [compare(made)])
    crowned = [line for line in text.splitlines() if 'class="best"' in line]
    labels = [re.sub(r"<svg.*?</svg>|<[^>]*>", " ", line).split()[0] for line in crowned]
    assert labels == ([best] if best else [])
    said = {finding.about: finding.text for finding in findings(made)}
    if best is None:
        assert not {"Accuracy", "Trade-off"} & set(said)
    else:
        assert re.match(rf"{best} reaches NDCG@10 0\.\d+ [^;]*\.$", said["Accuracy"])


def kept(runs: Runs, table: str, info: RunInfo) -> pd.DataFrame:
    run = runs.infos.index(info)
    return runs.query(f"select * exclude run from {table} where run = {run}")


def test_a_page_that_cannot_be_written_is_an_error(plain: Runs, tmp_path: Path) -> None:
    (tmp_path / "figures").write_text("a file")
    with pytest.raises(
        StoreError, match=r"figures/.*: cannot be written: .*; choose another folder"
    ):
        write_report(plain, tmp_path)


def test_runs_of_several_scenarios_are_shown_but_not_ranked(tmp_path: Path) -> None:
    small = [World(name, edges=12, rounds=2, controls=0) for name in ("one", "two")]
    made = load([make_run(tmp_path, world, "static") for world in small])
    text = write_report(made, tmp_path / "out").read_text()
    assert "one, two: 2 runs of static on several scenarios" in text
    assert "static (two)" in text
    assert "over the same edges" not in text
    assert "Trade-off" not in {finding.about for finding in findings(made)}
