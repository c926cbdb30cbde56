"""Loops of the `csr` codec."""

from __future__ import annotations

from numba import njit

from fedsim.kernels.records import get, put


@njit(cache=True)
def write(words, with_values, starts, widths, offsets, out):  # type: ignore[no-untyped-def]
    """Write row ends, columns and, if asked for, values of the words that are not zero.

    `starts` is where each row of the layout begins (rows + 1), `widths` the bytes of a row
    end and of a column.
    """
    pointer, index = widths
    rows = len(starts) - 1
    for edge in range(len(words)):
        count = 0
        at = offsets[edge] + rows * pointer
        for row in range(rows):
            for place in range(starts[row], starts[row + 1]):
                if words[edge, place]:
                    put(out, at + count * index, place - starts[row], index)
                    count += 1
            put(out, offsets[edge] + row * pointer, count, pointer)
        at += count * index
        if with_values:
            for place in range(starts[rows]):
                if words[edge, place]:
                    put(out, at, words[edge, place], 4)
                    at += 4


@njit(cache=True)
def read(data, offsets, with_values, starts, widths, words):  # type: ignore[no-untyped-def]
    """Fill zeroed words from what `write` made; return the first row it did not make, or -1."""
    pointer, index = widths
    rows = len(starts) - 1
    for edge in range(len(words)):
        first, size = offsets[edge], offsets[edge + 1] - offsets[edge]
        if size < rows * pointer:
            return edge
        total = get(data, first + (rows - 1) * pointer, pointer)
        columns = first + rows * pointer
        values = columns + total * index
        if size != rows * pointer + total * (index + 4 * with_values):
            return edge
        before = 0
        for row in range(rows):
            end = get(data, first + row * pointer, pointer)
            if not before <= end <= total:
                return edge
            for entry in range(before, end):
                column = get(data, columns + entry * index, index)
                if column >= starts[row + 1] - starts[row]:
                    return edge
                value = get(data, values + 4 * entry, 4) if with_values else 1
                words[edge, starts[row] + column] = value
            before = end
    return -1
