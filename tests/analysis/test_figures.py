from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.text import Text
from matplotlib.transforms import Bbox

import analysis
from analysis import Runs, load
from analysis.costs import costs
from analysis.looks import look
from analysis.paired import label_accuracy
from analysis.pareto import accuracy_and_bytes, stand
from analysis.statistics import Estimate
from analysis.style import FILE
from fedsim import ledger
from fedsim.errors import ConfigError
from fedsim.folders import write_study
from tests.analysis.conftest import LABELS
from tests.analysis.factory import METHODS, World, make_run

FIGURES = [
    analysis.accuracy, analysis.answer_bytes, analysis.bandwidth_ecdf, analysis.bandwidth_map,
    analysis.controls, analysis.drift_response, analysis.kept_bytes, analysis.memory,
    analysis.memory_use, analysis.ood, analysis.pareto, analysis.storage, analysis.traffic,
]  # fmt: skip


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def lines(ax: Axes) -> dict[str, np.ndarray]:
    named = [line for line in ax.get_lines() if not str(line.get_label()).startswith("_")]
    return {str(line.get_label()): np.asarray(line.get_xydata()) for line in named}


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.__name__)
def test_every_figure_returns_titled_axes_and_leaves_settings_alone(
    figure: Callable[..., Axes], runs: Runs, plain: Runs
) -> None:
    before = dict(matplotlib.rcParams)
    for source in (runs, plain):
        ax = figure(source)
        assert isinstance(ax, Axes)
        assert ax.get_title(loc="left")
        ax.figure.canvas.draw()
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.__name__)
def test_every_figure_draws_on_the_axes_it_is_given(
    figure: Callable[..., Axes], runs: Runs
) -> None:
    _, axes = plt.subplots(1, 2)
    assert figure(runs, ax=axes[1]) is axes[1]
    assert not axes[0].has_data()
    assert len(plt.get_fignums()) == 1


def test_accuracy_has_a_line_a_label_and_marks_the_drift(runs: Runs) -> None:
    ax = analysis.accuracy(runs)
    found = lines(ax)
    assert tuple(found) == LABELS
    assert found["diet"][:, 0].tolist() == list(range(1, 9))
    assert any("drift" in text.get_text() for text in ax.texts)
    assert ax.get_xlabel() == "round"
    assert ax.get_ylabel() == "NDCG@10"
    assert analysis.accuracy(runs, metric="hit", k=5, edges="unseen").get_ylabel() == "Hit@5"


def test_bands_stay_among_values_that_accuracy_can_have(tmp_path: Path) -> None:
    world = World("few", edges=4, rounds=6, controls=0, targets=1)
    ax = analysis.accuracy(make_run(tmp_path, world, "popularity"))
    (band,) = ax.collections
    heights = np.asarray(band.get_paths()[0].vertices)[:, 1]
    assert heights.min() == 0
    assert heights.max() <= 1


def test_one_round_is_drawn_as_points(plain: Runs) -> None:
    ax = analysis.accuracy(plain)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["static"]
    assert ax.get_xlabel() == "NDCG@10"


def test_traffic_grows_and_is_logarithmic_over_a_wide_range(
    runs: Runs, folders: list[Path]
) -> None:
    ax = analysis.traffic(runs)
    found = lines(ax)
    assert (np.diff(found["full_download"][:, 1]) > 0).all()
    assert (np.diff(found["static"][:, 1]) == 0).all()
    assert ax.get_yscale() == "log"
    assert analysis.traffic(folders[2]).get_yscale() == "linear"


def test_ecdf_rises_to_one_and_names_who_is_silent(runs: Runs) -> None:
    ax = analysis.bandwidth_ecdf(runs)
    found = lines(ax)
    assert "static" not in found
    assert "(static sends nothing)" in ax.get_xlabel()
    assert found["diet"][-1, 1] == 1
    assert (np.diff(found["diet"], axis=0) >= 0).all()


def test_lines_of_the_ecdf_are_named_where_they_are(runs: Runs, many: Runs) -> None:
    ax = analysis.bandwidth_ecdf(runs)
    ax.figure.canvas.draw()
    assert [text.get_text() for text in ax.texts] == ["diet", "long_diet", "full_download, 492 kB"]
    boxes = [Text.get_window_extent(text) for text in ax.texts]
    drawn = [line.get_transform().transform(line.get_xydata()) for line in ax.get_lines()]
    assert not any(box.count_contains(points) for box in boxes for points in drawn)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(ax.figure.bbox.x0 <= box.x0 and box.x1 <= ax.figure.bbox.x1 for box in boxes)
    assert ax.get_legend() is None
    assert "send nothing)" in analysis.bandwidth_ecdf(many).get_xlabel()


def test_the_map_is_for_one_label(runs: Runs) -> None:
    ax = analysis.bandwidth_map(runs, label="long_diet")
    assert ax.images[0].get_size() == (60, 8)
    assert "long_diet" in ax.get_title(loc="left")
    with pytest.raises(ConfigError, match="no run is labelled 'long_diets'; did you mean 'long_d"):
        analysis.bandwidth_map(runs, label="long_diets")


