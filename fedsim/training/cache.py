"""Keeps what was trained, so that a second run of the same study does not train again.

An entry is one safetensors file, named by a hash of everything its tensors depend on. It is
written beside its place and moved there, and carries a checksum: whoever finds half an
entry, or one that does not match its checksum, trains again.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fedsim.data.base import Streams
from fedsim.errors import StoreError
from fedsim.files import locked, write_atomic
from fedsim.scenario import digest


def streams_hash(streams: Streams) -> str:
    """Return 32 hex digits that name the streams' items and lengths."""
    state = hashlib.blake2b(streams.offsets.tobytes(), digest_size=16)
    state.update(streams.items.tobytes())
    return state.hexdigest()


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """Return 32 hex digits that name the tensors: names, shapes, types and values."""
    state = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name].detach().contiguous()
        state.update(f"{name}/{tensor.dtype}/{tuple(tensor.shape)}".encode())
        state.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return state.hexdigest()


def cached(
    folder: Path | None, key: Mapping[str, object], make: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Return the tensors kept under `key`, or make and keep them.

    `key` is JSON-like and names everything the tensors depend on, code included. Without
    a folder nothing is kept. A damaged entry and a folder that cannot be written each give a
    warning, and the tensors are made. Of several processes that want the same tensors one
    makes them and the others wait.
    """
    if folder is None:
        return make()
    file = folder / f"{digest(key)}.safetensors"
    with locked(file.with_suffix(".lock")):
        found = _read(file)
        if found is None:
            found = make()
            _write(file, found, key)
    return found


def _read(file: Path) -> dict[str, Tensor] | None:
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="pt") as entry:
            tensors = {name: entry.get_tensor(name) for name in entry.keys()}  # noqa: SIM118
            expected = (entry.metadata() or {}).get("checksum")
    except (SafetensorError, OSError) as error:
        warnings.warn(f"training cache {file} is damaged ({error}): training again", stacklevel=3)
        return None
    if expected != checksum(tensors):
        warnings.warn(
            f"training cache {file} is damaged (checksum differs): training again", stacklevel=3
        )
        return None
    return tensors


def _write(file: Path, tensors: Mapping[str, Tensor], key: Mapping[str, object]) -> None:
    metadata = {"checksum": checksum(tensors), "key": json.dumps(key, sort_keys=True, default=str)}
    data = save(dict(tensors), metadata)
    try:
        write_atomic(file, data)
    except StoreError as error:
        warnings.warn(
            f"what was trained is not kept: {error}; until then every run trains again",
            stacklevel=3,
        )
