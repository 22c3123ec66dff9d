"""The CSV log of a run, which Lightning writes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

LOG: Final = Path("log") / "metrics.csv"
"""Of a run, in its folder."""


def logged(log: Path) -> list[dict[str, str]]:
    """Rows of a run's CSV log; none if there is no log."""
    if not log.exists():
        return []
    with log.open(newline="") as file:
        return list(csv.DictReader(file))


def validations(log: Path) -> list[dict[str, str]]:
    """Rows of a run's CSV log that are validations; none if there is no log."""
    return [row for row in logged(log) if row.get("val_loss")]


def validation_curve(log: Path, most: int = 12) -> list[tuple[int, float]]:
    """Step and loss of a run's validations, of many some that lie evenly, the last among them.

    Args:
        log: the run's CSV log; without one there is no curve.
        most: validations to keep.
    """
    rows = validations(log)
    every = max(1, -(-len(rows) // most))
    kept = rows[::-1][::every][::-1]
    return [(int(row["step"]) + 1, float(row["val_loss"])) for row in kept]
