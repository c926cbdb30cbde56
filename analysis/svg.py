"""A figure as SVG inside a page: colours become CSS variables, so light and dark both fit.

The figure is drawn in stand-in colours, one for each role, which are then replaced in the
text. Titles and legends are taken out: the page sets them in HTML, where they can wrap.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.rcsetup import cycler

from analysis import style
from fedsim.files import replacing

SERIES = 8
"""Colours of series on the page."""

_ROLES = {
    "ink": "#010200",
    "muted": "#010201",
    "line": "#010202",
    "grid": "#010203",
    "card": "#010204",
}

STAND_INS = {
    **{f"#0101{i:02x}": f"var(--s{i})" for i in range(SERIES)},
    **{color: f"var(--{role})" for role, color in _ROLES.items()},
}
"""Stand-in colour -> CSS variable."""

_SETTINGS = {
    "axes.prop_cycle": cycler("color", [f"#0101{i:02x}" for i in range(SERIES)]),
    "text.color": _ROLES["ink"],
    "axes.labelcolor": _ROLES["muted"],
    "xtick.color": _ROLES["muted"],
    "ytick.color": _ROLES["muted"],
    "axes.edgecolor": _ROLES["line"],
    "grid.color": _ROLES["grid"],
    "axes.facecolor": _ROLES["card"],
    "figure.facecolor": "none",
}

_LEFT_OUT = {"svg": ("Date", "Creator"), "png": ("Software",)}
"""What a saved figure must not tell, to be the same bytes every time."""


@dataclass(frozen=True, slots=True)
class Swatch:
    """One entry of a legend: a line with a marker, or a filled square."""

    text: str
    color: str
    marker: str = ""
    hollow: bool = False


@dataclass(frozen=True, slots=True)
class Inline:
    """A figure taken apart for a page."""

    title: str
    svg: str
    legend: tuple[Swatch, ...]


def save(draw: Callable[[Axes], Axes], stem: Path) -> None:
    """Draw a figure and save it as ``STEM.svg`` and ``STEM.png``, the same bytes every time.

    Raises
    ------
    StoreError
        The folder cannot be written to.
    """
    save_grid([draw], stem)


def save_grid(
    draws: Sequence[Callable[[Axes], Axes]], stem: Path, *, columns: int = 1, height: float = 1.0
) -> None:
    """Draw figures side by side, each `height` times as high as usual; save as `save` does."""
    with style.overridden({}):
        rows = -(-len(draws) // columns)
        figure, grid = _canvas(rows, columns, height)
        for draw, ax in zip(draws, grid, strict=False):
            draw(ax)
        for ax in grid[len(draws) :]:
            ax.set_axis_off()
        _lay_out(figure)
        if len(grid) == 1:
            style.fit_title(grid[0])
        for kind, left_out in _LEFT_OUT.items():
            with replacing(stem.with_name(f"{stem.name}.{kind}")) as sink:
                figure.savefig(sink, format=kind, metadata=dict.fromkeys(left_out))


def inline(draw: Callable[[Axes], Axes], name: str) -> Inline:
    """Draw a figure for a page; `name` keeps its ids apart from other figures'."""
    with style.overridden(_SETTINGS):
        figure, (ax,) = _canvas()
        draw(ax)
        title, legend = ax.get_title(loc="left"), _take_legend(ax)
        ax.set_title("")
        _lay_out(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return Inline(title, _for_page(buffer.getvalue(), name), legend)


def _lay_out(figure: Figure) -> None:
    """Find the layout once; saving would find it again every time."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def _canvas(rows: int = 1, columns: int = 1, height: float = 1.0) -> tuple[Figure, list[Axes]]:
    """Return axes of a figure of their own, which no window system knows."""
    wide, high = rcParams["figure.figsize"]
    figure = Figure(figsize=(wide * columns, high * rows * height))
    FigureCanvasAgg(figure)
    if rows == columns == 1:
        style.own(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def marker_path(marker: str) -> str:
    """Return a marker as an SVG path around (14, 6), for legends."""
    shapes = {
        "s": "M10.5 2.5h7v7h-7z",
        "^": "M14 1.5l4.3 8h-8.6z",
        "D": "M14 1l4.6 5-4.6 5-4.6-5z",
        "v": "M14 10.5l4.3-8h-8.6z",
        "P": "M12.5 1.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
        "X": "M11.5 1.5L14 4l2.5-2.5 2 2L16 6l2.5 2.5-2 2L14 8l-2.5 2.5-2-2L12 6 9.5 3.5z",
        "h": "M14 1.2l4.2 2.4v4.8l-4.2 2.4-4.2-2.4v-4.8z",
    }
    return shapes.get(marker, "M10 6a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z")


def _take_legend(ax: Axes) -> tuple[Swatch, ...]:
    """Remove the legend; return it, unless it only names the series, as the page does."""
    legend = ax.get_legend()
    if legend is None:
        return ()
    legend.remove()
    found = []
    for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
        if isinstance(handle, Line2D):
            edge = to_hex(str(handle.get_markeredgecolor()))
            fill = to_hex(str(handle.get_color()))
            hollow = fill == _ROLES["card"]
            color, marker = (edge if hollow else fill), str(handle.get_marker())
        elif isinstance(handle, Patch):
            color, marker, hollow = to_hex(handle.get_facecolor()), "", False
        else:
            continue
        found.append(Swatch(text.get_text(), STAND_INS.get(color, color), marker, hollow))
    series = {f"var(--s{i})" for i in range(SERIES)}
    return () if all(swatch.color in series for swatch in found) else tuple(found)


def _for_page(text: str, name: str) -> str:
    text = text[text.index("<svg") :]
    for part in ("metadata", "style"):
        text = re.sub(rf"<{part}[ >].*?</{part}>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\b(d|x|y|transform)="[^"]*"', _shorter, text)
    head, rest = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    head = f'<svg {box.group(0) if box else ""} role="img" aria-labelledby="{name}-title"'
    text = f"{head}>{rest}"
    text = re.sub(r'id="series-(\d+)[^"]*"', r'class="series s\1"', text)
    text = re.sub(r'id="', f'id="{name}-', text)
    text = re.sub(r'(xlink:)?href="#', f'href="#{name}-', text)
    text = text.replace("xlink:href", "href").replace("url(#", f"url(#{name}-")
    text = text.replace("%0A", "").replace("base64,\n", "base64,")
    for color, variable in STAND_INS.items():
        text = text.replace(color, variable)
    return re.sub(r"\n\s*", "\n", text).strip()


def _shorter(attribute: re.Match[str]) -> str:
    """Round coordinates to hundredths of a point."""
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number.group()):.2f}", attribute.group())
