from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis import Runs, compare, differences, load
from analysis.changes import out_of_distribution, through_drift
from analysis.findings import findings
from analysis.load import RunInfo
from analysis.settings import assigned, changed, ranked, toml_value
from analysis.summary import counted, description, facts, headline
from tests.analysis.factory import World, make_run

WORLD = World("quickstart", edges=40, rounds=6, controls=0)


def said(runs: Runs) -> dict[str, str]:
    return {finding.about: finding.text for finding in findings(runs)}


def test_one_seed_is_said_to_decide_little(tmp_path: Path, runs: Runs) -> None:
    one = load([make_run(tmp_path, WORLD, name) for name in ("static", "diet")])
    assert "This is one seed, which decides little" in said(one)["Accuracy"]
    assert "Means over 2 seeds" in said(runs)["Accuracy"]
    assert differences(one).text["seeds"].tolist() == ["1"]
    assert "one seed decides little" in differences(one).note
    assert differences(runs).text["seeds"].tolist() == ["2", "2", "2"]
    assert "one seed" not in differences(runs).note


def test_unequal_training_is_told(tmp_path: Path) -> None:
    names = ("static", "diet", "popularity")
    folders = [make_run(tmp_path, WORLD, name) for name in names]
    alike = load(folders)
    assert "Epochs" not in said(alike)["Accuracy"]
    for folder, epochs in zip(folders, ([3], [3, 4], []), strict=True):
        trained = [{"purpose": str(count), "epochs": [{}] * count} for count in epochs]
        (folder / "training.json").write_text(json.dumps(trained))
    unequal = load(folders)
    text = "Epochs of training in the cloud differ: 3 with static; 7 with diet."
    assert said(unequal)["Accuracy"].endswith(text)
    assert compare(unequal).text["epochs"].tolist() == ["3", "7", "0"]
    (folders[1] / "training.json").write_text("[]")
    assert "epochs" not in compare(load(folders)).text


def test_level_results_are_not_ranked(tmp_path: Path) -> None:
    twins = load([make_run(tmp_path, WORLD, "static", label=label) for label in ("a", "b")])
    assert "the next, b, is level with it." in said(twins)["Accuracy"]
    assert said(twins)["Trade-off"] == (
        "Over 6 rounds, provision included, a is the cheapest, and none is clearly more "
        "accurate. Dearer without a clear gain in accuracy: b."
    )
    assert not re.search(r"0\.0000|1 times|beaten", " ".join(said(twins).values()))


def test_about_the_same_bytes_are_said_to_be_so(tmp_path: Path) -> None:
    twins = load([make_run(tmp_path, WORLD, "full_download", label=n) for n in ("a", "b")])
    assert said(twins)["Bandwidth"] == (
        "An edge exchanges 164 kB a round with a, and about as much with b."
    )


def test_ood_edges_come_with_an_interval_and_a_conclusion(runs: Runs) -> None:
    courses = {course.label: course for course in out_of_distribution(runs, "ndcg_10")}
    sums = runs.query("""
        select ood, sum(ndcg_10) / sum(targets) as r from ledger join edges using (run, edge)
        join runs using (run) where round > 0 and label = 'diet' group by run, ood order by run, ood
    """)["r"].to_numpy()
    known, unseen = sums[::2].mean(), sums[1::2].mean()
    assert courses["diet"].values == pytest.approx((known, unseen))
    gap = courses["diet"].gaps[0]
    assert gap.value == pytest.approx(unseen - known)
    assert gap.low < gap.value < gap.high
    (found,) = (each for each in findings(runs) if each.about == "OOD edges")
    assert re.match(r"NDCG@10 is clearly \w+ on OOD edges with|There is no clear diff", found.text)
    assert not re.search(r"\d\.\d", found.text)
    assert found.numbers is not None
    row = found.numbers[found.numbers["strategy"] == "diet"].to_numpy()[0, 1:]
    assert row.tolist() == [f"{known:.4f}", f"{unseen:.4f}", gap.text(sign=True)]


def test_drift_comes_with_intervals_and_a_conclusion(runs: Runs) -> None:
    courses = {course.label: course for course in through_drift(runs, "ndcg_10")}
    static = courses["static"]
    assert all(gap.high < 0 for gap in static.gaps)
    frame = runs.query("""
        select sum(ndcg_10) / sum(targets) as r from ledger
        where run = 0 and round = 5 and edge in (select edge from ledger where run = 0
                                                 and round = 5 and drift_true)""")
    one = through_drift(load(runs.infos[0].path), "ndcg_10")[0]  # type: ignore[arg-type]
    assert one.values[1] == pytest.approx(float(frame["r"].iloc[0]))
    (found,) = (each for each in findings(runs) if each.about == "Drift")
    assert found.text == (
        "The drifting edges' NDCG@10 clearly falls and is clearly lower at the end with all 4 "
        "strategies."
    )
    assert found.numbers is not None
    assert found.numbers[found.numbers["strategy"] == "static"].to_numpy()[0, 1:].tolist() == [
        f"{static.values[0]:.4f}", *(gap.text(sign=True) for gap in static.gaps),
    ]  # fmt: skip


