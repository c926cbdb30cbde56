"""Last states of several GRUs over the same uploads, for inference only.

Cho et al.: Learning Phrase Representations using RNN Encoder-Decoder. EMNLP 2014. Gates
stand in torch's order: reset, update, new.

One GRU (of one backbone layer) after the other, so that its weights and a batch's gates
stay in cache. The gates of an item are the same wherever it stands, so they are worked out
once for each distinct item of a batch. Notation: `B` edges, `H` upload length, `D` size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

BLOCK = 16
"""Rows of a matrix product come in whole blocks of so many."""


@dataclass(frozen=True, slots=True)
class Gru:
    """Weights of G GRUs of one size.

    `input` (G * 3D, D), `input_bias` (G * 3D), `hidden` (G, D, 3D), `hidden_bias` (G, 1, 3D).
    """

    input: Tensor
    input_bias: Tensor
    hidden: Tensor
    hidden_bias: Tensor


def last_states(gru: Gru, items: Tensor, uploads: NDArray[np.integer]) -> Tensor:
    """Return each GRU's state after the last item, float32 (G, B, D).

    Parameters
    ----------
    gru
        The weights.
    items
        Embeddings as the GRUs read them, float32 (V + 1, D).
    uploads
        Item ids (B, H); a padded place is read like any other.
    """
    count, dim = len(uploads), items.shape[1]
    distinct, place = np.unique(uploads, return_inverse=True)
    place = place.reshape(uploads.shape)
    embedded = items[torch.from_numpy(whole_blocks(distinct).astype(np.int64))]
    padded = count + -count % BLOCK
    states = torch.zeros(len(gru.hidden), padded, dim)
    carried, gates = torch.zeros(padded, 3 * dim), torch.empty(len(embedded), 3 * dim)
    for layer, state in enumerate(states):
        part = slice(layer * 3 * dim, (layer + 1) * 3 * dim)
        torch.addmm(gru.input_bias[part], embedded, gru.input[part].T, out=gates)
        bias = gru.hidden_bias[layer, 0].numpy()
        for step in range(uploads.shape[1]):
            if step:
                torch.mm(state, gru.hidden[layer], out=carried)
            else:
                carried.zero_()
            _step(gates.numpy(), place[:, step], carried.numpy(), bias, state.numpy())
    return states[:, :count]


def whole_blocks(rows: NDArray[np.generic]) -> NDArray[np.generic]:
    """Repeat the last row up to a multiple of `BLOCK`: whoever multiplies takes what it wants.

    BLAS treats few rows apart and rounds them otherwise (up to three on some processors), so
    that a row's product would depend on how many others there are.
    """
    missing = -len(rows) % BLOCK
    return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing else rows


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _step(gates, place, carried, bias, state):  # type: ignore[no-untyped-def]
    dim = state.shape[1]
    reset, update, new = bias[:dim], bias[dim : 2 * dim], bias[2 * dim :]
    for b in range(len(place)):
        given, back, h = gates[place[b]], carried[b], state[b]
        given_r, given_z, given_n = given[:dim], given[dim : 2 * dim], given[2 * dim :]
        back_r, back_z, back_n = back[:dim], back[dim : 2 * dim], back[2 * dim :]
        for j in range(dim):
            r = _sigmoid(given_r[j] + (back_r[j] + reset[j]))
            z = _sigmoid(given_z[j] + (back_z[j] + update[j]))
            n = _tanh(given_n[j] + r * (back_n[j] + new[j]))
            h[j] = n + z * (h[j] - n)


@njit(cache=True, inline="always", error_model="numpy")
def _sigmoid(x):  # type: ignore[no-untyped-def]
    return np.float32(0.5) + np.float32(0.5) * _tanh(np.float32(0.5) * x)


@njit(cache=True, inline="always", error_model="numpy")
def _tanh(x):  # type: ignore[no-untyped-def]
    """Return tanh by a ratio of polynomials, within 4e-7; plain arithmetic, so it vectorises."""
    limit = np.float32(7.90531110763549805)
    x = min(max(x, -limit), limit)
    y = x * x
    p = np.float32(-2.76076847742355e-16) * y + np.float32(2.00018790482477e-13)
    p = p * y + np.float32(-8.60467152213735e-11)
    p = p * y + np.float32(5.12229709037114e-08)
    p = p * y + np.float32(1.48572235717979e-05)
    p = p * y + np.float32(6.37261928875436e-04)
    p = p * y + np.float32(4.89352455891786e-03)
    q = np.float32(1.19825839466702e-06) * y + np.float32(1.18534705686654e-04)
    q = q * y + np.float32(2.26843463243900e-03)
    q = q * y + np.float32(4.89352518554385e-03)
    return x * p / q
