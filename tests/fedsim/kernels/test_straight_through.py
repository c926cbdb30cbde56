"""The kernels of masked weights against the same formulas written in torch."""

from __future__ import annotations

import pytest
import torch

from fedsim.kernels.select import top_mask
from fedsim.kernels.straight_through import masked_weights, sign

BATCH, ROWS, COLUMNS, KEEP = 6, 16, 24, 40


def expected(
    scores: torch.Tensor, rows: torch.Tensor | None, frozen: torch.Tensor, signed: bool
) -> torch.Tensor:
    """Forward the mask, backward its argument, by torch's own differentiation."""
    mask = top_mask(scores, rows, KEEP).float().view(BATCH, ROWS, COLUMNS)
    through = (scores if signed else scores.abs()).view(BATCH, ROWS, COLUMNS)
    if rows is not None:
        through = through * rows[..., None]
    if signed:
        mask = mask * sign(scores.detach()).view_as(mask)
    return (mask + through - through.detach()) * frozen * 3.0


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("weighed", [False, True])
def test_values_and_gradients(signed: bool, weighed: bool) -> None:
    gen = torch.Generator().manual_seed(0)
    scores = torch.randn(BATCH, ROWS * COLUMNS, generator=gen, requires_grad=True)
    weights = torch.rand(BATCH, ROWS, generator=gen, requires_grad=True)
    frozen = torch.randn(ROWS, COLUMNS, generator=gen)
    into = torch.randn(BATCH, ROWS, COLUMNS, generator=gen)
    rows = weights if weighed else None
    inputs = [scores, weights] if weighed else [scores]

    made = masked_weights(scores, rows, frozen, KEEP, scale=3.0, signed=signed)
    wanted = expected(scores, rows, frozen, signed)

    torch.testing.assert_close(made, wanted)
    assert ((made != 0).flatten(1).sum(1) == KEEP).all()
    found = torch.autograd.grad(made, inputs, into)
    for one, other in zip(found, torch.autograd.grad(wanted, inputs, into), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_one_global_mask_learns() -> None:
    gen = torch.Generator().manual_seed(1)
    scores = torch.randn(1, 64, generator=gen, requires_grad=True)
    frozen, wanted = torch.randn(8, 8, generator=gen), torch.randn(8, 8, generator=gen)
    losses = []
    for _ in range(30):
        loss = (masked_weights(scores, None, frozen, 20)[0] - wanted).square().mean()
        (grad,) = torch.autograd.grad(loss, [scores])
        scores = (scores - grad).detach().requires_grad_()
        losses.append(loss.item())
    assert min(losses[20:]) < 0.9 * losses[0]
