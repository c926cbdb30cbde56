"""Single instructions on 64-bit words that numba has no name for."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic


def _instruction(name: str, *flags: bool) -> Any:
    """Return a function of one uint64 to int64 that is one LLVM instruction."""

    def typed(typing_context: Any, word: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            constants = [context.get_constant(types.boolean, flag) for flag in flags]
            return getattr(builder, name)(arguments[0], *constants)

        return types.int64(types.uint64), generate

    return intrinsic(typed)


trailing_zeros = _instruction("cttz", True)
"""Zeros below the lowest one of a word that is not zero."""

leading_zeros = _instruction("ctlz", True)
"""Zeros above the highest one of a word that is not zero."""

ones_of = _instruction("ctpop")
"""Ones of a word."""
