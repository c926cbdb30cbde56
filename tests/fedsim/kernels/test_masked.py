"""Inference from packed bits against unpacking and torch's forward."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch

from fedsim.models.base import Backbone
from fedsim.models.sasrec import SASRec, SASRecConfig

EDGES, ITEMS = 5, 40


def inputs(model: SASRec, keep: float, masks: int, windows: int) -> tuple[object, ...]:
    random = np.random.default_rng(0)
    bits = random.random((masks, model.layout.size)) < keep
    rows = random.random((masks, model.layout.size // model.dim)) < 0.5
    bits &= np.repeat(rows, model.dim, axis=1)  # whole rows without a bit
    gen = torch.Generator().manual_seed(1)
    small = model.init_small(gen)
    for name in ("norm_gain", "norm_bias"):
        small[name] = small[name] + 0.2 * torch.randn(small[name].shape, generator=gen)
    items = torch.randn(ITEMS + 1, model.dim, generator=gen) * 0.3
    ids = random.integers(1, ITEMS + 1, (EDGES, windows, model.window)).astype(np.int32)
    ids[0, :, : model.window // 2] = 0
    ids[1] = 0
    packed = np.packbits(bits, axis=1, bitorder="little")
    return packed, model.init_weights(gen).numpy() * np.float32(3), small, items, ids


@pytest.mark.parametrize("norm", ["post", "sasrec"])
@pytest.mark.parametrize(
    ("options", "masks", "windows", "keep"),
    [({}, EDGES, 1, 0.1), ({}, 1, 3, 0.6), ({"dim": 128, "heads": 2, "window": 9}, EDGES, 2, 0.2)],
    ids=["paper", "one mask, three windows", "wide"],
)
def test_kernel_equals_forward(
    norm: Literal["post", "sasrec"],
    options: dict[str, int],
    masks: int,
    windows: int,
    keep: float,
) -> None:
    model = SASRec(SASRecConfig(norm=norm, **options))
    args = inputs(model, keep, masks, windows)
    found = model.masked_forward(*args)  # type: ignore[arg-type]
    wanted = Backbone.masked_forward(model, *args)  # type: ignore[arg-type]
    assert found.shape == (EDGES, windows, model.dim)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert (found[2] - found[3]).abs().max() > 1e-2


def test_other_sizes_go_through_torch() -> None:
    model = SASRec(SASRecConfig(dim=24))
    args = inputs(model, 0.3, EDGES, 2)
    found = model.masked_forward(*args)  # type: ignore[arg-type]
    assert torch.equal(found, Backbone.masked_forward(model, *args))  # type: ignore[arg-type]
