"""Figure: accuracy gained over a baseline against the bytes of one answer."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from analysis.costs import costs
from analysis.gains import draw_gains
from analysis.load import Source, load
from analysis.style import new_axes, styled


@styled
def answer_bytes(
    source: Source,
    *,
    metric: str = "ndcg",
    k: int | None = None,
    baseline: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw accuracy minus that of a baseline against the mean bytes of an answer.

    With 95 % intervals of differences over the same edges. Bytes are those of a record, its
    header included; what is shipped once is not in it, and labels that nobody answers stand
    at 0. The baseline is the first label when unset.

    Raises
    ------
    ConfigError
        No run has the baseline's label.
    """
    runs = load(source)
    sizes = {
        label: float(np.nan_to_num(paid["answer_bytes"])) for label, paid in costs(runs).items()
    }
    return draw_gains(
        runs, sizes, "bytes an answer", new_axes(ax), metric=metric, k=k, baseline=baseline
    )
