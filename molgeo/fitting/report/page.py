"""The page of a fit: whether the model is worth having, where it errs, and what its bars hold."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from molgeo.evaluation.report.page import number, worst
from molgeo.fitting.outcome import (
    BASELINES,
    FOLDS,
    PREDICTORS,
    WAYS,
    FitTarget,
    Outcome,
    among,
    block,
)
from molgeo.fitting.report import figures
from molgeo.pages.drawing import drawing
from molgeo.pages.figures import svg
from molgeo.pages.page import render, write

WORST: Final = 10
"""Molecules that are drawn of each target."""

FAMILIES: Final = 12
"""Scaffolds that are listed, those of most held-out rows."""

_SIZE: Final = (4.6, 3.6)

_PARTS: Final = {
    "test": "test rows{way}: no model saw them",
    FOLDS: "rows of the folds{way}: each predicted without its fold",
    "scaffold": "rows held out by scaffold: of scaffolds that are new to a model",
    "random": "rows held out at random: of scaffolds that a model may know",
    "validation": "validation rows: training was stopped by them",
    "train": "training rows: the model saw them",
}
_NAMES: Final = {
    "model": "3D model",
    "mean": "mean of the training rows",
}
_SCORES: Final = {
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R²",
    "spearman": "Spearman ρ",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "accuracy": "accuracy",
    "log_loss": "log loss",
}


def write_page(path: Path, outcome: Outcome) -> None:
    """Write the page of a fit.

    Args:
        path: ``.html``, replaced.
        outcome: of the fit.

    Raises:
        InputError: the page cannot be written.
    """
    summary = outcome.summary
    about = {name: str(text) for name, text in summary["about"].items()}
    error = about.pop("validation_error", "error on the rows that a member lacks")
    steps = about.pop("steps", "step")
    history = outcome.history
    has_history = {"member", "step"} <= set(history) and len(history)
    sections = [_section(one, outcome) for one in outcome.targets]
    page = render(
        "molgeo.fitting.report",
        "fit.html",
        title=", ".join(one.name for one in outcome.targets),
        verdicts=outcome.verdicts,
        notes=summary["notes"],
        about=list(about.items()),
        learning=svg(lambda axes: figures.learning(axes, history, error, steps), (9.2, 3.0))
        if has_history
        else "",
        sections=sections,
        has_bars=any(one["has_bars"] for one in sections),
    )
    write(path, page)


def _section(one: FitTarget, outcome: Outcome) -> dict[str, Any]:
    """All that is told of a target."""
    rows, errors = outcome.rows, outcome.summary["errors"][one.column]
    names = {**_NAMES, "baseline": outcome.summary["baseline"]}
    scores = next((list(told["model"]) for told in errors.values()), [])
    part = outcome.summary["verdict"][one.column]["part"]
    return {
        "one": one,
        "baseline": outcome.summary["baseline"],
        "learns": BASELINES[outcome.summary["baseline"]],
        "scores": [_SCORES[name] for name in scores],
        "has_bars": any("within90" in told for told in errors.values()),
        "lines": [
            line
            for name in _PARTS
            if name in errors
            for line in _lines(_where(name, outcome), errors[name], scores, names)
        ],
        "figures": _figures(rows, one, names["baseline"]) if part else [],
        "families": _families(rows, one),
        "worst": [_bad(rows.loc[k], one) for k in _worst(rows, one)],
        "worst_of": _where(part, outcome) if part else "",
        "has_both": bool(set(WAYS) & set(errors)),
    }


def _where(part: str, outcome: Outcome) -> str:
    """What rows of a part are, in words."""
    way = outcome.summary["ways"].get(part, "")
    return _PARTS[part].format(way=f", {way}" if way else "")


def _lines(
    where: str, told: Mapping[str, Any], scores: list[str], names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """A part's lines of the table: one for each predictor."""
    held = f"{told['within90']:.0%}" if "within90" in told else ""
    width = number(told.get("width90")) if "width90" in told else ""
    return [
        {
            "part": where if name == "model" else "",
            "n": f"{told['n']:,}" if name == "model" else "",
            "name": names[name],
            "cells": [number(told[name][score]) for score in scores],
            "bars": [held, width] if name == "model" else ["", ""],
        }
        for name in PREDICTORS
        if name in told
    ]


