"""The page of a model's errors: tables, figures and the worst molecules of each property."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any, Final, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from molgeo.evaluation.report.groups import (
    Members,
    Molecules,
    by_domain,
    by_element,
    by_group,
    by_size,
)
from molgeo.pages.drawing import drawing
from molgeo.pages.figures import BLUE, GREY, ORANGE, svg
from molgeo.pages.page import render, write
from molgeo.prediction.layout import behind, decimals, text
from molgeo.predictor.calibration import INTERVAL, ONE_SIGMA
from molgeo.properties import Property

Array = NDArray[np.float64]

WORST: Final = 20
"""Molecules that are shown of each property."""

BINS: Final = 70
"""Cells of a parity plot along each axis."""

WIDTHS: Final = 10
"""Classes of molecules by the width of their intervals."""

_SIZE: Final = (4.6, 3.4)


class Measured(NamedTuple):
    """One property of the molecules that a model was measured on.

    Attributes:
        of: the property.
        values: (molecules,) predicted, in its unit.
        labels: (molecules,); NaN if one is missing.
        widths: (molecules, 2) half-widths of the intervals for `ONE_SIGMA` and `INTERVAL`; None if
            the model is not calibrated for such molecules.
    """

    of: Property
    values: Array
    labels: Array
    widths: Array | None = None

    @property
    def errors(self) -> Array:
        """(molecules,) predicted less label."""
        found: Array = self.values - self.labels
        return found


def write_page(
    path: Path,
    result: Mapping[str, Any],
    measured: Sequence[Measured],
    molecules: Molecules,
    of_card: Mapping[str, float | None],
) -> None:
    """Write the page of a model's errors.

    Args:
        path: ``.html``, replaced.
        result: as `molgeo.evaluation.qm9.evaluate` returns it.
        measured: each property.
        molecules: the same ones, in the same order.
        of_card: column → mean absolute error on the model's card.

    Raises:
        InputError: the page cannot be written.
    """
    classes = {
        "domain": by_domain(molecules),
        "heavy atoms": by_size(molecules),
        "element": by_element(molecules),
        "functional group": by_group(molecules),
    }
    names = ("model", "model_sha256", "level_of_theory", "data", "split", "geometry", "n", "failed")
    page = render(
        "molgeo.evaluation.report",
        "errors.html",
        about=[(name, str(result[name])) for name in names if name in result],
        overview=[_overview(one, result, of_card) for one in measured],
        has_intervals="coverage" in result,
        sections=[_section(one, molecules, classes) for one in measured],
    )
    write(path, page)


def number(value: float | None) -> str:
    """Three digits, or a dash for what is not known."""
    return "–" if value is None or not np.isfinite(value) else f"{value:.3g}"


def share(inside: NDArray[np.bool_]) -> str:
    """Share of molecules in percent."""
    return f"{inside.mean():.0%}"


def _overview(
    one: Measured, result: Mapping[str, Any], of_card: Mapping[str, float | None]
) -> dict[str, Any]:
    """The line of a property in the first table."""
    column = one.of.column
    held = result.get("coverage", {}).get(column, {})
    return {
        "name": one.of.name,
        "about": one.of.description,
        "unit": one.of.unit,
        "mae": number(result["mae"].get(column)),
        "rmse": number(result["rmse"].get(column)),
        "card": number(of_card.get(column)),
        "held": [f"{held[k]:.1%}" for k in ("std", "low90_high90") if k in held],
    }


def _section(
    one: Measured, molecules: Molecules, classes: Mapping[str, list[Members]]
) -> dict[str, Any]:
    """All that is told of a property."""
    known = np.isfinite(one.errors)
    figures = [("Predicted and label", svg(lambda axes: _parity(axes, one, known), _SIZE))]
    if one.widths is not None and known.any():
        sigma, interval = one.widths[known].T
        errors = np.abs(one.errors[known])
        figures += [
            ("Calibration", svg(lambda axes: _calibration(axes, errors, sigma, interval), _SIZE)),
            ("Error and width", svg(lambda axes: _by_width(axes, errors, interval, one), _SIZE)),
        ]
    tables = {
        title: [_class(one, members, known) for members in found if (members.among & known).any()]
        for title, found in classes.items()
        if found
    }
    return {"one": one.of, "figures": figures, "tables": tables} | {
        "worst": [_bad(one, molecules, int(k)) for k in worst(one.errors)]
    }


def worst(errors: Array, most: int = WORST) -> NDArray[np.int64]:
    """Molecules with the largest errors, the worst first; those without a label are not among them.

    Args:
        errors: (molecules,).
        most: how many.
    """
    size = np.where(np.isfinite(errors), np.abs(errors), -1.0)
    order = np.argsort(-size, kind="stable")[:most]
    return order[size[order] >= 0]


def _class(one: Measured, members: Members, known: NDArray[np.bool_]) -> list[str]:
    """Name, molecules, error, and the share of labels within the 90% interval if it is known."""
    among = members.among & known
    errors = np.abs(one.errors[among])
    held = [] if one.widths is None else [share(errors <= one.widths[among, 1])]
    return [members.name, f"{among.sum():,}", number(float(errors.mean())), *held]


def _bad(one: Measured, molecules: Molecules, k: int) -> dict[str, str]:
    width = None if one.widths is None else float(one.widths[k, 0])
    places = decimals(width)
    value = f"{one.values[k]:.5g}" if width is None else text(float(one.values[k]), places)
    error = "" if width is None else text(width, places)
    return {
        "drawing": drawing(molecules.smiles[k]),
        "smiles": molecules.smiles[k],
        "label": f"{one.labels[k]:.5g}",
        "value": f"{value} {behind(value, error, one.of)}".rstrip(),
        "error": f"{one.errors[k]:+.3g}",
    }


def _parity(axes: Axes, one: Measured, known: NDArray[np.bool_]) -> None:
    """How many molecules lie in each cell of labels and predictions."""
    labels, values = one.labels[known], one.values[known]
    if not len(labels):
        return
    low, high = float(min(labels.min(), values.min())), float(max(labels.max(), values.max()))
    room = 0.02 * (high - low) or 0.5
    ends = [low - room, high + room]
    counts, x, y = np.histogram2d(labels, values, BINS, [ends, ends])
    shown = np.ma.masked_equal(counts.T, 0)
    mesh = axes.pcolormesh(x, y, shown, norm="log", cmap="viridis", rasterized=True)
    axes.plot(ends, ends, color=GREY, linewidth=0.8)
    assert axes.figure is not None
    ticks = LogLocator(subs=(1.0, 2.0, 5.0))
    bar = axes.figure.colorbar(mesh, ax=axes, label="molecules", ticks=ticks, format="%d")
    bar.minorticks_off()
    unit = f" / {one.of.unit}" if one.of.unit else ""
    axes.set(xlabel=f"label{unit}", ylabel=f"predicted{unit}")
    axes.locator_params(nbins=5)


def _calibration(axes: Axes, errors: Array, sigma: Array, interval: Array) -> None:
    """Share of labels that intervals hold, beside the share that they claim."""
    claims = np.linspace(0.1, 0.9, 17)
    half = [NormalDist().inv_cdf(0.5 + p / 2) for p in claims]
    held = [(errors <= z * sigma).mean() for z in half]
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    axes.plot(claims, held, color=BLUE, label="normal errors of this std")
    ends = [(errors <= sigma).mean(), (errors <= interval).mean()]
    axes.plot([ONE_SIGMA, INTERVAL], ends, "D", color=ORANGE, label="intervals as given")
    axes.set(xlabel="share claimed", ylabel="share held", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left", fontsize=9)


def _by_width(axes: Axes, errors: Array, widths: Array, one: Measured) -> None:
    """Mean error of molecules whose intervals are about as wide."""
    parts = np.array_split(np.argsort(widths, kind="stable"), min(WIDTHS, len(widths)))
    x = [float(widths[part].mean()) for part in parts]
    axes.plot(x, [float(errors[part].mean()) for part in parts], "o-", color=BLUE, label="mean")
    high = [float(np.quantile(errors[part], INTERVAL)) for part in parts]
    axes.plot(x, high, "o-", color=ORANGE, label="90% are below")
    axes.plot([0, max(x)], [0, max(x)], color=GREY, linewidth=0.8)
    unit = f" / {one.of.unit}" if one.of.unit else ""
    axes.set(xlabel=f"half-width of the 90% interval{unit}", ylabel=f"error{unit}")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.locator_params(nbins=5)
    axes.legend(loc="upper left", fontsize=9)
