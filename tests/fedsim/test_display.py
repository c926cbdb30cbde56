import io

import pytest
from rich.console import Console

from fedsim.cloud.tally import Tally
from fedsim.display import Display, hushed, in_bytes, progress, shown
from fedsim.ledger import rows, schema
from fedsim.scenario import ScenarioConfig
from tests.studies import tiny

METRICS = {"ndcg_10": 0.0617, "downlink_bytes": 5120.0, "edges": 20.0}


@pytest.fixture
def scenario() -> ScenarioConfig:
    return tiny()


def told(scenario: ScenarioConfig, *, terminal: bool, quiet: bool = False) -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=120, color_system=None)
    display = Display(quiet=quiet, to=console)
    display.start(scenario, 3, 24, done=1)
    display.ready()
    display.round(2, METRICS)
    display.note("[brackets] stay")
    display.round(3, METRICS)
    display.stop()
    return file.getvalue()


def test_without_a_terminal_it_is_a_line_a_round(scenario: ScenarioConfig) -> None:
    first, *rounds = told(scenario, terminal=False).splitlines()
    assert first.startswith("tiny · static: 24 edges, 3 rounds")
    assert rounds[0].startswith("round 2/3  ndcg_10 0.0617  downlink_bytes 5.1 kB  edges 20")
    assert rounds[1] == "[brackets] stay"
    assert len(rounds) == 3
    assert "\x1b" not in "".join(rounds)


def test_on_a_terminal_a_table_and_a_bar_stay(scenario: ScenarioConfig) -> None:
    text = told(scenario, terminal=True)
    assert "3/3" in text
    assert "edges per s" in text
    assert "[brackets] stay" in text


@pytest.mark.parametrize("terminal", [False, True])
def test_quiet_says_nothing(scenario: ScenarioConfig, terminal: bool) -> None:
    assert told(scenario, terminal=terminal, quiet=True) == ""


def test_stopping_twice_or_before_the_start_does_nothing() -> None:
    display = Display(quiet=True)
    display.stop()
    display.stop()


def test_progress_off_a_terminal_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 100, 4))
    monkeypatch.setattr("fedsim.display.time.monotonic", lambda: next(clock))
    with progress("base/[home]", 1200) as advance:
        for _ in range(5):
            advance()
    told = capsys.readouterr().err.splitlines()
    assert told == [f"training base/[home]: {done} of 1,200 steps" for done in (0, 3)]


def test_progress_is_silent_when_hushed(capsys: pytest.CaptureFixture[str]) -> None:
    with hushed(quiet=True), progress("training", 3) as advance:
        advance()
    assert capsys.readouterr().err == ""


def test_without_targets_there_is_no_accuracy() -> None:
    tally = Tally([10], shared_bytes=0)
    served = {"round": 1, "edge": [0, 1], "channel": 0, "downlink_bytes": [64, 0]}
    tally.add(rows(schema([10]), **served))
    means = tally.means()
    assert [shown(name, means[name]) for name in ("hit_10", "ndcg_10")] == ["\u2013"] * 2
    assert shown("downlink_bytes", means["downlink_bytes"]) == "32 B"
    tally.add(rows(schema([10]), **served, targets=[1, 3], hit_10=[1, 0]))
    assert shown("hit_10", tally.means()["hit_10"]) == "0.2500"


def test_values_are_shown_in_their_units() -> None:
    assert shown("mrr", float("nan")) == "\u2013"
    assert shown("hit_10", 1.0) == "1.0000"
    assert in_bytes(-2048) == "-2.0 kB"
