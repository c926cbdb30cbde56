"""DIETING: DIET over one stored layer, of which every layer reads its leading slice.

Section 3.2, equation 5 of Fu, Zhang, Lv, Chen, Li: DIET: Customized Slimming for
Incompatible Networks in Sequential Recommendation. KDD 2024.
https://arxiv.org/abs/2406.08804

The conversation is DIET's (see `strategies.diet`); an edge stores the largest layer's frozen
weights instead of every layer's. Layers then differ by their masks alone.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedsim.models.base import tiled_weights
from fedsim.setting import Arrays
from strategies._masked import frozen_weights
from strategies.diet import Diet, DietConfig, DietEdge


class DietingConfig(DietConfig):
    """Options of DIETING: those of DIET."""

    name: str = "dieting"


class DietingEdge(DietEdge):
    """Stores one layer and reads all others from it."""

    @cached_property
    def frozen(self) -> NDArray[np.float32]:
        largest = torch.from_numpy(self.provision.shared["largest"])
        tiled: NDArray[np.float32] = tiled_weights(self.backbone.layout, largest).numpy()
        return tiled


class Dieting(Diet):
    """DIET whose frozen weights are slices of the largest layer's."""

    Config = DietingConfig
    edge = DietingEdge

    def frozen(self) -> Tensor:
        return tiled_weights(self.setting.backbone.layout, self._largest())

    def stored(self) -> Arrays:
        return {"largest": self._largest().numpy()}

    def _largest(self) -> Tensor:
        layout = self.setting.backbone.layout
        sizes = [layer.size for layer in layout.layers]
        start = int(layout.offsets[int(np.argmax(sizes))])
        return frozen_weights(self.setting)[start : start + max(sizes)]
