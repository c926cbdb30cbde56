"""Many comparisons at once, as a word of bits or as their number, and a word's lowest ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit
from numba.core import types
from numba.extending import intrinsic

LANES = 64
ONE = np.uint64(1)


def _compared(sign: str, count: int, context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Compare so many numbers of an array from a place on with one; return a bit for each."""
    array = context.make_array(signature.args[0])(context, builder, args[0])
    vector = ir.VectorType(ir.IntType(32), count)
    place = builder.bitcast(builder.gep(array.data, [args[1]]), vector.as_pointer())
    lanes = builder.load(place)
    lanes.align = 4
    empty = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(empty, args[2], ir.Constant(ir.IntType(32), 0))
    order = ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count)
    limit = builder.shuffle_vector(first, empty, order)
    return builder.bitcast(builder.icmp_signed(sign, lanes, limit), ir.IntType(count))


def _at_least(typing, values, start, low):  # type: ignore[no-untyped-def]
    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _compared(">=", LANES, context, builder, signature, args)

    return types.uint64(values, types.intp, types.int32), build


def _at_most(typing, values, start, bound):  # type: ignore[no-untyped-def]
    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = _compared("<=", 16, context, builder, signature, args)
        return builder.ctpop(builder.zext(bits, ir.IntType(64)))

    return types.uint64(values, types.uint64, types.uint32), build


at_least: Any = intrinsic(_at_least)
"""``at_least(values, start, low)``: a uint64 whose bit i is ``values[start + i] >= low``.

`values` and `low` are int32; ``values[start:start + 64]`` must lie inside the array.
"""

at_most: Any = intrinsic(_at_most)
"""``at_most(values, start, bound)``: how many of ``values[start:start + 16]`` are at most that.

Values and bound are uint32 below 2^31; the 16 must lie inside the array.
"""


@njit(cache=True)
def first_ones(word, count):  # type: ignore[no-untyped-def]
    """Return a uint64's lowest `count` set bits, or all it has."""
    out = np.uint64(0)
    while word and count > 0:
        rest = word & (word - ONE)
        out |= word ^ rest
        word, count = rest, count - 1
    return out
