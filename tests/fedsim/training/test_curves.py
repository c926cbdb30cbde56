"""Trainings are told epoch by epoch, whether they went on or came from the cache."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from fedsim.engine.run import run
from fedsim.training.curves import Curve, as_json, as_table, note, noted
from fedsim.training.loop import Epoch
from tests.studies import tiny

EPOCHS = (Epoch(2.5, 0.25, 0.5), Epoch(1.5, math.nan, math.nan))


def test_epochs_come_back_from_a_table() -> None:
    note("unheard", as_table(EPOCHS))
    with noted() as curves:
        note("heard", as_table(EPOCHS[:1]))
        note("empty", as_table(()))
    note("unheard", as_table(EPOCHS))
    assert curves == [Curve("heard", EPOCHS[:1]), Curve("empty", ())]


def test_what_was_not_validated_is_null() -> None:
    (record,) = json.loads(as_json([Curve("NaN", EPOCHS)]))
    assert record["purpose"] == "NaN"
    assert record["epochs"][0] == {"loss": 2.5, "ndcg": 0.25, "hit": 0.5}
    assert record["epochs"][1] == {"loss": 1.5, "ndcg": None, "hit": None}


def test_a_run_keeps_its_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path / "cache"))
    first, again = (run(tiny("static", seed=7), out=tmp_path / name) for name in "ab")
    texts = [(made.path / "training.json").read_text() for made in (first, again)]
    assert texts[0] == texts[1]
    (training,) = json.loads(texts[0])
    assert training["purpose"] == "base/home"
    assert [epoch["loss"] > 0 for epoch in training["epochs"]] == [True, True]
    told = (first.path / "run.log").read_text(), (again.path / "run.log").read_text()
    assert ["epoch 1" in text for text in told] == [True, False]