def test_a_verdict_on_all_strategies_names_none(tmp_path: Path) -> None:
    world = replace(WORLD, ood=0.4)
    names = ("static", "full_download", "fedavg")
    made = load([make_run(tmp_path, world, "static", label=name) for name in names])
    text = said(made)["OOD edges"]
    assert re.match(r".* with (all|any of the) 3 strategies\.", text)
    assert not any(name in text for name in names)


def test_rejected_answers_and_training_are_told_where_there_are_any(runs: Runs) -> None:
    assert "Memory" not in said(runs)
    assert not {"too large", "MACs trained / round"} & set(compare(runs).text)
    tables = {name: [runs.query(f"select * exclude run from {name} where run = 2")]
              for name in ("ledger", "edges", "controls")}  # fmt: skip
    rows = tables["ledger"][0]
    rows["too_large"] = rows["requested"] & (np.arange(len(rows)) % 4 == 0)
    rows["train_macs"] = 5_000_000
    made = Runs([runs.infos[2]], tables)
    text = compare(made).text.iloc[0]
    assert text["MACs trained / round"] == "5 M"
    assert text["too large"] == "25.0%"
    assert said(made)["Memory"] == (
        "Requests whose answer did not fit into memory: 25.0% with diet."
    )


def test_a_description_is_marked_where_its_numbers_were_overridden(tmp_path: Path) -> None:
    from fedsim.scenario import load_scenario

    shipped = load_scenario("quickstart")
    scenario = shipped.model_dump(mode="json", exclude_none=True)
    runs = load(make_run(tmp_path, WORLD, "diet"))

    def words(**changes: object) -> str:
        info = replace(runs.infos[0], scenario={**scenario, **changes})
        runs.infos = (info,)
        return description(runs)

    assert words() == shipped.description
    assert words(strategy={"name": "static"}, seed=9) == shipped.description
    assert words(rounds=4) == f"As shipped: {shipped.description}. Changed here: rounds = 4."
    assert words(name="mine", rounds=4) == shipped.description


def test_defaults_are_no_changes_and_values_are_toml() -> None:
    from fedsim.scenario import load_scenario

    given = load_scenario("channels").model_dump(mode="json", exclude_none=True)
    info = RunInfo("diet", 0, (10,), 1, scenario=given)
    assert changed(info) == {}
    given["channels"][1]["genres"] = ["Drama"]
    given["budget"]["bytes_per_round"] = 512.0
    given["evaluation"]["exclude"] = "none"
    told = assigned(changed(info))
    assert '{ name = "video", genres = ["Drama"] }' in told
    assert 'evaluation.exclude = "none"' in told
    assert "budget.bytes_per_round = 512.0" in told
    read = tomllib.loads(f"channels = {toml_value(given['channels'])}")
    assert read["channels"] == given["channels"]


@pytest.mark.parametrize(
    ("evaluation", "text"),
    [
        ({"exclude": "seen"}, "all but seen items"),
        ({"exclude": "none", "candidates": 0}, "all items"),
        ({"exclude": "window", "candidates": 1000}, "all but the window, 1,000 candidates"),
        ({}, ""),
    ],
)
def test_what_was_ranked_is_said(tmp_path: Path, evaluation: dict[str, object], text: str) -> None:
    loaded = load(make_run(tmp_path, WORLD, "diet"))
    made = replace(loaded.infos[0], scenario={**loaded.infos[0].scenario, "evaluation": evaluation})
    loaded.infos = (made,)
    assert facts(loaded).get("Ranked", [""]) == [text]
    assert (f"Ranked: {text}." in compare(loaded).note) == bool(text)
    others = [made, replace(made, label="b", scenario={"evaluation": {"exclude": "seen"}})]
    if text != "all but seen items":
        assert ranked(others) == f"diet {text or 'unknown'}; b all but seen items"


def test_runs_of_one_strategy_are_counted_as_such_and_told_apart(tmp_path: Path) -> None:
    worlds = [replace(WORLD, edges=n, rounds=r) for n, r in ((40, 6), (20, 4))]
    made = load([make_run(tmp_path / str(w.edges), w, "diet") for w in worlds])
    assert headline(made) == "quickstart: 2 runs of diet on several kinds of streams"
    assert description(made) == "The runs differ in rounds (6, 4); population.edges (40, 20)."
    assert facts(made)["Scenario"] == [
        "quickstart, edges 40, rounds 6", "quickstart, edges 20, rounds 4",
    ]  # fmt: skip
    assert (facts(made)["Edges"], facts(made)["Rounds"]) == (["40", "20"], ["6", "4"])
    both = [make_run(tmp_path, WORLD, name, label=label)
            for name, label in (("diet", "a"), ("diet", "b"), ("static", "c"))]  # fmt: skip
    assert counted(load(both)) == "3 runs of 2 strategies"
    both += [make_run(tmp_path, WORLD, "diet", 1, "a"), make_run(tmp_path, WORLD, "diet", 1, "b")]
    assert counted(load([*both[:2], *both[3:]])) == "2 settings of diet"
