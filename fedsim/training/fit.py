"""Trains a learner as the scenario says, unless the cache already has what it would learn."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from fedsim.data.base import Streams
from fedsim.setting import Setting
from fedsim.training.cache import cached, checksum, streams_hash
from fedsim.training.curves import as_table, note
from fedsim.training.learner import Learner
from fedsim.training.loop import Trainer, train
from fedsim.training.source import code_of

EPOCHS = "/epochs"
"""Name of what each epoch gave, beside the learner's tensors: no parameter's."""


def fit(
    learner: Learner,
    streams: Streams,
    setting: Setting,
    *,
    purpose: str,
    options: Mapping[str, object] | None = None,
    targets_per_mask: int = 1,
    epochs: int | None = None,
    trainer_type: type[Trainer] = Trainer,
) -> None:
    """Train a learner in place by the scenario's `train` section, or take it from the cache.

    Parameters
    ----------
    learner
        In its starting state, which is part of the cache's key.
    streams
        What to learn from.
    setting
        The study: seed, training, what is left out of the softmax, and the cache's folder.
    purpose
        Names this training: its randomness and its progress bar.
    options
        Whatever of the learner is not in its state and changes what it learns.
    targets_per_mask
        Consecutive targets of an edge that share what is generated for the first.
    epochs
        Instead of the scenario's.
    trainer_type
        Takes the steps; a learner that is scored otherwise brings its own, in its module.
    """
    scenario = setting.scenario
    config = scenario.train
    if epochs is not None:
        config = config.model_copy(update={"epochs": epochs})
    key = {
        "code": code_of(learner, learner.backbone),
        "purpose": purpose,
        "options": dict(options or {}),
        "targets_per_mask": targets_per_mask,
        "train": config.model_dump(mode="json"),
        "model": scenario.model.model_dump(mode="json"),
        "exclude": scenario.evaluation.exclude,
        "seed": scenario.seed,
        "streams": streams_hash(streams),
        "start": checksum(learner.state_dict()),
    }

    def make() -> dict[str, Tensor]:
        gave = train(
            learner,
            streams,
            config,
            scenario.evaluation.exclude,
            seed=scenario.seed,
            purpose=purpose,
            targets_per_mask=targets_per_mask,
            trainer_type=trainer_type,
        )
        return {**learner.state_dict(), EPOCHS: as_table(gave)}

    found = dict(cached(setting.cache_dir, key, make))
    note(purpose, found.pop(EPOCHS))
    learner.load_state_dict(found)