def test_the_map_has_a_bounded_size(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(sys.modules["analysis.bandwidth_map"], "CELLS", 4)
    ax = analysis.bandwidth_map(runs, label="diet")
    assert ax.images[0].get_size() == (4, 4)


def test_storage_stacks_the_shared_part_once(runs: Runs) -> None:
    ax = analysis.storage(runs)
    widths = {
        str(bars.get_label()): [bar.get_width() for bar in bars.get_children()]  # type: ignore[attr-defined]
        for bars in ax.containers
    }
    assert list(widths) == ["shared by all channels", "home", "video", "music"]
    assert widths["shared by all channels"] == [0, 163_840, 163_840, 0]
    assert widths["video"] == [163_840, 2_700, 1_400, 163_840]
    assert [text.get_text() for text in ax.texts] == ["492 kB", "172 kB", "168 kB", "492 kB"]


def test_the_pareto_front_leaves_out_whom_another_beats_and_ties() -> None:
    points = {
        "cheap": (10.0, Estimate(0.1, 0, 1)),
        "beaten": (20.0, Estimate(0.05, 0, 1)),
        "a hair better": (30.0, Estimate(0.101, 0, 1)),
        "dear": (90.0, Estimate(0.3, 0, 1)),
        "a hair worse than dear": (95.0, Estimate(0.299, 0, 1)),
        "same bytes, worse": (10.0, Estimate(0.05, 0, 1)),
        "unmeasured": (1.0, Estimate(float("nan"), float("nan"), float("nan"))),
    }

    def difference(label: str, other: str) -> Estimate:
        gap = points[label][1].value - points[other][1].value
        return Estimate(gap, gap - 0.01, gap + 0.01)

    found = stand(points, difference)
    assert found.front == ["cheap", "dear"]
    assert found.level == ["a hair better", "a hair worse than dear"]
    assert found.beaten == ["same bytes, worse", "beaten"]


def test_pareto_names_every_label(runs: Runs) -> None:
    ax = analysis.pareto(runs)
    assert {text.get_text() for text in ax.texts} == set(LABELS)
    cost, estimate = accuracy_and_bytes(runs, "ndcg_10")["static"]
    assert cost == 3 * 163_840
    assert estimate.low < estimate.value < estimate.high


def test_answers_of_no_bytes_stand_at_nothing(runs: Runs) -> None:
    ax = analysis.answer_bytes(runs)
    found = {str(each.get_label()): each[0].get_xydata()[0] for each in ax.containers}
    paid = costs(runs)
    assert set(found) == set(LABELS)
    assert found["static"][0] == 0
    assert found["diet"][0] == paid["diet"]["answer_bytes"] > 0


def test_what_is_kept_counts_all_channels_and_what_they_share(runs: Runs) -> None:
    ax = analysis.kept_bytes(runs)
    found = {str(each.get_label()): each[0].get_xydata()[0][0] for each in ax.containers}
    assert found == {label: paid["stored_bytes"] for label, paid in costs(runs).items()}
    assert ax.get_xlim()[0] > 0
    assert ax.get_xlim()[1] > max(found.values())


def test_accuracy_by_bytes_of_answers_is_a_paired_difference(runs: Runs) -> None:
    ax = analysis.answer_bytes(runs, baseline="static")
    assert ax.get_ylabel() == "NDCG@10 \u2212 static"
    found = {str(each.get_label()): each for each in ax.containers}
    wanted = label_accuracy(runs, "ndcg_10").difference("diet", "static")
    assert found["diet"][0].get_xydata()[0][1] == pytest.approx(wanted.value)
    (span,) = found["diet"][2][0].get_segments()
    assert span[:, 1].tolist() == pytest.approx([wanted.low, wanted.high])
    assert found["static"][0].get_xydata()[0][1] == 0
    with pytest.raises(ConfigError, match="no run is called 'stat'"):
        analysis.answer_bytes(runs, baseline="stat")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Twelve methods, four of them doubles of others."""
    root, world = tmp_path_factory.mktemp("many"), World("many", edges=30, rounds=4, controls=0)
    made = [make_run(root, world, name) for name in METHODS]
    doubles = {"static": "twin", "diet": "gater", "fedavg": "finetune", "long_diet": "peel"}
    return load(made + [make_run(root, world, *each) for each in _labelled(doubles)])


def _labelled(doubles: dict[str, str]) -> list[tuple[str, int, str]]:
    return [(name, 0, label) for name, label in doubles.items()]


def test_labels_at_points_lie_on_no_label_and_no_interval(many: Runs) -> None:
    ax = analysis.pareto(many)
    boxes = [Text.get_window_extent(text) for text in ax.texts]
    assert len(boxes) == 12
    bars = [
        Bbox(ax.transData.transform(path.vertices))
        for part in ax.collections
        for path in part.get_paths()
    ]
    assert len(bars) == 12
    apart = [(a, b) for i, a in enumerate(boxes) for b in [*boxes[:i], *bars] if a.overlaps(b)]
    assert not apart


def test_many_or_long_labels_stand_in_a_legend(tmp_path: Path) -> None:
    world = World("long", edges=8, rounds=2, controls=0)
    long = [make_run(tmp_path, world, name, label=f"{name}, codec entropy, keep 0.2")
            for name in ("static", "diet")]  # fmt: skip
    ax = analysis.pareto(long)
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == list(load(long).labels)
    assert not ax.texts


def test_legends_stay_within_their_figures_and_leave_room_for_the_axes(many: Runs) -> None:
    for figure in (analysis.accuracy, analysis.traffic):
        ax = figure(many)
        ax.figure.canvas.draw()
        legend = ax.get_legend()
        assert legend is not None
        assert legend.get_window_extent().x1 <= ax.figure.bbox.x1
        assert legend.get_window_extent().y0 >= 0
        assert ax.get_window_extent().height > 0.4 * ax.figure.bbox.height


def test_controls_go_from_own_to_majority(runs: Runs) -> None:
    ax = analysis.controls(runs)
    ticks = [text.get_text().replace("\n", " ") for text in ax.get_xticklabels()]
    assert ticks == ["own, fresh", "own, 1 old", "own, 5 old", "another edge's", "majority's "]
    assert [str(bars.get_label()) for bars in ax.containers] == ["diet", "long_diet"]
    assert {str(line.get_linestyle()) for line in ax.get_lines()} == {"None"}
    places = [bars.lines[0].get_xdata() for bars in ax.containers]  # type: ignore[attr-defined]
    assert (places[1] - places[0] > 0.3).all()


def test_unseen_edges_are_hollow(runs: Runs) -> None:
    ax = analysis.ood(runs)
    points = [line for line in ax.get_lines() if len(np.atleast_1d(line.get_xdata())) == 1]
    fills = {str(line.get_color()) for line in points}
    assert len(points) == 2 * len(LABELS)
    assert len(fills) == len(LABELS) + 1


def test_what_was_not_measured_is_said(plain: Runs) -> None:
    said = [
        figure(plain).texts[0].get_text()
        for figure in (analysis.controls, analysis.ood, analysis.drift_response)
    ]
    assert said == [
        "no controls were measured", "the cloud trained on every edge", "no edge drifts",
    ]  # fmt: skip


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.__name__)
def test_every_figure_takes_a_study_s_folder(
    figure: Callable[..., Axes], folders: list[Path], tmp_path: Path
) -> None:
    study = tmp_path / "compare"
    study.mkdir()
    for folder in folders[:6]:
        (study / folder.name).symlink_to(folder)
    write_study(study, [folders[4], folders[0], folders[2]])
    ax = figure(str(study))
    assert ax.has_data() or ax.texts
    assert load(str(study)).labels == ("long_diet", "static", "diet")


def test_a_figure_takes_a_ledger_frame(folders: list[Path]) -> None:
    assert tuple(lines(analysis.accuracy(ledger.read_ledger(folders[2])))) == ("run",)


def test_thirty_two_series_look_different() -> None:
    looks = {tuple(map(str, look(i).values())) for i in range(32)}
    assert len({text[:3] for text in looks}) == 32
    assert len({(look(i)["color"], look(i)["marker"]) for i in range(32)}) == 32


def test_colours_stay_apart_for_every_kind_of_colour_vision() -> None:
    """At least 10 in OKLab (x 100), with Machado, Oliveira, Fernandes (2009) at full severity."""
    light = ["#" + c for c in _cycle(FILE.read_text())]
    css = (Path(analysis.__file__).parent / "templates" / "report.css").read_text()
    page_light = _series(css, 0)
    page_dark = _series(css, 1)
    assert [c.lower() for c in page_light] == light
    assert _closest(light) > 10
    assert _closest(page_dark) > 9


def _cycle(text: str) -> list[str]:
    inner = text[text.index("cycler('color', [") + 17 :]
    return [part.strip(" '") for part in inner[: inner.index("]")].split(",")]


def _series(css: str, which: int) -> list[str]:
    import re

    return [re.findall(rf"--s{i}: (#[0-9a-f]{{6}})", css)[which] for i in range(8)]


VISION = [
    np.eye(3),
    [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
    [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]],
]  # fmt: skip


def _closest(colors: list[str]) -> float:
    srgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colors])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    to_lms = np.array(
        [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
         [0.0883024619, 0.2817188376, 0.6299787005]]
    )  # fmt: skip
    to_lab = np.array(
        [[0.2104542553, 0.793617785, -0.0040720468], [1.9779984951, -2.428592205, 0.4505937099],
         [0.0259040371, 0.7827717662, -0.808675766]]
    )  # fmt: skip
    distances = []
    for matrix in VISION:
        seen = np.clip(linear @ np.array(matrix).T, 0, 1)
        lab = np.cbrt(seen @ to_lms.T) @ to_lab.T
        apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1) * 100
        distances.append(apart[np.triu_indices(len(colors), 1)].min())
    return float(min(distances))
