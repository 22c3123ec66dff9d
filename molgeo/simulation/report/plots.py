"""Plots of a run as SVG, by matplotlib, without its global state."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from molgeo.simulation.report.summary import Summary

# The Okabe–Ito palette, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"

MOST_POINTS: Final = 2000
"""Points of a line: more are not seen, and make the page heavy."""

STYLE: Final[dict[str, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "molgeo",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "lines.linewidth": 1.0,
}


def plots(summary: Summary, target_K: float | None) -> list[tuple[str, str]]:
    """All plots of a run that have something to show.

    Args:
        summary: of the run.
        target_K: the thermostat's temperature; None without one.

    Returns:
        Titles and SVG texts.
    """
    found = [
        ("Energy", _svg(lambda ax: _energy(ax, summary))),
        ("Temperature", _svg(lambda ax: _temperature(ax, summary, target_K))),
    ]
    if summary.deviation is not None:
        found.append(("Drift of the conserved energy", _svg(lambda ax: _drift(ax, summary))))
    for title, column, label in (
        ("Volume", "volume_A3", "volume / Å³"),
        ("Pressure", "pressure_bar", "pressure / bar"),
        ("Disagreement of the models", "max_force_std_eV_A", "largest force std / eV/Å"),
    ):
        if column in summary.table:
            found.append((title, _svg(lambda ax, c=column, t=label: _column(ax, summary, c, t))))  # type: ignore[misc]
    return found


def _svg(draw: Callable[[Axes], None]) -> str:
    """One plot as the text of an ``<svg>`` element."""
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(6.4, 2.8), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.set_xlabel("time / ps")
        axes.margins(x=0)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _line(axes: Axes, summary: Summary, values: Any, **style: Any) -> None:
    step = -(-len(values) // MOST_POINTS)
    axes.plot(summary.time_ps[::step], values[::step], **style)


def _legend(axes: Axes) -> None:
    """Above the plot, where no line can run through it."""
    axes.legend(ncols=3, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)


def _energy(axes: Axes, summary: Summary) -> None:
    table = summary.table
    for column, label, colour in (
        ("potential_eV", "potential", BLUE),
        ("total_eV", "total", ORANGE),
    ):
        values = (table[column] - table["potential_eV"].iloc[0]).to_numpy()
        _line(axes, summary, values, color=colour, label=label)
    axes.set_ylabel("energy − E(0) / eV")
    _legend(axes)


def _temperature(axes: Axes, summary: Summary, target_K: float | None) -> None:
    values = summary.table["temperature_K"]
    _line(axes, summary, values.to_numpy(), color=BLUE, alpha=0.5, label="now")
    first = summary.settled_from[0]
    mean = values[first:].expanding().mean().to_numpy()
    step = -(-len(mean) // MOST_POINTS)
    times = summary.time_ps[first:][::step]
    axes.plot(times, mean[::step], color=ORANGE, linewidth=1.8, label="mean from here on")
    if target_K is not None:
        axes.axhline(target_K, color=GREY, linestyle="--", label="thermostat")
    axes.set_ylabel("temperature / K")
    axes.set_ylim(bottom=0)
    _legend(axes)


def _drift(axes: Axes, summary: Summary) -> None:
    _line(axes, summary, summary.deviation, color=GREEN)
    axes.set_ylabel("change / meV per atom")


def _column(axes: Axes, summary: Summary, column: str, label: str) -> None:
    _line(axes, summary, summary.table[column].to_numpy(), color=BLUE)
    axes.set_ylabel(label)
