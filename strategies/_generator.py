"""DIET's generator: a sequence extractor and hypernetworks for every layer.

Fu et al., DIET: Customized Slimming for Incompatible Networks in Sequential Recommendation.
KDD 2024. https://arxiv.org/abs/2406.08804

Notation: `B` edges, `H` upload length, `D` embedding size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from fedsim.cores import one_thread
from fedsim.kernels.generate import Head, generate_masks
from fedsim.kernels.gru import Gru
from fedsim.models.base import Backbone, xavier_normal
from strategies._masked import MaskedLearner

SCORE_STD = 0.05
"""Standard deviation of the hypernetworks' first biases: scores differ from the start."""


class Extractors(nn.Module):
    """A GRU for each layer over the same embedded upload (section 3.3.1), all in one go.

    Cho et al.: Learning Phrase Representations using RNN Encoder-Decoder. EMNLP 2014. Gates
    stand in torch's order: reset, update, new.
    """

    def __init__(self, layers: int, dim: int, gen: torch.Generator) -> None:
        super().__init__()
        self.layers, self.dim = layers, dim
        into = [xavier_normal(3 * dim, dim, gen) for _ in range(layers)]
        across = [xavier_normal(dim, 3 * dim, gen) for _ in range(layers)]
        self.input = nn.Parameter(torch.cat(into))
        self.input_bias = nn.Parameter(torch.zeros(3 * dim * layers))
        self.hidden = nn.Parameter(torch.stack(across))
        self.hidden_bias = nn.Parameter(torch.zeros(layers, 1, 3 * dim))

    def forward(self, embedded: Tensor) -> Tensor:
        """Return the last states of embedded uploads (B, H, D): float32 (layers, B, D)."""
        count, length, dim = embedded.shape
        given = F.linear(embedded, self.input, self.input_bias)
        given = given.view(count, length, self.layers, 3 * dim).permute(1, 2, 0, 3)
        state = embedded.new_zeros(self.layers, count, dim)
        for step in given:
            carried = torch.baddbmm(self.hidden_bias, state, self.hidden)
            gates = torch.sigmoid(step[..., : 2 * dim] + carried[..., : 2 * dim])
            reset, update = torch.split(gates, dim, dim=-1)
            new = torch.tanh(step[..., 2 * dim :] + reset * carried[..., 2 * dim :])
            state = new + update * (state - new)
        return state


class DietLearner(MaskedLearner):
    """Generates each layer's scores, and row weights unless `rows` is off, from an upload.

    Equations 8 to 10: scores s = H(g) and row weights r = softmax(H'(g)) of the extractor's
    g = E(X); both hypernetworks are one linear map a layer.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_items: int,
        gen: torch.Generator,
        frozen: Tensor,
        keep: float,
        scale: float,
        *,
        rows: bool,
    ) -> None:
        super().__init__(backbone, num_items, gen, frozen, keep, scale)
        layers, dim = backbone.layout.layers, backbone.dim
        self.upload_length = backbone.window
        self.extractors = Extractors(len(layers), dim, gen)
        self.maps = nn.ParameterList(xavier_normal(dim, layer.size, gen) for layer in layers)
        self.biases = nn.ParameterList(
            SCORE_STD * torch.randn(layer.size, generator=gen) for layer in layers
        )
        with_rows = layers if rows else ()
        self.row_maps = nn.ParameterList(xavier_normal(dim, la.rows, gen) for la in with_rows)
        self.row_biases = nn.ParameterList(torch.zeros(layer.rows) for layer in with_rows)

    def layer_scores(
        self, uploads: Tensor, gen: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield generated scores (B, elements) and row weights (B, rows)."""
        embedded = F.embedding(uploads, self.items, padding_idx=0) * self.backbone.dim**0.5
        for layer, state in enumerate(self.extractors(embedded)):
            scores = torch.addmm(self.biases[layer], state, self.maps[layer])
            rows = None
            if len(self.row_maps):
                raw = torch.addmm(self.row_biases[layer], state, self.row_maps[layer])
                rows = raw.softmax(-1)
            yield scores, rows

    def masks(self, uploads: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return packed masks for uploads (B, H), by the fused kernel."""
        extractors = self.extractors
        gru = Gru(
            extractors.input.detach(),
            extractors.input_bias.detach(),
            extractors.hidden.detach(),
            extractors.hidden_bias.detach(),
        )
        heads = [
            Head(keep, layer_map.detach(), bias.detach())
            for keep, layer_map, bias in zip(self.kept, self.maps, self.biases, strict=True)
        ]
        if len(self.row_maps):
            rows = zip(heads, self.row_maps, self.row_biases, strict=True)
            heads = [
                replace(head, row_map=row_map.detach(), row_bias=row_bias.detach())
                for head, row_map, row_bias in rows
            ]
        items = self.items.detach() * self.backbone.dim**0.5
        with one_thread():
            return generate_masks(gru, heads, items, uploads)
