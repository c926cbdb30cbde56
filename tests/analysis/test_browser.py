"""The report in a real browser: light, dark, and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.load import load
from analysis.report import write_report
from tests.analysis import browser
from tests.analysis.conftest import LABELS
from tests.analysis.factory import METHODS, World, make_run

EXECUTABLE = browser.find()

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        EXECUTABLE is None, reason="no Chromium found; install it, as with apt install chromium"
    ),
]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    assert EXECUTABLE
    with browser.Browser(EXECUTABLE, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize(
    ("width", "theme"), [(1200, "light"), (1200, "dark"), (390, "light"), (390, "dark")]
)
def test_the_report_opens_without_complaint_or_request(
    chromium: browser.Browser, page: Path, tmp_path: Path, width: int, theme: str
) -> None:
    chromium.open(page, width=width, theme=theme)
    assert chromium.complaints == []
    outside = [u for u in chromium.requests if u not in (page.as_uri(), "about:blank")]
    assert [url for url in outside if not url.startswith("data:")] == []
    assert chromium.evaluate("document.querySelectorAll('.plot canvas').length") == 2
    assert chromium.evaluate("document.documentElement.scrollWidth") == width
    chromium.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 50_000


def test_many_methods_fit_a_phone(chromium: browser.Browser, tmp_path: Path) -> None:
    world = World("many", edges=8, rounds=2, controls=0)
    made = [
        make_run(tmp_path, world, name, label=f"{name}, codec entropy, request on_drift {part}")
        for name in METHODS
        for part in ("one", "two")
    ]
    chromium.open(write_report(load(made), tmp_path / "out"), width=390)
    assert chromium.evaluate("document.documentElement.scrollWidth") == 390
    chips = "[...document.querySelectorAll('.chip')].map(chip => chip.dataset.look)"
    assert len(set(chromium.evaluate(chips))) == 16
    hollow = (
        "[...document.querySelectorAll('#chart-bytes .u-marker')]"
        ".filter(mark => mark.style.borderWidth || mark.style.border).length"
    )
    assert chromium.evaluate(hollow) == 8
    assert chromium.complaints == []


def test_legends_at_rest_show_the_last_round(chromium: browser.Browser, page: Path) -> None:
    chromium.open(page, width=1200)
    values = "[...document.querySelectorAll('#chart-%s .u-value')].map(e => e.textContent)"
    rounds, *accuracies = chromium.evaluate(values % "accuracy")
    assert rounds == "8"
    assert len(accuracies) == len(LABELS)
    assert all(0 < float(text) < 1 for text in accuracies)
    rounds, static, *_ = chromium.evaluate(values % "bytes")
    assert (rounds, static) == ("8", "0 B")


def test_a_last_figure_alone_in_its_row_stands_in_the_middle(
    chromium: browser.Browser, page: Path
) -> None:
    chromium.open(page, width=1200)
    boxes = chromium.evaluate(
        "[...document.querySelectorAll('.grid')].map(g => [g.children.length, "
        "g.getBoundingClientRect(), g.lastElementChild.getBoundingClientRect()])"
        ".map(([n, g, c]) => [n, g.left + g.width / 2, c.left + c.width / 2, c.width, g.width])"
    )
    odd = [each for each in boxes if each[0] % 2]
    assert odd
    for _, middle, own, width, whole in odd:
        assert abs(middle - own) < 1
        assert width < 0.52 * whole


def test_names_stay_beside_their_markers(chromium: browser.Browser, page: Path) -> None:
    chromium.open(page, width=390)
    apart = (
        "[...document.querySelectorAll('td .name')].filter(n => !n.closest('details'))"
        ".map(n => [...n.children].map(c => c.getBoundingClientRect()))"
        ".filter(([a, b]) => a.bottom <= b.top || b.height > 30).length"
    )
    assert chromium.evaluate("document.querySelectorAll('td .name').length") > 4
    assert chromium.evaluate(apart) == 0


def test_light_and_dark_really_differ(chromium: browser.Browser, page: Path) -> None:
    seen = {}
    for theme in ("light", "dark"):
        chromium.open(page, width=1200, theme=theme)
        seen[theme] = chromium.evaluate(
            "[document.body, ...document.querySelectorAll('#traffic svg .s0 path')]"
            ".map(e => getComputedStyle(e)).map(s => [s.backgroundColor, s.stroke])"
        )
    assert seen["light"][0][0] == "rgb(244, 246, 248)"
    assert seen["dark"][0][0] == "rgb(12, 15, 19)"
    assert "rgb(33, 86, 211)" in {stroke for _, stroke in seen["light"]}
    assert "rgb(132, 178, 253)" in {stroke for _, stroke in seen["dark"]}
    chromium.evaluate("document.getElementById('theme').click()")
    assert chromium.evaluate("document.documentElement.dataset.theme") == "light"


def test_text_of_figures_is_readable_on_a_phone(chromium: browser.Browser, page: Path) -> None:
    chromium.open(page, width=390)
    heights = chromium.evaluate(
        "[...document.querySelectorAll('figure svg text')].map(t => t.getBoundingClientRect())"
        ".map(box => Math.min(box.width, box.height)).filter(Boolean)"
    )
    assert len(heights) > 100
    assert min(heights) >= 6
    sizes = chromium.evaluate(
        "[...document.querySelectorAll('figure svg')].map(svg => 9 * svg.clientWidth /"
        " svg.viewBox.baseVal.width)"
    )
    assert min(sizes) >= 9


def test_a_strategy_can_be_hidden_everywhere(chromium: browser.Browser, page: Path) -> None:
    chromium.open(page, width=1200)
    chips = "document.querySelectorAll('.chip')"
    assert chromium.evaluate(f"[...{chips}].map(c => c.textContent)") == list(LABELS)
    chromium.evaluate(f"{chips}[1].click()")
    faded = "[...document.querySelectorAll('.series.s1')].every(e => e.style.opacity === '0.06')"
    assert chromium.evaluate(faded)
    assert chromium.evaluate(f"{chips}[1].getAttribute('aria-pressed')") == "false"
    chromium.evaluate(f"{chips}[1].click()")
    assert not chromium.evaluate(faded)
    assert chromium.complaints == []


def test_charts_follow_the_choice_of_metric_and_group(
    chromium: browser.Browser, page: Path
) -> None:
    chromium.open(page, width=1200)
    pick = (
        "(() => {{ const s = document.getElementById('{0}'); s.selectedIndex = {1};"
        " s.dispatchEvent(new Event('change')); }})()"
    )
    for index in range(3):
        chromium.evaluate(pick.format("metric", index))
    for index in range(6):
        chromium.evaluate(pick.format("group", index))
    groups = "[...document.getElementById('group').options].map(o => o.textContent)"
    assert chromium.evaluate(groups) == [
        "all edges", "in-distribution edges", "OOD edges", "channel home", "channel video",
        "channel music",
    ]  # fmt: skip
    assert chromium.evaluate("document.querySelectorAll('.plot canvas').length") == 2
    assert chromium.complaints == []
