"""Uploads of items as they leave a cell: encoded, paid from the edges' budgets, booked.

An upload is a channel's own, or one of the edge's timeline (`fedsim.timeline`) for all its
channels: then whatever of them ask in a round are answered from it, and it is booked once, in
the first channel that asks. Who cannot pay it is refused in all of them.

Notation: `B` edges of a cell, `C` channels, `H` upload length.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedsim.arrays import Named
from fedsim.budget import spend
from fedsim.wire import encode_items

TOGETHER = "all"
"""Names in a message the uploads that serve all channels, as a number does those of one."""


def send_channel(
    channel: int,
    requested: NDArray[np.bool_],
    windows: NDArray[np.int32],
    num_items: int,
    tokens: NDArray[np.float64],
    names: NDArray[np.int64],
) -> Named:
    """Return a channel's uploads: windows (B, H) of those that request, as far as they can pay.

    `tokens` (B) are spent in place; `names` are the edges' own numbers (B).
    """
    edges = np.flatnonzero(requested)
    records = encode_items(windows[edges], num_items, names[edges])
    paid = spend(tokens, edges, records.sizes)
    sent = records.take(np.flatnonzero(paid))
    return booked(channel, len(names), edges, records.sizes, paid) | {
        f"{channel}.buffer": sent.buffer,
        f"{channel}.offsets": sent.offsets,
    }


def send_together(
    requested: NDArray[np.bool_],
    windows: NDArray[np.int32],
    num_items: int,
    tokens: NDArray[np.float64],
    names: NDArray[np.int64],
) -> Named:
    """Return one upload (B, H) of each edge that requests in any channel, bool (C, B)."""
    anywhere: NDArray[np.bool_] = np.logical_or.reduce(requested, axis=0)
    whole = send_channel(0, anywhere, windows, num_items, tokens, names)
    out = {f"{TOGETHER}.{part}": whole[f"0.{part}"] for part in ("edges", "buffer", "offsets")}
    first = requested.argmax(axis=0)
    for channel, asks in enumerate(requested):
        edges = np.flatnonzero(asks)
        sizes = np.where(first == channel, whole["0.uplink"], 0)[edges]
        out |= booked(channel, len(names), edges, sizes, ~whole["0.refused"][edges])
    return out


def booked(
    channel: int,
    count: int,
    edges: NDArray[np.int64],
    sizes: NDArray[np.int64],
    paid: NDArray[np.bool_],
) -> Named:
    """Return what a channel's uploads are booked as, of edges at these places of `count`."""
    uplink, refused = np.zeros(count, np.int64), np.zeros(count, np.bool_)
    uplink[edges[paid]] = sizes[paid]
    refused[edges[~paid]] = True
    return {
        f"{channel}.edges": edges[paid],
        f"{channel}.uplink": uplink,
        f"{channel}.refused": refused,
    }
