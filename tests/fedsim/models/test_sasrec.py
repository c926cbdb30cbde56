"""SASRec's names and options, and its forward against one written out step by step."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from fedsim.models.base import split_layers
from fedsim.models.sasrec import SASRec, SASRecConfig


def test_layers_are_named_in_order() -> None:
    names = [layer.name for layer in SASRec(SASRecConfig()).layout.layers]
    assert names[:5] == [
        "block0.query", "block0.key", "block0.value", "block0.ffn1", "block0.ffn2",
    ]  # fmt: skip
    assert names[5] == "block1.query"
    assert len(names) == 10


def test_heads_divide_the_dimension() -> None:
    with pytest.raises(ValidationError, match="dim 64 is no multiple of heads 5"):
        SASRecConfig(heads=5)


@pytest.mark.parametrize("norm", ["post", "sasrec"])
def test_forward_step_by_step(norm: Literal["post", "sasrec"]) -> None:
    """One window, one head at a time, all positions in both blocks, no batching."""
    model = SASRec(SASRecConfig(norm=norm, dim=16, heads=2))
    gen = torch.Generator().manual_seed(0)
    weights = [w[0] for w in split_layers(model.layout, model.init_weights(gen))]
    small = model.init_small(gen)
    small["norm_gain"] = 1 + 0.2 * torch.randn(5, 16, generator=gen)
    small["norm_bias"] = 0.2 * torch.randn(5, 16, generator=gen)
    items, padding = torch.randn(5, 16, generator=gen), torch.tensor([True, True, *[False] * 3])

    def normed(x: Tensor, i: int) -> Tensor:
        return F.layer_norm(x, (16,), small["norm_gain"][i], small["norm_bias"][i])

    z = items * 4.0 + small["positions"]
    z = normed(z, 0) if norm == "post" else z
    for b in range(2):
        wq, wk, wv, w1, w2 = weights[5 * b : 5 * b + 5]
        asking = normed(z, 1 + 2 * b) if norm == "sasrec" else z
        mixed = torch.zeros(5, 16)
        for p in range(5):
            seen = [j for j in range(p + 1) if j == p or not padding[j]]
            for h in (slice(0, 8), slice(8, 16)):
                query = (wq @ asking[p])[h]
                logits = torch.stack([query @ (wk @ z[j])[h] / 8**0.5 for j in seen])
                shares = logits.softmax(0)
                for share, j in zip(shares, seen, strict=True):
                    mixed[p, h] += share * (wv @ z[j])[h]
        z = normed(asking + mixed, 1 + 2 * b if norm == "post" else 2 + 2 * b)
        z = z + torch.stack([w2 @ F.relu(w1 @ row) for row in z])
        z = normed(z, 2 + 2 * b) if norm == "post" else z
    wanted = z[-1] if norm == "post" else normed(z[-1], 0)

    found = model.forward([w[None] for w in weights], small, items[None, None], padding[None, None])
    torch.testing.assert_close(found[0, 0], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("norm", ["post", "sasrec"])
@pytest.mark.parametrize("left_out", [0, 1, 2])
def test_a_block_left_out_is_as_if_it_were_not_there(
    norm: Literal["post", "sasrec"], left_out: int
) -> None:
    """Three blocks with one gate shut are two blocks, bit for bit.

    Where the last one is left out, to within rounding: the one before it then works on all
    positions, in products of another shape.
    """
    three, two = (SASRec(SASRecConfig(norm=norm, blocks=count)) for count in (3, 2))
    gen = torch.Generator().manual_seed(0)
    weights = split_layers(three.layout, three.init_weights(gen))
    small = three.init_small(gen)
    small["norm_gain"] = 1 + 0.2 * torch.randn(7, 64, generator=gen)
    left = [block for block in range(3) if block != left_out]
    norms = [0, *(1 + 2 * block + half for block in left for half in (0, 1))]
    shorter = small | {name: small[name][norms] for name in ("norm_gain", "norm_bias")}
    items = torch.randn(4, 2, 5, 64, generator=gen)
    padding = torch.zeros(4, 2, 5, dtype=torch.bool)
    gates = torch.ones(4, 3)
    gates[:, left_out] = 0

    found = three.forward(weights, small, items, padding, gates=gates)
    kept = [weights[5 * block + layer] for block in left for layer in range(5)]
    close = 1e-5 * (left_out == 2)
    torch.testing.assert_close(
        found, two.forward(kept, shorter, items, padding), rtol=close, atol=close
    )
    whole = three.forward(weights, small, items, padding)
    assert torch.equal(three.forward(weights, small, items, padding, gates=torch.ones(1, 3)), whole)
    mixed = three.forward(
        weights, small, items, padding, gates=gates.index_fill(0, torch.tensor([1]), 1)
    )
    assert torch.equal(mixed[1], whole[1])
    assert torch.equal(mixed[0], found[0])


def test_gates_get_a_gradient_where_they_are_shut() -> None:
    model = SASRec(SASRecConfig())
    gen = torch.Generator().manual_seed(0)
    weights = split_layers(model.layout, model.init_weights(gen))
    gates = torch.tensor([[1.0, 0.0]], requires_grad=True)
    items, padding = torch.randn(1, 1, 5, 64, generator=gen), torch.zeros(1, 1, 5, dtype=torch.bool)
    query = model.forward(weights, model.init_small(gen), items, padding, gates=gates)
    (gradient,) = torch.autograd.grad(query[..., 0].sum(), gates)
    assert (gradient.abs() > 1e-4).all()


def test_macs_count_the_blocks_left_in() -> None:
    model = SASRec(SASRecConfig(blocks=6))
    chosen = np.array([[0] * 6, [1, 0, 0, 1, 0, 0], [1] * 6], np.bool_)
    assert model.stacked_macs(chosen).tolist() == [0, 208_640, 6 * (5 * 20_480 + 2 * 15 * 64)]
