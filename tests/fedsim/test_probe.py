"""What edges hold after a run, and what they rank first with it, agree with the ledger."""

from __future__ import annotations

import numpy as np
import pytest

from fedsim.engine.run import Run, run
from fedsim.errors import ConfigError
from fedsim.probe import Probe, compatible, shares_of_rows
from tests.studies import tiny


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """One round that holds the last item of every stream."""
    out = tmp_path_factory.mktemp("runs")
    changes = {"rounds": 1, "stream.history": "leave_one_out", "evaluation.ks": [3]}
    return {name: run(tiny(name, **changes), out=out) for name in ("static", "diet")}


def test_rows_kept_cost_what_the_ledger_says(runs: dict[str, Run]) -> None:
    shares = shares_of_rows(runs["diet"])
    assert list(shares)[:2] == ["block0.query", "block0.key"]
    ledger = runs["diet"].ledger.query("round == 1")
    macs = sum(share * 64 * 64 * 5 for share in shares.values()) + 2 * 2 * 15 * 64
    assert macs == pytest.approx(ledger["macs"].mean())
    with pytest.raises(ConfigError, match="edges of 'static' hold no masks"):
        shares_of_rows(runs["static"])


@pytest.mark.parametrize("name", ["static", "diet"])
def test_what_is_ranked_first_are_the_ledgers_hits(name: str, runs: dict[str, Run]) -> None:
    probe = Probe(runs[name])
    scores, wanted = probe.scores(probe.held), probe.last[1]
    ahead = (scores > scores[np.arange(len(scores)), wanted - 1][:, None]).sum(axis=1)
    ledger = runs[name].ledger.query("round == 1").sort_values("edge")
    np.testing.assert_array_equal(ahead < 3, ledger["hit_3"] > 0)


def test_a_user_is_served_with_its_own_answer_and_anothers(runs: dict[str, Run]) -> None:
    case = compatible(runs["static"], runs["diet"])
    for name, label in (("static", "Base"), ("diet", "own")):
        hits = runs[name].ledger.query("round == 1")["hit_3"]
        assert case.hits[label] == pytest.approx(hits.mean())
    probe = Probe(runs["diet"])
    windows, wanted = probe.last
    assert case.following == f"item {wanted[case.user]}"
    assert case.others_window == [f"item {item}" for item in windows[case.other]]
    swapped = {key: values[[case.other]] for key, values in probe.held.items()}
    whole = {key: np.repeat(values, len(windows), axis=0) for key, values in swapped.items()}
    best = np.argsort(-probe.scores(whole)[case.user], kind="stable")[:3] + 1
    assert case.first["another's"] == [f"item {item}" for item in best]
    interests = probe.channel.interests[windows].sum(axis=1)
    unit = interests / np.linalg.norm(interests, axis=1, keepdims=True)
    cosines = unit @ unit[case.user]
    assert cosines[case.other] == pytest.approx(cosines.min())
