"""Changed code does not find what was learned before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedsim import rng
from fedsim.data.base import Streams
from fedsim.models.sasrec import SASRec, SASRecConfig
from fedsim.setting import Setting
from fedsim.training import fit as fitting
from fedsim.training import source
from fedsim.training.learner import DenseLearner
from tests.strategies.fitted import fitted
from tests.studies import tiny

BACKBONE = SASRec(SASRecConfig(dim=16, heads=2, window=3))
STREAMS = Streams(np.tile(np.arange(1, 9, dtype=np.int32), 4), np.arange(5) * 8)


class OtherLearner(DenseLearner):
    """Another class, in another module."""


def learner(kind: type[DenseLearner] = DenseLearner) -> DenseLearner:
    return kind(BACKBONE, 8, rng.torch_generator(0, "test"))


@pytest.mark.parametrize(
    "module",
    [
        __name__,
        "fedsim.training.learner",
        "fedsim.training.loop",
        "fedsim.models.sasrec",
        "fedsim.models.base",
        "fedsim.kernels.masked_linear",
        "fedsim.kernels.straight_through",
    ],
)
def test_a_changed_source_is_other_code(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = source.code_of(learner(OtherLearner), BACKBONE)
    assert source.code_of(learner(OtherLearner), BACKBONE) == before
    read = source.source_of
    monkeypatch.setattr(
        source, "source_of", lambda name: read(name) + ("#" if name == module else "")
    )
    after = source.code_of(learner(OtherLearner), BACKBONE)
    assert after["sources"] != before["sources"]


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("sttd", "strategies._tensor_train"),
        ("peel", "strategies._blocks"),
        ("snack", "strategies._rounding"),
        ("snack", "strategies._levels"),
        ("static", "fedsim.slices"),
    ],
)
def test_what_a_learner_computes_by_is_its_code(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (made,) = fitted(name).strategy._learners
    before = source.code_of(made)
    read = source.source_of
    monkeypatch.setattr(
        source, "source_of", lambda name: read(name) + ("#" if name == module else "")
    )
    assert source.code_of(made)["sources"] != before["sources"]


def test_learners_and_torch_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    code = source.code_of(learner(OtherLearner))
    assert code["learner"] == f"{__name__}.OtherLearner"
    assert code["sources"] != source.code_of(learner())["sources"]
    monkeypatch.setattr("torch.__version__", "0.0")
    assert source.code_of(learner(OtherLearner)) == code | {"torch": "0.0"}


def test_fit_trains_again_only_when_code_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = Setting(tiny(), (), BACKBONE, tmp_path)
    fitting.fit(learner(), STREAMS, setting, purpose="test")

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(fitting, "train", never)
    fitting.fit(learner(), STREAMS, setting, purpose="test")
    read = source.source_of
    monkeypatch.setattr(source, "source_of", lambda name: read(name) + "#")
    with pytest.raises(AssertionError, match="trained again"):
        fitting.fit(learner(), STREAMS, setting, purpose="test")
