"""Every backbone keeps the family's contract: shapes, per-edge weights, padding, dropout."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fedsim import plugins
from fedsim.kernels.masked_linear import MaskedMatrix
from fedsim.kernels.straight_through import masked_weights
from fedsim.models.base import Backbone, Weight, largest_layer, split_layers, tiled_weights

EDGES, WINDOWS, VARIANTS = 3, 2, [("sasrec", {"norm": "sasrec"})]


def members() -> list[tuple[str, dict[str, str]]]:
    return [(name, {}) for name in plugins.available("backbones")] + VARIANTS


@pytest.fixture(params=members(), ids=lambda member: "-".join([member[0], *member[1].values()]))
def backbone(request: pytest.FixtureRequest) -> Backbone:
    name, options = request.param
    cls = plugins.load("backbones", name)
    made: Backbone = cls(cls.Config(name=name, **options))
    return made


def batch(backbone: Backbone) -> tuple[Tensor, Tensor]:
    gen = torch.Generator().manual_seed(1)
    shape = (EDGES, WINDOWS, backbone.window)
    padding = torch.rand(shape, generator=gen) < 0.3
    padding[0, 0] = True
    embedded = torch.randn(*shape, backbone.dim, generator=gen)
    return embedded.masked_fill(padding[..., None], 0.0), padding


def parameters(backbone: Backbone, edges: int) -> tuple[list[Tensor], dict[str, Tensor]]:
    gen = torch.Generator().manual_seed(2)
    flat = torch.stack([backbone.init_weights(gen) for _ in range(edges)])
    return split_layers(backbone.layout, flat), backbone.init_small(gen)


def test_every_edge_uses_its_own_weights(backbone: Backbone) -> None:
    weights, small = parameters(backbone, EDGES)
    embedded, padding = batch(backbone)
    together = backbone.forward(weights, small, embedded, padding)
    assert together.shape == (EDGES, WINDOWS, backbone.dim)
    for edge in range(EDGES):
        one = slice(edge, edge + 1)
        alone = backbone.forward([w[one] for w in weights], small, embedded[one], padding[one])
        torch.testing.assert_close(together[one], alone, rtol=1e-4, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_one_set_of_weights_serves_all(backbone: Backbone) -> None:
    weights, small = parameters(backbone, 1)
    embedded, padding = batch(backbone)
    shared = backbone.forward(weights, small, embedded, padding)
    copied = backbone.forward(
        [w.expand(EDGES, -1, -1).contiguous() for w in weights], small, embedded, padding
    )
    torch.testing.assert_close(shared, copied, rtol=1e-4, atol=1e-5)


def test_padding_says_nothing(backbone: Backbone) -> None:
    weights, small = parameters(backbone, EDGES)
    embedded, padding = batch(backbone)
    padding = torch.zeros_like(padding)
    padding[..., :2] = True
    noise = torch.randn(embedded.shape, generator=torch.Generator().manual_seed(3))
    noisy = torch.where(padding[..., None], noise, embedded)
    torch.testing.assert_close(
        backbone.forward(weights, small, noisy, padding),
        backbone.forward(weights, small, embedded.masked_fill(padding[..., None], 0), padding),
    )


def test_order_and_every_layer_matter(backbone: Backbone) -> None:
    weights, small = parameters(backbone, EDGES)
    embedded, _ = batch(backbone)
    padding = torch.zeros(embedded.shape[:-1], dtype=torch.bool)
    base = backbone.forward(weights, small, embedded, padding)
    flipped = embedded.flip(2)
    assert (backbone.forward(weights, small, flipped, padding) - base).abs().max() > 1e-3
    for index in range(len(weights)):
        changed = [w * (1 + (i == index)) for i, w in enumerate(weights)]
        moved = backbone.forward(changed, small, embedded, padding) - base
        assert moved.abs().max() > 1e-4, backbone.layout.layers[index].name


def test_weights_may_stay_unwritten(backbone: Backbone) -> None:
    """What selects an edge's weights serves as well as the weights, and learns the same."""
    gen, keep = torch.Generator().manual_seed(4), [la.size // 3 for la in backbone.layout.layers]
    frozen = [w[0] for w in split_layers(backbone.layout, backbone.init_weights(gen))]
    scores = [torch.randn(EDGES, weight.numel(), generator=gen) for weight in frozen]
    small = backbone.init_small(gen)
    embedded, padding = batch(backbone)

    def run(select: Callable[..., Weight]) -> tuple[Tensor, list[Tensor]]:
        leaves = [each.clone().requires_grad_() for each in scores]
        weights = [select(*parts) for parts in zip(leaves, frozen, keep, strict=True)]
        queries = backbone.forward(weights, small, embedded, padding)
        queries.square().sum().backward()  # type: ignore[no-untyped-call]
        return queries, [leaf.grad for leaf in leaves if leaf.grad is not None]

    written, wanted = run(lambda s, weight, count: masked_weights(s, None, weight, count))
    unwritten, found = run(lambda s, weight, count: MaskedMatrix(s, None, weight, count))
    assert len(found) == len(wanted) == len(frozen)
    torch.testing.assert_close(unwritten, written, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_dropout_follows_its_generator(backbone: Backbone) -> None:
    weights, small = parameters(backbone, 1)
    embedded, padding = batch(backbone)

    def run(seed: int | None, share: float = 0.5) -> Tensor:
        gen = None if seed is None else torch.Generator().manual_seed(seed)
        return backbone.forward(weights, small, embedded, padding, dropout=share, gen=gen)

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))
    assert torch.equal(run(1, 0.0), run(None))


def test_gradients_reach_all_weights(backbone: Backbone) -> None:
    weights, small = parameters(backbone, 1)
    leaves = [w.clone().requires_grad_() for w in weights]
    named = {name: value.clone().requires_grad_() for name, value in small.items()}
    embedded, padding = batch(backbone)
    backbone.forward(leaves, named, embedded, padding).square().sum().backward()  # type: ignore[no-untyped-call]
    for leaf in [*leaves, *named.values()]:
        assert leaf.grad is not None
        assert leaf.grad.abs().max() > 0


def test_initial_weights_are_xavier_normal(backbone: Backbone) -> None:
    flat = backbone.init_weights(torch.Generator().manual_seed(0))
    assert torch.equal(flat, backbone.init_weights(torch.Generator().manual_seed(0)))
    for layer, weight in zip(
        backbone.layout.layers, split_layers(backbone.layout, flat), strict=True
    ):
        wanted = (2 / (layer.rows + layer.columns)) ** 0.5
        assert weight.std().item() == pytest.approx(wanted, rel=4 / layer.size**0.5)


def test_tiled_layers_are_leading_slices(backbone: Backbone) -> None:
    largest = torch.arange(largest_layer(backbone.layout)).float()
    flat = tiled_weights(backbone.layout, largest)
    assert flat.shape == (backbone.layout.size,)
    for weight in split_layers(backbone.layout, flat):
        assert torch.equal(weight.flatten(), largest[: weight.numel()])


def test_packed_layers_start_on_bytes(backbone: Backbone) -> None:
    assert (backbone.layout.offsets[:-1] % 8 == 0).all()
