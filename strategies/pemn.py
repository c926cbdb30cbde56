"""PEMN: all layers read one vector of random weights, and differ by their masks alone.

Bai, Wang, Ma, Zhang, Tao, Fu: Parameter-Efficient Masking Networks. NeurIPS 2022.
https://arxiv.org/abs/2210.06699

The prototype fills each layer by repetition. With as many weights as the largest layer it
is the paper's max-layer padding (every layer reads the leading slice, as in `dieting`), with
fewer its random weight padding. The mask is learnt by edge-popup (see
`strategies._global_mask`); an edge stores the prototype and one bit a parameter. In the
tables of Fu et al., DIET (KDD 2024), PEMN's figures are those of their own +mask
(`diet` with ``variant = "mask"``), which differs by the prototype only.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from fedsim.layout import Layout
from fedsim.setting import Arrays
from strategies._global_mask import GlobalMaskEdge, GlobalMaskStrategy
from strategies._mask_answers import MaskConfig
from strategies._masked import frozen_weights


class PemnConfig(MaskConfig):
    """Options of PEMN."""

    name: str = "pemn"
    prototype: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Length of the prototype, as a fraction of the largest layer's weights."""


class PemnEdge(GlobalMaskEdge):
    """Stores the prototype and one mask a channel."""

    @cached_property
    def frozen(self) -> NDArray[np.float32]:
        prototype = torch.from_numpy(self.provision.shared["prototype"])
        filled: NDArray[np.float32] = filled_layers(self.backbone.layout, prototype).numpy()
        return filled


class Pemn(GlobalMaskStrategy):
    """Learns one mask per channel over layers that all repeat one prototype."""

    Config = PemnConfig
    edge = PemnEdge
    config: PemnConfig

    def frozen(self) -> Tensor:
        return filled_layers(self.setting.backbone.layout, self.prototype())

    def stored(self) -> Arrays:
        return {"prototype": self.prototype().numpy()}

    def prototype(self) -> Tensor:
        """Return the random weights all layers are made of: the first of the largest layer."""
        layout = self.setting.backbone.layout
        sizes = [layer.size for layer in layout.layers]
        start = int(layout.offsets[int(np.argmax(sizes))])
        length = max(1, round(self.config.prototype * max(sizes)))
        return frozen_weights(self.setting)[start : start + length]


def filled_layers(layout: Layout, prototype: Tensor) -> Tensor:
    """Return weights (N) of which each layer repeats the prototype from its start.

    >>> from fedsim.layout import Layer
    >>> layout = Layout((Layer("a", 1, 5), Layer("b", 1, 2)))
    >>> filled_layers(layout, torch.tensor([1, 2, 3])).tolist()
    [1, 2, 3, 1, 2, 1, 2]
    """
    return torch.cat(
        [
            prototype.repeat(-(-layer.size // len(prototype)))[: layer.size]
            for layer in layout.layers
        ]
    )
