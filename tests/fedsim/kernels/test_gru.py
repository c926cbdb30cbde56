"""Last states against torch's GRU, one extractor at a time."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from fedsim.kernels.gru import Gru, last_states

LAYERS, DIM = 3, 16


def extractors(seed: int = 0) -> tuple[Gru, list[nn.GRU]]:
    """Return the same weights as a stack and as torch's modules."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        modules = [nn.GRU(DIM, DIM, batch_first=True) for _ in range(LAYERS)]

    def stacked(name: str) -> list[Tensor]:
        return [getattr(module, name).detach() for module in modules]

    gru = Gru(
        input=torch.cat(stacked("weight_ih_l0")),
        input_bias=torch.cat(stacked("bias_ih_l0")),
        hidden=torch.stack([weight.T for weight in stacked("weight_hh_l0")]),
        hidden_bias=torch.stack(stacked("bias_hh_l0"))[:, None],
    )
    return gru, modules


def table(items: int = 30) -> Tensor:
    made = torch.randn(items + 1, DIM, generator=torch.Generator().manual_seed(1))
    made[0] = 0
    return made


def test_states_are_those_of_torch() -> None:
    gru, modules = extractors()
    uploads = np.random.default_rng(0).integers(0, 31, (9, 5))
    found = last_states(gru, table(), uploads)
    for layer, module in enumerate(modules):
        with torch.no_grad():
            _, wanted = module(table()[torch.from_numpy(uploads)])
        torch.testing.assert_close(found[layer], wanted[0], rtol=1e-5, atol=2e-6)


def test_large_inputs_saturate() -> None:
    gru, modules = extractors()
    items = table() * 1e4
    uploads = np.array([[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]])
    with torch.no_grad():
        _, wanted = modules[0](items[torch.from_numpy(uploads)])
    found = last_states(gru, items, uploads)
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-5, atol=2e-6)
    assert found.isfinite().all()


def test_a_state_depends_on_its_own_upload_alone() -> None:
    gru, _ = extractors()
    uploads = np.random.default_rng(2).integers(0, 31, (70, 5))
    together = last_states(gru, table(), uploads)
    parts = [slice(10, 60), *(slice(3, 3 + count) for count in range(1, 20))]
    for part in parts:
        assert torch.equal(last_states(gru, table(), uploads[part]), together[:, part])
    same = np.full((1, 5), 7)
    twice = last_states(gru, table(), np.concatenate([same, uploads]))[:, :1]
    assert torch.equal(last_states(gru, table(), same), twice)
