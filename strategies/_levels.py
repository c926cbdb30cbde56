"""Whole numbers of a few bits: codes, item numbers and rounded weights as packed bits.

Notation: `B` rows, `W` numbers a row, `N` weights, `R` rows of weights.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedsim.layout import Layout
from fedsim.models.base import split_layers
from fedsim.setting import Arrays

CLIPS = torch.linspace(0.3, 1.0, 29)
"""Shares of a row's largest weight that the highest level may stand for."""


def packed(levels: NDArray[np.unsignedinteger], bits: int) -> NDArray[np.uint8]:
    """Return levels (B, W) as `bits` rows of W bits, packed (B, bytes).

    >>> packed(np.array([[3, 1, 0]], np.uint8), 2).tolist()  # 110 and then 100, little end first
    [[11]]
    """
    planes = levels[:, None] >> np.arange(bits, dtype=levels.dtype)[:, None] & 1
    return np.packbits(planes.reshape(len(levels), -1), axis=1, bitorder="little")


def unpacked(code: NDArray[np.generic], width: int, bits: int) -> NDArray[np.unsignedinteger]:
    """Return the levels (B, W) of packed codes, in the smallest type that holds them.

    >>> unpacked(np.array([[11]], np.uint8), 3, 2).tolist()
    [[3, 1, 0]]
    """
    flat = np.unpackbits(code.astype(np.uint8, copy=False), axis=1, bitorder="little")
    dtype = np.min_scalar_type(2**bits - 1)
    planes = flat[:, : bits * width].reshape(len(code), bits, width).astype(dtype)
    levels: NDArray[np.unsignedinteger] = np.bitwise_or.reduce(
        planes << np.arange(bits, dtype=dtype)[:, None], axis=1
    )
    return levels


def stored(
    name: str, weights: Tensor, layout: Layout, bits: int | None
) -> dict[str, NDArray[np.generic]]:
    """Return N weights as an edge stores them: as they are, float32, or rounded to `bits`.

    Levels are evenly spaced around 0, from -(2^(b-1) - 1) steps to as many; a row's step is the
    one of `CLIPS` that leaves the least squared error. ``name.levels`` is uint8 (N bits / 8),
    ``name.steps`` float16 (R).
    """
    if bits is None:
        return {name: weights.detach().numpy()}
    top = 2 ** (bits - 1) - 1
    levels, steps = [], []
    for (layer,) in split_layers(layout, weights.detach().flatten()):
        step = _steps(layer, top)
        levels.append(_level(layer, step.float(), top).flatten() + top)
        steps.append(step)
    whole = torch.cat(levels).to(torch.uint8).numpy()
    return {
        f"{name}.levels": packed(whole[None], bits)[0],
        f"{name}.steps": torch.cat(steps).numpy(),
    }


def loaded(name: str, arrays: Arrays, layout: Layout, bits: int | None) -> Tensor:
    """Return the weights (N) that `stored` arrays stand for, float32."""
    if bits is None:
        return torch.from_numpy(arrays[name].astype(np.float32).reshape(-1))
    levels = unpacked(arrays[f"{name}.levels"][None], layout.size, bits)[0].astype(np.float32)
    steps = arrays[f"{name}.steps"].astype(np.float32).repeat(layout.row_lengths)
    return torch.from_numpy((levels - np.float32(2 ** (bits - 1) - 1)) * steps)


def _steps(layer: Tensor, top: int) -> Tensor:
    """Return the step of each row of weights (R, columns), float16 (R)."""
    largest = layer.abs().amax(1).clamp(min=1e-4)
    steps = (CLIPS[:, None] * largest / top).half()
    wide = steps.float()[:, :, None]
    error = (layer - wide * _level(layer, wide[..., 0], top)).square().sum(-1)
    best = error.argmin(0)
    return steps[best, torch.arange(len(best))]


def _level(layer: Tensor, step: Tensor, top: int) -> Tensor:
    """Return the levels nearest to weights (R, columns) by steps (…, R): (…, R, columns)."""
    levels: Tensor = (layer / step[..., None]).round().clamp(-top, top)
    return levels
