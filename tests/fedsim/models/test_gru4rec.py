"""GRU4Rec's forward against torch's own GRU, and its costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fedsim.models.base import split_layers
from fedsim.models.cost import backbone_cost
from fedsim.models.gru4rec import GRU4Rec, GRU4RecConfig

GATES = 3 * 16


@pytest.mark.parametrize("layers", [1, 2])
def test_forward_is_torchs_gru(layers: int) -> None:
    """One window with all its places taken, one of three items behind two empty places."""
    model = GRU4Rec(GRU4RecConfig(dim=16, layers=layers))
    gen = torch.Generator().manual_seed(0)
    weights = split_layers(model.layout, model.init_weights(gen))
    small = {name: torch.randn(layers, GATES, generator=gen) for name in model.init_small(gen)}
    theirs = nn.GRU(16, 16, layers, batch_first=True)
    for layer in range(layers):
        named = {
            f"weight_ih_l{layer}": weights[2 * layer][0],
            f"weight_hh_l{layer}": weights[2 * layer + 1][0],
            f"bias_ih_l{layer}": small["input_bias"][layer],
            f"bias_hh_l{layer}": small["hidden_bias"][layer],
        }
        theirs.load_state_dict(theirs.state_dict() | named)

    items = torch.randn(5, 16, generator=gen)
    padding = torch.tensor([[False] * 5, [True, True, False, False, False]])
    found = model.forward(weights, small, items.expand(1, 2, 5, 16), padding[None])
    with torch.no_grad():
        for window, start in enumerate((0, 2)):
            wanted: Tensor = theirs(items[None, start:] * 4.0)[0][0, -1]
            torch.testing.assert_close(found[0, window], wanted, rtol=1e-5, atol=1e-5)


def test_an_empty_window_asks_for_nothing() -> None:
    model = GRU4Rec(GRU4RecConfig(dim=16))
    gen = torch.Generator().manual_seed(0)
    weights = split_layers(model.layout, model.init_weights(gen))
    small = {name: torch.ones(1, GATES) for name in model.init_small(gen)}
    padding = torch.ones(1, 1, 5, dtype=torch.bool)
    assert not model.forward(weights, small, torch.randn(1, 1, 5, 16), padding).any()


def test_costs() -> None:
    model = GRU4Rec(GRU4RecConfig())
    cost = backbone_cost(model)
    assert [layer.name for layer in model.layout.layers] == ["gru0.input", "gru0.hidden"]
    assert cost.maskable == cost.diet_bits == 2 * 3 * 64 * 64 == 24_576
    assert cost.macs == (5 + 4) * 3 * 64 * 64 + 5 * 2 * 64 == 111_232
    assert cost.dense_bits == 32 * 24_576
    rows = np.array([[0, 0], [3, 0], [0, 1]])
    assert model.macs(rows).tolist() == [640, 640 + 3 * 64 * 5, 640 + 64 * 4]
    deep = GRU4Rec(GRU4RecConfig(layers=3))
    assert deep.macs()[0] == 3 * 111_232
    assert [layer.name for layer in deep.layout.layers][-1] == "gru2.hidden"
