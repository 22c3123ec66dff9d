"""Figures as SVG, by matplotlib, without its global state; they take the colours of their page."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# The Okabe–Ito palette, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#888888"

_INK: Final = "#222222"
"""Of text and axes; in a page it is the colour of the page's text."""

_STYLE: Final[dict[str, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "molgeo",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "lines.linewidth": 1.0,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK
    ),
}


def svg(draw: Callable[[Axes], None], size: tuple[float, float] = (6.4, 2.8)) -> str:
    """One figure as the text of an ``<svg>`` element.

    Args:
        draw: fills its axes.
        size: width and height, inches.
    """
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None}, dpi=150)
    found = text.getvalue()
    return found[found.index("<svg") :].replace(_INK, "currentColor")
