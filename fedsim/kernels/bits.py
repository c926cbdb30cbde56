"""Instructions on 64-bit words that numba has no name for."""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
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


def _high_product(typing_context: Any, one: Any, other: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(factor, wide) for factor in arguments))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


leading_zeros = _instruction("ctlz", True)
"""Zeros above the highest one of a word that is not zero."""

ones_of = _instruction("ctpop")
"""Ones of a word."""

high_product: Any = intrinsic(_high_product)
"""Upper 64 bits of the product of two words."""
