"""Words of 64 bits: made of 64 comparisons at once, and cut down to their lowest ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit
from numba.core import types
from numba.extending import intrinsic

LANES = 64
ONE = np.uint64(1)


def _at_least(typing, values, start, low):  # type: ignore[no-untyped-def]
    signature = types.uint64(values, types.intp, types.int32)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        vector = ir.VectorType(ir.IntType(32), LANES)
        place = builder.bitcast(builder.gep(array.data, [args[1]]), vector.as_pointer())
        lanes = builder.load(place)
        lanes.align = 4
        empty = ir.Constant(vector, ir.Undefined)
        first = builder.insert_element(empty, args[2], ir.Constant(ir.IntType(32), 0))
        order = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        limit = builder.shuffle_vector(first, empty, order)
        return builder.bitcast(builder.icmp_signed(">=", lanes, limit), ir.IntType(64))

    return signature, build


at_least: Any = intrinsic(_at_least)
"""``at_least(values, start, low)``: a uint64 whose bit i is ``values[start + i] >= low``.

`values` and `low` are int32; ``values[start:start + 64]`` must lie inside the array.
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
