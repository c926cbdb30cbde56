from __future__ import annotations

import numpy as np

from fedsim.layout import Layer, Layout
from tests.diets import CASER, SASREC, TINY


def test_papers_layouts_count_as_in_the_papers() -> None:
    assert (SASREC.size, SASREC.packed_bytes) == (40_960, 5_120)
    assert (CASER.size, CASER.packed_bytes) == (15_380, 1_923)
    assert len(SASREC.row_lengths) == 640


def test_offsets_and_rows_follow_the_layers() -> None:
    assert TINY.offsets.tolist() == [0, 15, 29]
    assert TINY.row_lengths.tolist() == [5, 5, 5, 7, 7]
    assert int(np.sum(CASER.row_lengths)) == CASER.size


def test_fingerprints_tell_names_shapes_and_order_apart() -> None:
    a, b = Layer("a", 2, 3), Layer("b", 2, 3)
    layouts = [(a,), (b,), (a, b), (b, a), (Layer("a", 3, 2),)]
    assert len({Layout(layers).fingerprint for layers in layouts}) == len(layouts)
    assert Layout((a, b)).fingerprint == Layout((a, b)).fingerprint