def _figures(rows: pd.DataFrame, one: FitTarget, baseline: str) -> list[tuple[str, str]]:
    """Titles and figures of a target."""
    has_baseline = bool(np.isfinite(block(rows, one, "baseline")).any())
    draws: dict[str, Any]
    if one.classes:
        part = max(figures.KINDS, key=lambda part: int(among(rows, part).sum()))
        name = figures.KINDS[part][1]
        draws = {
            f"Classes told apart, {name}": partial(figures.roc, part=part),
            f"Probabilities, {name}": partial(figures.reliability, part=part),
        }
    else:
        draws = {"3D model": partial(figures.parity, end="predicted")}
        if has_baseline:
            draws[baseline] = partial(figures.parity, end="baseline")
        if figures.has_bars(rows, one):
            draws["Calibration of the bars"] = figures.calibration
    draws["Errors by size"] = figures.by_size
    return [
        (title, svg(partial(_drawn, draw=draw, rows=rows, one=one), _SIZE))
        for title, draw in draws.items()
    ]


def _drawn(axes: Any, draw: Any, rows: pd.DataFrame, one: FitTarget) -> None:
    draw(axes, rows, one)


def _families(rows: pd.DataFrame, one: FitTarget) -> list[dict[str, str]]:
    """Errors by scaffold, of the scaffolds with most held-out rows."""
    errors = block(rows, one, "predicted") - block(rows, one, "value")
    theirs = np.abs(block(rows, one, "baseline") - block(rows, one, "value"))
    names = rows["scaffold"].fillna("").astype(str)
    is_in = (among(rows, "test") | among(rows, FOLDS)) & np.isfinite(errors) & (names != "")
    found = []
    for name, n in names[is_in].value_counts().head(FAMILIES).items():
        own = np.asarray(is_in & (names == name))
        baseline = float(theirs[own].mean())
        found.append(
            {
                "drawing": drawing(str(name)) if ": " not in str(name) else "",
                "name": str(name),
                "n": f"{n:,}",
                "bias": f"{errors[own].mean():+.2g}",
                "mae": number(float(np.abs(errors[own]).mean())),
                "baseline": number(baseline if np.isfinite(baseline) else None),
            }
        )
    return found


def _worst(rows: pd.DataFrame, one: FitTarget) -> list[int]:
    """Held-out rows with the largest errors: of the test part, or of the folds without one."""
    errors = block(rows, one, "predicted") - block(rows, one, "value")
    is_in = among(rows, "test")
    is_in = is_in if (is_in & np.isfinite(errors)).any() else among(rows, FOLDS)
    return [int(k) for k in worst(np.where(is_in, errors, np.nan), WORST)]


def _bad(row: pd.Series, one: FitTarget) -> dict[str, str]:
    """A molecule that is drawn."""
    value, predicted, std, baseline = (
        float(row[f"{one.column}_{end}"]) for end in ("value", "predicted", "std", "baseline")
    )
    reason = str(row["domain_reason"]) if isinstance(row["domain_reason"], str) else ""
    return {
        "drawing": drawing(str(row["smiles"])),
        "smiles": str(row["smiles"]),
        "input": str(row["name"] or row["input"]),
        "value": one.classes[int(value)] if one.classes else f"{value:.4g}",
        "predicted": f"{predicted:.4g}" + (f" ± {std:.2g}" if np.isfinite(std) else ""),
        "baseline": f"{baseline:.4g}" if np.isfinite(baseline) else "",
        "reason": reason,
    }
