from __future__ import annotations

import numpy as np
import pytest
import torch

from fedsim import rng

# Random123's known-answer vectors (kat_vectors, philox4x32 10): counter, key, output.
VECTORS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip


def words(text: str) -> list[np.uint64]:
    return [np.uint64(int(word, 16)) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "output"), VECTORS)
def test_philox_gives_the_published_known_answers(counter: str, key: str, output: str) -> None:
    assert list(rng.philox(*words(key), *words(counter))) == words(output)


def test_a_row_of_uniforms_depends_on_its_own_edge_alone() -> None:
    edges = np.array([5, 0, 2**40, 5])
    rows = rng.uniform(3, "here", edges, 6)
    assert np.array_equal(rows[0], rows[3])
    assert np.array_equal(rng.uniform(3, "here", edges[2:3], 6)[0], rows[2])
    assert len(np.unique(rows)) == 3 * 6


@pytest.mark.parametrize("change", [{"seed": 4}, {"purpose": "there"}, {"round": 1}])
def test_seed_purpose_and_round_give_other_uniforms(change: dict[str, object]) -> None:
    base: dict[str, object] = {"seed": 3, "purpose": "here", "round": 0}
    call = base | {"edges": np.arange(4), "size": 5}
    first = rng.uniform(**call)  # type: ignore[arg-type]
    other = rng.uniform(**(call | change))  # type: ignore[arg-type]
    assert not np.isin(first, other).any()


def test_uniforms_are_uniform() -> None:
    sample = rng.uniform(0, "shape", np.arange(2000), 50).reshape(-1)
    assert sample.min() >= 0
    assert sample.max() < 1
    counts = np.histogram(sample, 20, (0, 1))[0]
    assert ((counts - 5000) ** 2 / 5000).sum() < 43.8  # chi square, 19 degrees, p = 0.001


@pytest.mark.parametrize("change", [{"seed": 1}, {"purpose": "b"}, {"edge": 1}, {"round": 1}])
def test_generators_differ_by_every_part_of_their_name(change: dict[str, object]) -> None:
    call: dict[str, object] = {"seed": 0, "purpose": "a", "edge": 0, "round": 0}
    other = call | change
    first = rng.generator(**call).integers(2**62, size=4)  # type: ignore[arg-type]
    again = rng.generator(**call).integers(2**62, size=4)  # type: ignore[arg-type]
    moved = rng.generator(**other).integers(2**62, size=4)  # type: ignore[arg-type]
    assert np.array_equal(first, again)
    assert not np.isin(first, moved).any()
    torches = [rng.torch_generator(**c) for c in (call, call, other)]  # type: ignore[arg-type]
    draws = [torch.rand(4, generator=gen) for gen in torches]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_torch_seeding_leaves_the_global_state_alone() -> None:
    before = torch.get_rng_state()
    torch.rand(3, generator=rng.torch_generator(0, "a"))
    assert torch.equal(torch.get_rng_state(), before)
