"""How figures look: our style sheet, legends, titles, and numbers in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from textwrap import fill
from typing import Any, ParamSpec
from weakref import WeakSet

import matplotlib.pyplot as plt
from matplotlib import rc_context, rc_params_from_file, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import ScaledTranslation

from analysis.looks import take_turns

P = ParamSpec("P")

FILE = Path(__file__).with_name("fedsim.mplstyle")

UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))

PARTS = (
    "#8c959f", "#33638d", "#2a9d8f", "#8ab17d", "#e9c46a", "#f4a261", "#e76f51", "#6d597a",
)  # fmt: skip
"""Colours of what a whole is made of, told apart on a light and on a dark page."""

LINE = 0.19
"""Inches of height a line of a legend takes."""

_owned: WeakSet[Figure] = WeakSet()
_overrides: ContextVar[Mapping[str, Any] | None] = ContextVar("overrides", default=None)


def styled(figure: Callable[P, Axes]) -> Callable[P, Axes]:
    """Make a figure function draw in our style, leaving the caller's settings alone."""

    @wraps(figure)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Axes:
        with rc_context(_settings(_overrides.get())):
            ax = figure(*args, **kwargs)
            take_turns(ax)
            return ax

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
    figure, made = plt.subplots()
    own(figure)
    return made


def own(figure: Figure) -> None:
    """Let a figure of ours grow by what its labels need; a caller's keeps its size."""
    _owned.add(figure)


def grow(ax: Axes, inches: float) -> None:
    """Make a figure of our own at least so much higher than usual."""
    figure: Any = ax.get_figure(root=True)
    if figure in _owned and inches > 0:
        usual = rcParams["figure.figsize"][1]
        figure.set_figheight(max(figure.get_figheight(), usual + inches))


def fit_title(ax: Axes) -> None:
    """Move a title that would leave its figure to the left, and make one too long smaller."""
    figure: Any = ax.get_figure(root=True)
    words, edge = ax.get_title(loc="left"), 0.04 * figure.dpi
    texts = (each for each in ax.get_children() if isinstance(each, Text))
    title = next((text for text in texts if words and text.get_text() == words), None)
    if title is None:
        return
    box, room = title.get_window_extent(), figure.bbox.width - 2 * edge
    if box.width > room:
        title.set_fontsize(title.get_fontsize() * room / box.width)
        box = title.get_window_extent()
    over = min(max(box.x1 - figure.bbox.x1 + edge, 0), max(box.x0 - edge, 0))
    title.set_x(title.get_position()[0] - over / ax.get_window_extent().width)


def wrapped(text: str, width: int = 24) -> str:
    """Return a label in lines of at most so many letters, cut behind commas if that will do.

    >>> wrapped("diet, codec entropy, keep 0.2", 20).splitlines()
    ['diet, codec entropy,', 'keep 0.2']
    """
    lines = [""]
    for part in text.split(", "):
        together = f"{lines[-1]}, {part}" if lines[-1] else part
        if len(together) < width or not lines[-1]:
            lines[-1] = together
        else:
            lines[-1] += ","
            lines.append(part)
    return "\n".join(fill(line, width) for line in lines)


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
    labels = [wrapped(label, 56) for label in labels]
    per_row = _fitting(labels, columns)
    below(ax, handles=handles, labels=labels, ncols=per_row)
    lines = -(-sum(label.count("\n") + 1 for label in labels) // per_row)
    if not _overrides.get():  # a page has its legends outside of the figure
        grow(ax, LINE * (lines - 2))


def _fitting(labels: Sequence[str], most: int) -> int:
    """Return how many columns of a legend, filled one after the other, are about 3.8 inches."""
    for count in range(min(most, len(labels)), 1, -1):
        rows = -(-len(labels) // count)
        groups = [labels[i : i + rows] for i in range(0, len(labels), rows)]
        letters = sum(max(len(line) for line in "\n".join(g).splitlines()) for g in groups)
        if 0.6 * len(groups) + 0.075 * letters <= 3.8:
            return len(groups)
    return 1


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


def rounds_text(rounds: int) -> str:
    """Return a number of rounds in words: ``1 round``, ``20 rounds``."""
    return f"{rounds:,} round" + ("s" if rounds != 1 else "")


def seeds_text(seeds: int) -> str:
    """Return a number of seeds in words: ``1 seed``, ``3 seeds``."""
    return f"{seeds} seed" + ("s" if seeds != 1 else "")


def listed(words: Sequence[str]) -> str:
    """Join words: ``a``, ``a and b``, ``a, b and c``; ``a, b; c`` where they have commas."""
    if any(", " in word for word in words):
        return "; ".join(words)
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def bytes_text(value: float) -> str:
    """Return bytes in three digits.

    >>> bytes_text(1234), bytes_text(20), bytes_text(5.37e6)
    ('1.23 kB', '20 B', '5.37 MB')
    """
    size, unit = next((pair for pair in UNITS if value >= 0.9995 * pair[0]), UNITS[-1])
    return f"{_three(value / size)} {unit}"


def _three(value: float) -> str:
    text = f"{value:.{max(0, 2 - max(0, len(str(int(value))) - 1))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _settings(overrides: Mapping[str, Any] | None) -> Any:
    read: Any = rc_params_from_file(FILE, use_default_template=False)
    return dict(read) | dict(overrides or {})
