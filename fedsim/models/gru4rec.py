"""GRU4Rec: a gated recurrent network over the window, whose last state asks.

Hidasi, Karatzoglou, Baltrunas, Tikk: Session-based Recommendations with Recurrent Neural
Networks. ICLR 2016. https://arxiv.org/abs/1511.06939

Its layers are those of Cho et al., Learning Phrase Representations using RNN
Encoder-Decoder (EMNLP 2014), gates in torch's order: reset, update, new. Maskable are the two
maps of every layer, of its input and of its state; biases are not. The state is as wide as an
item embedding and meets the embeddings that were read, where the paper has an output layer
of its own; trained on the full softmax and not on sampled ranking losses. No paper of the
tables has this backbone, so its sizes follow their rules and not their figures. A state before
the first item is zero: nothing is worked out for padding, nor from that state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from fedsim.layout import Layer, Layout
from fedsim.models.base import Backbone, BackboneConfig, Weight, apply_linear, dropped


class GRU4RecConfig(BackboneConfig):
    """Options of GRU4Rec."""

    name: str = "gru4rec"
    layers: Annotated[int, Field(ge=1)] = 1


class GRU4Rec(Backbone):
    """A recurrent backbone: 24,576 maskable parameters, 111,232 MACs."""

    Config = GRU4RecConfig

    def __init__(self, config: GRU4RecConfig) -> None:
        super().__init__(config)
        self.layers = config.layers
        self.layout = Layout(
            tuple(
                Layer(f"gru{layer}.{name}", 3 * self.dim, self.dim)
                for layer in range(self.layers)
                for name in ("input", "hidden")
            )
        )
        self.uses = (self.window, self.window - 1) * self.layers
        self.fixed_macs = self.layers * self.window * 2 * self.dim

    def init_small(self, gen: torch.Generator) -> dict[str, Tensor]:
        """Return `input_bias` and `hidden_bias` (layers, 3D)."""
        shape = (self.layers, 3 * self.dim)
        return {"input_bias": torch.zeros(shape), "hidden_bias": torch.zeros(shape)}

    def forward(
        self,
        weights: Sequence[Weight],
        small: Mapping[str, Tensor],
        embedded: Tensor,
        padding: Tensor,
        *,
        dropout: float = 0.0,
        gen: torch.Generator | None = None,
    ) -> Tensor:
        states = dropped(embedded * math.sqrt(self.dim), dropout, gen)
        known = ~padding[..., None]
        for layer in range(self.layers):
            given = apply_linear(states, weights[2 * layer]) + small["input_bias"][layer]
            across, bias = weights[2 * layer + 1], small["hidden_bias"][layer]
            states = dropped(self._run(given, across, bias, known), dropout, gen)
        return states[:, :, -1]

    def _run(self, given: Tensor, across: Weight, bias: Tensor, known: Tensor) -> Tensor:
        """Return the states after every place (B, K, L, D) from gates (B, K, L, 3D)."""
        state = given.new_zeros(*given.shape[:2], self.dim)
        carried = bias.expand(*given.shape[:2], -1)
        states: list[Tensor] = []
        for step, here in zip(given.unbind(2), known.unbind(2), strict=True):
            if states:
                carried = apply_linear(state, across) + bias
            gates = torch.sigmoid(step[..., : 2 * self.dim] + carried[..., : 2 * self.dim])
            reset, update = gates.chunk(2, dim=-1)
            new = torch.tanh(step[..., 2 * self.dim :] + reset * carried[..., 2 * self.dim :])
            state = torch.where(here, torch.lerp(new, state, update), state)
            states.append(state)
        return torch.stack(states, 2)
