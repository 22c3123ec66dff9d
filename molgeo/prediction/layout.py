"""What rows are written as, and what all writers of rows have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TextIO

from molgeo.prediction.digits import Places, rounded, text
from molgeo.prediction.rows import SUFFIXES, Row
from molgeo.properties import Property


@dataclass(frozen=True)
class Layout:
    """What rows are written as.

    Attributes:
        columns: of the rows.
        outputs: what is predicted, by the columns of its values.
        digits: tells each number's digits after the point.
        raw: leave cells of csv as they are that a spreadsheet takes for formulas.
    """

    columns: Sequence[str]
    outputs: Mapping[str, Property]
    digits: Places
    raw: bool = False

    @cached_property
    def numbers(self) -> list[str]:
        """Columns that hold predicted numbers."""
        predicted = {name + suffix for name in self.outputs for suffix in SUFFIXES}
        return [name for name in self.columns if name in predicted]

    def cells(self, row: Row) -> dict[str, str]:
        """Column → cell; "" if there is no value."""
        places = self.digits(row)
        cells = {}
        for name in self.columns:
            value = row[name]
            if isinstance(value, float):
                cells[name] = text(value, places.get(name))
            else:
                cells[name] = "" if value is None else str(value)
        return cells

    def values(self, row: Row) -> dict[str, Any]:
        """Column → value as JSON has it; None if there is no finite number."""
        places = self.digits(row)
        values = {}
        for name in self.columns:
            value = row[name]
            if isinstance(value, float):
                value = rounded(value, places.get(name)) if math.isfinite(value) else None
            values[name] = value
        return values


class Writer:
    """Writes rows to an open text file.

    Args:
        file: open for writing, without translation of line ends.
        layout: what rows are written as.
    """

    def __init__(self, file: TextIO, layout: Layout) -> None:
        self.file, self.layout = file, layout

    def write(self, row: Row, block: str = "") -> None:
        """Write one row, or keep it until there are enough to lay out.

        Args:
            row: one value per column.
            block: the structure as a mol block, for a format that has structures.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Write what is kept, and the end."""

    def put(self, text: str) -> None:
        """Hand text to the system."""
        self.file.write(text)
        self.file.flush()
