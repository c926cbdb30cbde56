"""``fedsim cost``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from fedsim.cli import _common as common

if TYPE_CHECKING:
    from fedsim.models.base import Backbone

MEGA = 1e6


def cost(
    backbone: Annotated[
        str | None, typer.Option(help="Its name, or my.module:Class; all when left out.")
    ] = None,
    channels: Annotated[int, typer.Option(min=1, help="Storage for 1 to so many channels.")] = 4,
    keep: Annotated[
        float, typer.Option(min=0, max=1, help="Kept fraction of pruned models.")
    ] = 0.1,
    as_json: common.JsonOption = False,
) -> None:
    """Print what an answer, an inference and storage cost by the papers' accounting.

    Only maskable parameters count, 32 bits a float, 64 bits an element of a pruned model and
    one bit a parameter of a diet. What is really sent and kept, to the byte, is in a ledger.

    Example:  `fedsim cost --backbone sasrec --channels 8`
    """
    from fedsim.models.cost import backbone_cost, storage_costs
    from fedsim.plugins import available

    made = [_backbone(name) for name in ([backbone] if backbone else available("backbones"))]
    costs = [backbone_cost(each, keep) for each in made]
    storage = {
        c.backbone: list(storage_costs(b.layout, channels))
        for c, b in zip(costs, made, strict=True)
    }
    if as_json:
        common.print_json(
            [
                asdict(each) | {"storage": [asdict(row) for row in storage[each.backbone]]}
                for each in costs
            ]
        )
        return
    rows = [each.row for each in costs]
    title = f"One answer and one inference (pruned models keep {keep:g})"
    common.print_table(list(rows[0]), [list(row.values()) for row in rows], title)
    typer.echo()
    columns = ["backbone", "channels", "Base Mbit", "DIET Mbit", "DIETING Mbit"]
    lines = [
        [name, str(row.channels), *_mbit(row.base_bits, row.diet_bits, row.dieting_bits)]
        for name, listed in storage.items()
        for row in listed
    ]
    common.print_table(columns, lines, "Stored on an edge, by its number of channels")


def _backbone(name: str) -> Backbone:
    from fedsim.plugins import load, options

    made: Backbone = load("backbones", name)(options("backbones", name))
    return made


def _mbit(*bits: int) -> list[str]:
    return [f"{value / MEGA:.4f}" for value in bits]
