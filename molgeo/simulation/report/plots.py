"""Plots of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pandas as pd
from matplotlib.axes import Axes

from molgeo.pages.figures import BLUE, GREEN, GREY, ORANGE, svg
from molgeo.simulation.report.summary import Summary

MOST_POINTS: Final = 2000
"""Points of a line: more are not seen, and make the page heavy."""

COLUMNS: Final = {
    "volume_A3": ("Volume", "volume / Å³"),
    "pressure_bar": ("Pressure", "pressure / bar"),
    "max_force_std_eV_A": ("Expected error of forces", "largest of an atom / eV/Å"),
}
"""Columns that not every run has → title and axis of their plots."""

Line = tuple[pd.Series, dict[str, Any]]
"""Values by time in ps, and how they are drawn."""


def plots(summary: Summary, target_K: float | None) -> list[tuple[str, str]]:
    """All plots of a run that have something to show.

    Args:
        summary: of the run.
        target_K: the thermostat's temperature; None without one.

    Returns:
        Titles and SVG texts.
    """
    table = summary.table.set_index(summary.time_ps)
    energies: list[Line] = [
        (table[f"{name}_eV"] - table["potential_eV"].iloc[0], {"color": colour, "label": name})
        for name, colour in (("potential", BLUE), ("total", ORANGE))
    ]
    now = table["temperature_K"]
    mean = now.iloc[summary.settled_from[0] :].expanding().mean()
    temperatures: list[Line] = [
        (now, {"color": BLUE, "alpha": 0.5, "label": "now"}),
        (mean, {"color": ORANGE, "linewidth": 1.8, "label": "mean from here on"}),
    ]
    if target_K is not None:
        level = pd.Series(target_K, table.index)
        temperatures.append((level, {"color": GREY, "linestyle": "--", "label": "thermostat"}))
    found = [
        ("Energy", _svg("energy − E(0) / eV", energies)),
        ("Temperature", _svg("temperature / K", temperatures, bottom=0)),
    ]
    if summary.deviation is not None:
        drift = [(pd.Series(summary.deviation, table.index), {"color": GREEN})]
        found.append(("Drift of the conserved energy", _svg("change / meV per atom", drift)))
    for name, (title, label) in COLUMNS.items():
        if name in table:
            found.append((title, _svg(label, [(table[name], {"color": BLUE})])))
    return found


def _svg(label: str, lines: Sequence[Line], bottom: float | None = None) -> str:
    """One plot."""

    def draw(axes: Axes) -> None:
        for values, style in lines:
            shown = values.iloc[:: -(-len(values) // MOST_POINTS)]
            axes.plot(shown.index, shown, **style)
        axes.set(xlabel="time / ps", ylabel=label)
        axes.margins(x=0)
        if bottom is not None:
            axes.set_ylim(bottom=bottom)
        if len(lines) > 1:  # above the plot: no line can run through it there
            axes.legend(ncols=3, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)

    return svg(draw)
