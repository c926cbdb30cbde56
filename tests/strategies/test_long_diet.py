"""The long diet: warm start, long uploads, decayed means."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedsim.setting import Uploads
from tests.strategies.fitted import Fitted, fitted


@pytest.fixture(scope="module")
def long_diet() -> Fitted:
    return fitted({"name": "long_diet", "upload": 12})


def test_it_uploads_more_than_the_backbone_reads(long_diet: Fitted) -> None:
    assert long_diet.half.upload_length == 12
    assert long_diet.setting.backbone.window == 4


def test_a_diet_depends_on_items_the_backbone_does_not_see(long_diet: Fitted) -> None:
    uploads = long_diet.uploads()
    older = uploads.items.copy()
    older[:, :6] = np.where(older[:, :6] > 0, 1 + older[:, :6] % 60, 0)
    fresh = long_diet.strategy.answer(0, uploads, 1)["mask"]
    changed = long_diet.strategy.answer(0, Uploads(uploads.edges, older), 1)["mask"]
    moved = (older != uploads.items).any(axis=1)
    assert ((fresh != changed).any(axis=1) <= moved).all()
    assert (fresh != changed).any()


def test_means_fade_and_skip_padding(long_diet: Fitted) -> None:
    (learner,) = long_diet.strategy._learners
    ids = torch.tensor([[0] * 10 + [3, 5]])
    means = learner.reader.means(ids, learner.items)[0].detach()
    table = learner.reader.uploaded.detach() * 4.0
    for mean, decay in zip(means, (1.0, 0.95, 0.8, 0.5), strict=True):
        wanted = (decay * table[3] + table[5]) / (1 + decay)
        torch.testing.assert_close(mean, wanted)


def test_it_starts_from_the_global_mask() -> None:
    """A generator that adds almost nothing answers the global mask of the ablation."""
    started = fitted({"name": "long_diet", "gain": 1e-9, "epochs": 1}, changes={"train.lr": 1e-30})
    masked = fitted({"name": "diet", "variant": "mask"}, changes={"train.lr": 1e-30})
    rows = started.strategy.answer(0, started.uploads(), 1)["mask"]
    wanted = masked.strategy.initial(0)["mask"]
    np.testing.assert_array_equal(rows, np.repeat(wanted, len(rows), 0))


def test_a_tied_table_is_the_backbones() -> None:
    made = fitted({"name": "long_diet", "tied": True})
    (learner,) = made.strategy._learners
    assert learner.reader.uploaded is None
    assert "reader.uploaded" not in learner.state_dict()
