"""What trainings gave, epoch by epoch, told to whoever asks for it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from fedsim.training.loop import Epoch


@dataclass(frozen=True, slots=True)
class Curve:
    """One training: its purpose, and what each epoch gave."""

    purpose: str
    epochs: tuple[Epoch, ...]


_noted: ContextVar[list[Curve] | None] = ContextVar("noted", default=None)


@contextmanager
def noted() -> Iterator[list[Curve]]:
    """Yield a list that every training inside is added to, whether or not it was cached."""
    curves: list[Curve] = []
    token = _noted.set(curves)
    try:
        yield curves
    finally:
        _noted.reset(token)


def note(purpose: str, table: Tensor) -> None:
    """Add a training, given as `as_table` does, to the list that is asked for, if any."""
    curves = _noted.get()
    if curves is not None:
        curves.append(Curve(purpose, tuple(Epoch(*row) for row in table.tolist())))


def as_table(epochs: tuple[Epoch, ...]) -> Tensor:
    """Return epochs as a table that can be kept: float64 (epochs, 3), loss, NDCG and Hit."""
    rows = [[epoch.loss, epoch.ndcg, epoch.hit] for epoch in epochs]
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, 3)


def as_json(curves: list[Curve]) -> str:
    """Return trainings as JSON: purpose, and by epoch loss, validation NDCG@10 and Hit@10."""
    records = [
        {"purpose": curve.purpose, "epochs": [_record(epoch) for epoch in curve.epochs]}
        for curve in curves
    ]
    return json.dumps(records, indent=1, allow_nan=False) + "\n"


def _record(epoch: Epoch) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in asdict(epoch).items()}
