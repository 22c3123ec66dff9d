"""Figures of the page of a fit: what held-out rows say of a model, beside the 2D baseline."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from molgeo.fitting.outcome import FOLDS, Array, FitTarget, among, block
from molgeo.pages.figures import BLUE, GREEN, GREY, ORANGE
from molgeo.predictor.calibration import INTERVAL

KINDS: Final = {FOLDS: (GREY, "rows of the folds"), "test": (BLUE, "test rows")}
"""Held-out part → colour and name in a legend, in the order in which they are drawn."""

_CLASSES: Final = 8
"""Most classes of rows by size or by probability."""


def with_unit(text: str, one: FitTarget) -> str:
    """The label of an axis."""
    return f"{text} / {one.unit}" if one.unit and not one.classes else text


def parity(axes: Axes, rows: pd.DataFrame, one: FitTarget, end: str) -> None:
    """Values and predictions of held-out rows.

    Args:
        axes: to draw on.
        rows: as in `molgeo.fitting.outcome.Outcome`.
        one: the target.
        end: ``predicted`` or ``baseline``.
    """
    everything = np.concatenate([_held(rows, one, name)[k] for name in KINDS for k in range(3)])
    everything = everything[np.isfinite(everything)]
    room = 0.04 * float(np.ptp(everything)) or 0.5
    ends = (float(everything.min()) - room, float(everything.max()) + room)
    axes.plot(ends, ends, color=GREY, linewidth=0.8)
    for part, (colour, name) in KINDS.items():
        value, predicted, baseline = _held(rows, one, part)
        shown = predicted if end == "predicted" else baseline
        if len(value):
            size = 4.5 if part == "test" else 3
            axes.plot(value, shown, "o", ms=size, mew=0, alpha=0.6, color=colour, label=name)
    axes.set(
        xlabel=with_unit("value", one), ylabel=with_unit("predicted", one), xlim=ends, ylim=ends
    )
    axes.set_aspect("equal")
    axes.locator_params(nbins=5)
    axes.legend(loc="upper left", fontsize=9)


def roc(axes: Axes, rows: pd.DataFrame, one: FitTarget, part: str) -> None:
    """Share of each class that is called the second one, at all thresholds."""
    from sklearn.metrics import roc_curve

    value, predicted, baseline = _held(rows, one, part)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    for p, colour, name in ((predicted, BLUE, "3D model"), (baseline, ORANGE, "baseline")):
        if np.isfinite(p).all() and 0 < value.sum() < len(value):
            wrong, right, _ = roc_curve(value.astype(int), p)
            axes.plot(wrong, right, color=colour, label=name)
    axes.set(xlabel=f"share of {one.classes[0]} called {one.classes[1]}")
    axes.set(ylabel=f"share of {one.classes[1]} found", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="lower right", fontsize=9)


def reliability(axes: Axes, rows: pd.DataFrame, one: FitTarget, part: str) -> None:
    """How often the second class is found among rows that are given a probability of it."""
    value, p, _ = _held(rows, one, part)
    groups = np.array_split(np.argsort(p, kind="stable"), min(_CLASSES, max(1, len(p) // 10)))
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    axes.plot([p[k].mean() for k in groups], [value[k].mean() for k in groups], "o-", color=BLUE)
    axes.set(xlabel=f"probability of {one.classes[1]}", ylabel="share found")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))


def calibration(axes: Axes, rows: pd.DataFrame, one: FitTarget) -> None:
    """Share of held-out values within the bars, beside the share that is claimed."""
    claims = np.linspace(0.1, 0.95, 18)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    for part, (colour, name) in KINDS.items():
        is_in = among(rows, part)
        value, predicted, std, low, high = (
            block(rows, one, end)[is_in] for end in ("value", "predicted", "std", "low90", "high90")
        )
        known = np.isfinite(value + predicted + std + low + high)
        if not known.any():
            continue
        errors = np.abs(predicted - value)[known]
        half = [NormalDist().inv_cdf(0.5 + p / 2) for p in claims]
        axes.plot(claims, [(errors <= z * std[known]).mean() for z in half], color=colour)
        inside = ((low <= value) & (value <= high))[known].mean()
        axes.plot([INTERVAL], [inside], "D", color=colour, label=f"{name}, the 90% intervals")
    axes.set(xlabel="share claimed", ylabel="share held", xlim=(0, 1), ylim=(0, 1.02))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", fontsize=9)


def has_bars(rows: pd.DataFrame, one: FitTarget) -> bool:
    """Whether any held-out row has a bar."""
    is_in = among(rows, "test") | among(rows, FOLDS)
    return bool(np.isfinite(block(rows, one, "std")[is_in]).any())


def by_size(axes: Axes, rows: pd.DataFrame, one: FitTarget) -> None:
    """Errors of held-out rows against the number of heavy atoms, with the mean of each class."""
    is_in = among(rows, "test") | among(rows, FOLDS)
    errors = (block(rows, one, "predicted") - block(rows, one, "value"))[is_in]
    heavy = np.asarray(rows["n_heavy"], np.float64)[is_in]
    known = np.isfinite(errors) & np.isfinite(heavy)
    errors, heavy = errors[known], heavy[known]
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.plot(heavy, errors, "o", ms=3, mew=0, alpha=0.35, color=GREY)
    for spread, colour, name in ((False, BLUE, "mean"), (True, ORANGE, "mean absolute")):
        x, y = _classes(heavy, np.abs(errors) if spread else errors)
        axes.plot(x, y, "o-", color=colour, label=name)
    axes.set(xlabel="heavy atoms", ylabel=with_unit("predicted − value", one))
    axes.locator_params(nbins=6)
    axes.legend(loc="upper left", fontsize=9)


def learning(axes: Axes, history: pd.DataFrame, title: str, steps: str = "step") -> None:
    """The error on the rows that each member lacks, and its loss.

    Args:
        axes: to draw on.
        history: as in `molgeo.fitting.outcome.Outcome`.
        title: what the error is.
        steps: what the steps are of.
    """
    for n, (_, own) in enumerate(history.groupby("member", sort=True)):
        for name, colour in (("validation_error", BLUE), ("train_loss", GREEN)):
            if name not in own:
                continue
            known = own[["step", name]].dropna()
            label = {"validation_error": title, "train_loss": "training loss"}[name]
            style: dict[str, Any] = {
                "color": colour,
                "alpha": 0.8,
                "marker": "o" if len(known) < 9 else "",
            }
            axes.plot(known["step"], known[name], **style, label="" if n or known.empty else label)
    axes.set(xlabel=steps, yscale="log")
    for formatted in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        formatted("{x:g}")  # not as powers of ten
    if steps != "step":
        first = history["member"] == history["member"].min()  # numbers of others are about the same
        axes.set(xscale="log", xticks=sorted(history["step"][first]))
        axes.set_xticks([], minor=True)
        axes.xaxis.set_major_formatter("{x:,.0f}")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper right", fontsize=9)


def _held(rows: pd.DataFrame, one: FitTarget, part: str) -> tuple[Array, Array, Array]:
    """Values, predictions and the baseline's of the rows of a part that have the first two."""
    found = [block(rows, one, end)[among(rows, part)] for end in ("value", "predicted", "baseline")]
    known = np.isfinite(found[0] + found[1])
    value, predicted, baseline = (column[known] for column in found)
    return value, predicted, baseline


def _classes(x: Array, y: Array) -> tuple[list[float], list[float]]:
    """Means of x and y in classes of about as many rows, whose x do not overlap."""
    edges = np.unique(np.quantile(x, np.linspace(0, 1, min(_CLASSES, len(x) // 10 + 1) + 1)))
    places = np.searchsorted(edges[1:-1], x, side="right")
    groups = [places == k for k in np.unique(places)]
    return [float(x[k].mean()) for k in groups], [float(y[k].mean()) for k in groups]
