"""A strategy of one's own whose hooks give something else than it promised."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedsim.engine.run import run
from fedsim.errors import PluginError, RunError
from fedsim.setting import Provision
from fedsim.strategy import StrategyConfig
from tests.own import NAME, Own, OwnEdge
from tests.studies import tiny

FLOATS = np.zeros((1, 61), np.float32)


def start(out: Path) -> None:
    run(tiny(NAME), out=out)


def test_a_sound_one_runs_without_a_warning(tmp_path: Path) -> None:
    """Torch warns of arrays that must not be written to; those of the controls were such."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        start(tmp_path)


@pytest.mark.parametrize("hook", ["initial", "answer", "majority"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"score": FLOATS}, "gave 'score', columns() names 'scores'; use the same names"),
        ({}, "gave nothing, columns() names 'scores'"),
        (FLOATS, "gave a ndarray, wanted a dict of arrays by the names of columns(): 'scores'"),
        ({"scores": FLOATS[:, 1:]}, "gave float32 (1, 60) for column 'scores', wanted an array"),
        ({"scores": FLOATS[0]}, "gave float32 (61,) for column 'scores', wanted an array of"),
        ({"scores": FLOATS.astype(float)}, "gave float64 (1, 61) for column 'scores', wanted an"),
        ({"scores": FLOATS.repeat(3, 0)}, "gave float32 (3, 61) for column 'scores', wanted an"),
        ({"scores": FLOATS.tolist()}, "gave a list for column 'scores', wanted an array of"),
    ],
)
def test_rows_that_are_not_the_columns_are_told(
    hook: str, given: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Own, hook, lambda *_: given)
    with pytest.raises(PluginError) as told:
        start(tmp_path)
    assert f"{hook}() of Own {said}" in str(told.value)


def test_a_provision_for_other_channels_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Own, "provision", lambda *_: Provision(channels=({},)))
    told = r"provision\(\) of Own gave 1 channels and 0 candidates, but the scenario has 1 of them"
    with pytest.raises(PluginError, match=told):
        start(tmp_path)


def test_a_sample_may_lack_columns_but_not_have_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Own, "sample", lambda *_: {"scores": FLOATS.repeat(3, 0)})
    start(tmp_path)
    monkeypatch.setattr(Own, "sample", lambda *_: {"score": FLOATS})
    with pytest.raises(PluginError, match=r"sample\(\) of Own gave 'score', columns\(\) names"):
        start(tmp_path)


def test_options_without_a_codec_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Own, "Config", StrategyConfig)
    told = r"StrategyConfig has no option 'codec' .* column 'scores' .*: codec: CodecOptions = F"
    with pytest.raises(PluginError, match=told):
        start(tmp_path)
    assert not list(tmp_path.rglob("scenario.toml"))


def test_wrong_scores_are_told_with_the_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = OwnEdge.scores
    monkeypatch.setattr(OwnEdge, "scores", lambda *args: sound(*args)[..., :20])
    with pytest.raises(PluginError, match=r"scores\(\) of OwnEdge gave float32 \(\d+, \d+, 20\)"):
        start(tmp_path)
    monkeypatch.setattr(OwnEdge, "scores", lambda *args: sound(*args) * np.nan)
    with pytest.raises(RunError, match=r"edge \d+, .*: its scores are not numbers: .*scores"):
        start(tmp_path)
