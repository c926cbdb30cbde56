"""The cache gives back what was kept, and nothing that was damaged."""

from __future__ import annotations

import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fedsim.data.base import Streams
from fedsim.training.cache import cached, checksum, streams_hash

KEY = {"learner": "test", "seed": 3}


def made() -> dict[str, Tensor]:
    return {"a": torch.arange(6.0).view(2, 3), "b.c": torch.tensor([1, 2])}


def never() -> dict[str, Tensor]:
    raise AssertionError("trained again")


def entry(folder: Path) -> Path:
    (file,) = folder.glob("*.safetensors")
    return file


def test_an_entry_comes_back(tmp_path: Path) -> None:
    cached(tmp_path, KEY, made)
    found = cached(tmp_path, KEY, never)
    assert checksum(found) == checksum(made())


def test_another_key_is_another_entry(tmp_path: Path) -> None:
    cached(tmp_path, KEY, made)
    with pytest.raises(AssertionError, match="trained again"):
        cached(tmp_path, KEY | {"seed": 4}, never)


def test_without_a_folder_nothing_is_kept() -> None:
    cached(None, KEY, made)
    with pytest.raises(AssertionError, match="trained again"):
        cached(None, KEY, never)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "foreign"])
def test_a_damaged_entry_is_made_again_with_a_warning(tmp_path: Path, damage: str) -> None:
    cached(tmp_path, KEY, made)
    file = entry(tmp_path)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    spoilt = {
        "truncated": bytes(data[:-5]),
        "flipped": bytes(data),
        "empty": b"",
        "foreign": b"not safetensors at all",
    }
    file.write_bytes(spoilt[damage])
    with pytest.warns(UserWarning, match=rf"training cache {file} is damaged"):
        assert checksum(cached(tmp_path, KEY, made)) == checksum(made())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cached(tmp_path, KEY, never)


def test_two_processes_that_want_the_same_train_it_once(tmp_path: Path) -> None:
    made: list[int] = []

    def slowly() -> dict[str, torch.Tensor]:
        made.append(1)
        time.sleep(0.2)
        return {"weights": torch.ones(3)}

    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(cached, tmp_path, KEY, slowly) for _ in range(2)]
        assert [entry.result()["weights"].sum().item() for entry in found] == [3.0, 3.0]
    assert made == [1]


def test_a_folder_that_cannot_be_written_is_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.warns(UserWarning, match="what was trained is not kept: .*choose another"):
        assert checksum(cached(file / "below", KEY, made)) == checksum(made())


def test_hashes_tell_streams_and_tensors_apart() -> None:
    items = np.array([1, 2, 3], np.int32)
    one = Streams(items, np.array([0, 1, 3]))
    other = Streams(items, np.array([0, 2, 3]))
    assert streams_hash(one) != streams_hash(other)
    assert checksum(made()) != checksum(made() | {"a": torch.arange(6.0).view(3, 2)})
    assert checksum(made()) != checksum(made() | {"a": -made()["a"]})
