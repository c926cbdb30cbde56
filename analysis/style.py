"""How figures look: our style sheet, a colour, dash and marker per label, axes in bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import rc_context, rc_params_from_file, rcParams
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation

P = ParamSpec("P")

FILE = Path(__file__).with_name("fedsim.mplstyle")

DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (5, 1.4, 1.2, 1.4)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")

PARTS = (
    "#8c959f", "#33638d", "#2a9d8f", "#8ab17d", "#e9c46a", "#f4a261", "#e76f51", "#6d597a",
)  # fmt: skip
"""Colours of what a whole is made of, told apart on a light and on a dark page."""

_overrides: ContextVar[Mapping[str, Any] | None] = ContextVar("overrides", default=None)


def styled(figure: Callable[P, Axes]) -> Callable[P, Axes]:
    """Make a figure function draw in our style, leaving the caller's settings alone."""

    @wraps(figure)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Axes:
        with rc_context(_settings(_overrides.get())):
            return figure(*args, **kwargs)

    return drawn


@contextmanager
def overridden(settings: Mapping[str, Any]) -> Iterator[None]:
    """Draw in our style with some settings changed (the report's stand-in colours)."""
    token = _overrides.set(settings)
    try:
        with rc_context(_settings(settings)):
            yield
    finally:
        _overrides.reset(token)


def new_axes(ax: Axes | None) -> Axes:
    """Return the axes given, or those of a new figure."""
    if ax is not None:
        return ax
    _, made = plt.subplots()
    return made


def look(index: int) -> dict[str, Any]:
    """Return colour, dash and marker of the series of that index; 32 differ."""
    colors = rcParams["axes.prop_cycle"].by_key()["color"]
    return {
        "color": colors[index % len(colors)],
        "linestyle": DASHES[(index // len(colors)) % len(DASHES)],
        "marker": MARKERS[index % len(MARKERS)],
        "markeredgecolor": rcParams["axes.facecolor"],
        "markeredgewidth": 0.6,
        "gid": f"series-{index}",
    }


def part_colors(count: int) -> list[str]:
    """Return colours for the parts of a whole."""
    return [PARTS[i % len(PARTS)] for i in range(count)]


def ink() -> str:
    """Return the colour of text."""
    return str(rcParams["text.color"])


def muted() -> str:
    """Return the colour of what stands back: ticks, notes, marks."""
    return str(rcParams["xtick.color"])


def surface() -> str:
    """Return the colour behind the data."""
    return str(rcParams["axes.facecolor"])


def note(ax: Axes, text: str) -> None:
    """Write a remark in the middle of empty axes."""
    ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes, color=muted())


def legend(ax: Axes, columns: int = 4) -> None:
    """Put a legend under the axes, if there is more than one thing to tell apart."""
    handles, labels = ax.get_legend_handles_labels()
    if len(labels) < 2:
        return
    per_row = min(columns, len(labels), max(1, 64 // (max(map(len, labels)) + 7)))
    below(ax, handles=handles, labels=labels, ncols=per_row)


def below(ax: Axes, **options: Any) -> None:
    """Put a legend under the axes, clear of what stands there."""
    figure: Any = ax.get_figure(root=True)
    depth = -36 if ax.get_xlabel() else -30
    shift = ScaledTranslation(-8 / 72, depth / 72, figure.dpi_scale_trans)
    ax.legend(
        loc="upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=ax.transAxes + shift,
        borderaxespad=0,
        **options,
    )


def round_axis(ax: Axes) -> None:
    """Tick the horizontal axis at whole rounds."""
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))


def byte_axis(axis: Axis, values: Sequence[float] | np.ndarray) -> None:
    """Count an axis in bytes (B, kB, MB), by logarithm when values range over 10 times."""
    known = np.asarray(values, float)
    known = known[known > 0]
    if len(known) and known.max() > 10 * known.min():
        _set_scale(axis, "log")
        subs = (
            (1.0, 2.0, 5.0)
            if known.max() < (300 if _vertical(axis) else 60) * known.min()
            else (1.0,)
        )
        axis.set_major_locator(LogLocator(subs=subs, numticks=9))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(EngFormatter(unit="B"))


def rounds_text(rounds: int) -> str:
    """Return a number of rounds in words: ``1 round``, ``20 rounds``."""
    return f"{rounds:,} round" + ("s" if rounds != 1 else "")


def bytes_text(value: float) -> str:
    """Return bytes in three digits.

    >>> bytes_text(1234), bytes_text(20), bytes_text(5.37e6)
    ('1.23 kB', '20 B', '5.37 MB')
    """
    for power, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= 0.9995 * power:
            return f"{_three(value / power)} {unit}"
    return f"{_three(value)} B"


def _three(value: float) -> str:
    text = f"{value:.{max(0, 2 - max(0, len(str(int(value))) - 1))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _vertical(axis: Any) -> bool:
    return bool(axis.axis_name == "y")


def _set_scale(axis: Any, scale: str) -> None:
    (axis.axes.set_yscale if _vertical(axis) else axis.axes.set_xscale)(scale)


def _settings(overrides: Mapping[str, Any] | None) -> Any:
    read: Any = rc_params_from_file(FILE, use_default_template=False)
    return dict(read) | dict(overrides or {})
