"""Cells of a table for people: labels, numbers with the digits that mean something, alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from molgeo.prediction.columns import STD, SUFFIXES, Row
from molgeo.prediction.digits import Places, text
from molgeo.properties import Property
from molgeo.runtime.plain_text import one_line

LABEL_WIDTH: Final = 32
MESSAGE_WIDTH: Final = 1000

_ERRORS: Final = (STD, "_conformer_std")
"""What stands behind ±: the standard error, else the spread over the conformers."""

_UNKNOWN_ERROR: Final = 4
"""Digits after the point of a value whose error nobody has measured."""

Outputs = Mapping[str, Property]
"""Column of values → the property, or the atomization energy."""


def number_columns(columns: Sequence[str], outputs: Outputs) -> list[str]:
    """Those of a row's columns that hold predicted numbers."""
    with_numbers = {name + suffix for name in outputs for suffix in SUFFIXES}
    return [name for name in columns if name in with_numbers]


def numbers(row: Row, columns: Sequence[str], digits: Places) -> dict[str, str]:
    """Column → number as text, ``-`` if there is none."""
    places = digits(row)
    cells = {}
    for name in columns:
        value, known = row.get(name), places.get(name)
        cells[name] = (
            "-" if value is None else text(value, _UNKNOWN_ERROR if known is None else known)
        )
    return cells


def error_column(name: str, names: Sequence[str]) -> str | None:
    """The column with the error of a value's column, if there is one."""
    return next((name + suffix for suffix in _ERRORS if name + suffix in names), None)


def label(row: Row) -> str:
    """A short name for a molecule: what the user calls it, else what it is."""
    called = one_line(row["name"] or row["smiles"] or row["input"])
    return called if len(called) <= LABEL_WIDTH else called[: LABEL_WIDTH - 1] + "…"


def aligned(cells: Sequence[str]) -> list[str]:
    """Numbers of one column with their points below each other."""
    parts = [cell.partition(".") for cell in cells]
    before = max((len(head) for head, _, _ in parts), default=0)
    after = max((len(point + tail) for _, point, tail in parts), default=0)
    return [head.rjust(before) + (point + tail).ljust(after) for head, point, tail in parts]
