"""Set menu: the menu with everything that makes it better, and nothing that makes it larger. Ours.

What `strategies.menu` answers is a code and a list of items. What it leaves open is settled here,
by what held-out items of histories say (docs/front.md):

1. The cloud's ranking has a long diet's model beside the snack's own (`strategy.with_diet`). Its
   masks, which are what makes `strategies.long_diet` accurate, stay in the cloud: what they rank
   first is written into the list.
2. The backbone and the codebook are trained and shipped in 4 bits a weight
   (`strategy.weight_bits`), an eighth of what a dense backbone takes on every channel.
3. Codes of 32 bits and lists of 10 items.

So an answer is about 33 bytes where a mask takes thousands, an edge keeps less than a frozen
network with its masks, and pays as many multiply-accumulates as Base.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from strategies.menu import Menu, MenuConfig


class SetMenuConfig(MenuConfig):
    """Options of the set menu; they are the menu's, otherwise set."""

    name: str = "set_menu"
    with_diet: bool = True
    """Rank by the chances of a long diet's model as well, whose masks are never sent."""
    weight_bits: Annotated[int, Field(ge=2, le=8)] | None = 4
    """Bits of each shipped weight, as the menu's."""
    width: Annotated[int, Field(ge=1)] = 32
    """Entries of a code."""
    bits: Annotated[int, Field(ge=1, le=8)] = 1
    """Bits of an entry."""
    listed: Annotated[int, Field(ge=1, le=1000)] = 10
    """Items of a list; places are paid for where fewer can be ranked."""


class SetMenu(Menu):
    """Trains what the menu trains and a long diet; answers with codes and lists."""

    Config = SetMenuConfig
    config: SetMenuConfig
