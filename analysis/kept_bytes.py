"""Figure: accuracy gained over a baseline against what an edge keeps, over all channels."""

from __future__ import annotations

from matplotlib.axes import Axes

from analysis.costs import costs
from analysis.gains import draw_gains
from analysis.load import Source, load
from analysis.style import new_axes, styled


@styled
def kept_bytes(
    source: Source,
    *,
    metric: str = "ndcg",
    k: int | None = None,
    baseline: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw accuracy minus that of a baseline against the mean bytes an edge keeps at the end.

    With 95 % intervals of differences over the same edges. Bytes are those of all channels, what
    they share once; item embeddings are not in it. The baseline is the first label when unset.

    Raises
    ------
    ConfigError
        No run has the baseline's label.
    """
    runs = load(source)
    sizes = {label: paid["stored_bytes"] for label, paid in costs(runs).items()}
    return draw_gains(
        runs, sizes, "bytes kept on an edge", new_axes(ax), metric=metric, k=k, baseline=baseline
    )
