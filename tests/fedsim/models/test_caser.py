"""Caser's forward against torch's own convolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from fedsim.models.base import split_layers
from fedsim.models.caser import Caser, CaserConfig


def test_forward_is_two_kinds_of_convolution() -> None:
    model = Caser(CaserConfig(dim=16, horizontal=3, vertical=2))
    gen = torch.Generator().manual_seed(0)
    weights = [w[0] for w in split_layers(model.layout, model.init_weights(gen))]
    small = model.init_small(gen)
    image = torch.randn(1, 1, 5, 16, generator=gen)

    vertical = F.conv2d(image * 4.0, weights[-1].view(2, 1, 5, 1)).flatten(1)
    horizontal = [
        F.conv2d(image * 4.0, weights[h - 1].view(3, 1, h, 16)).squeeze(3).relu().amax(2)
        for h in range(1, 6)
    ]
    features = torch.cat([vertical, *horizontal], 1)
    wanted = F.linear(features, small["output"], small["output_bias"])

    padding = torch.zeros(1, 1, 5, dtype=torch.bool)
    found = model.forward([w[None] for w in weights], small, image, padding)
    torch.testing.assert_close(found[0], wanted, rtol=1e-5, atol=1e-5)
    assert [layer.name for layer in model.layout.layers] == [
        *(f"horizontal{h}" for h in range(1, 6)), "vertical",
    ]  # fmt: skip
