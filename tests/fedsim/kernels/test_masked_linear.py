"""A masked layer on each edge's inputs is the masked weights' product, gradients included."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedsim.errors import DataError
from fedsim.kernels.masked_linear import MaskedMatrix
from fedsim.kernels.straight_through import masked_weights
from fedsim.models.base import apply_linear


@given(
    st.integers(1, 3),
    st.integers(1, 11),
    st.integers(1, 9),
    st.integers(1, 20),
    st.floats(0, 1),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_it_is_the_product_with_the_masked_weights(
    edges: int, inputs: int, rows: int, columns: int, share: float, weigh: bool, seed: int
) -> None:
    gen = torch.Generator().manual_seed(seed)
    keep = round(share * rows * columns)
    frozen = torch.randn(rows, columns, generator=gen)
    given = [
        torch.randn(edges, inputs, columns, generator=gen),
        torch.randn(edges, rows * columns, generator=gen),
        *([torch.rand(edges, rows, generator=gen)] if weigh else []),
    ]
    towards = torch.randn(edges, inputs, rows, generator=gen)

    def run(fused: bool) -> list[torch.Tensor]:
        values, scores, *rest = (tensor.clone().requires_grad_() for tensor in given)
        row_weights = rest[0] if rest else None
        if fused:
            out = MaskedMatrix(scores, row_weights, frozen, keep, 2.0).linear(values)
        else:
            weights = masked_weights(scores, row_weights, frozen, keep, scale=2.0)
            out = torch.bmm(values, weights.transpose(1, 2))
        wanted = [values, scores, *rest]
        return [out.detach(), *torch.autograd.grad((out * towards).sum(), wanted)]

    for fused, plain in zip(run(True), run(False), strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-4)


def test_inputs_of_any_shape_are_multiplied() -> None:
    gen = torch.Generator().manual_seed(0)
    scores, frozen = torch.randn(2, 24, generator=gen), torch.randn(4, 6, generator=gen)
    values = torch.randn(2, 3, 5, 6, generator=gen)
    plain = masked_weights(scores, None, frozen, 7)
    fused = apply_linear(values, MaskedMatrix(scores, None, frozen, 7))
    torch.testing.assert_close(fused, apply_linear(values, plain))


def test_a_score_that_is_no_number_is_named() -> None:
    scores = torch.ones(2, 16)
    scores[1, 3] = torch.nan
    matrix = MaskedMatrix(scores, None, torch.ones(4, 4), 2)
    with pytest.raises(DataError, match=r"row 1 .*lower train.lr"):
        matrix.linear(torch.ones(2, 1, 4))
