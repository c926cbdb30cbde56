"""Device classes: what an edge's link and memory are. A class is a row.

Sources: Firefox throttling presets (2g, 3g, 4g, wifi), Lighthouse (slow-4g), Ookla medians
of 2021 (5g; its round trip is our choice). The pairing with memory is ours.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Device:
    """Link speed in Mbit/s, round trip in ms, memory in GB."""

    down_mbit_s: float
    up_mbit_s: float
    rtt_ms: float
    ram_gb: float


DEVICES = {
    "2g": Device(0.25, 0.05, 300, 1),
    "3g": Device(0.75, 0.25, 100, 2),
    "slow-4g": Device(1.6, 0.75, 150, 3),
    "4g": Device(4, 3, 20, 4),
    "wifi": Device(30, 15, 2, 6),
    "5g": Device(166, 21, 15, 8),
}
