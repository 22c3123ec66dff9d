"""Which columns an output has, and how many digits of a number mean something.

Of an error two digits are kept, and of a value the digits down to the error's last one. The error
is the row's own standard error; if it has none, the mean absolute error that was measured of the
model on its test molecules; if there is none either, the value keeps all its digits.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TextIO

from molgeo.prediction.rows import STD, SUFFIXES, VALUES, Row
from molgeo.predictor.header import Facts
from molgeo.properties import Property

Places = Callable[[Row], Mapping[str, int | None]]
"""Tells the digits after the point of each column's number, as `Digits` does; None for all."""


def decimals(error: float | None) -> int | None:
    """Digits after the point of numbers that are uncertain by ``error``; None for all of them."""
    if error is None or not math.isfinite(error) or error <= 0:
        return None
    return max(0, 1 - math.floor(math.log10(float(f"{error:.1e}"))))


def rounded(value: float, places: int | None) -> float:
    """A number to so many digits after the point that a float holds; None for all of them."""
    return value if places is None else round(value, _held(value, places)) + 0.0  # no −0.0


def text(value: float, places: int | None) -> str:
    """The same as text, with zeros at the end if they are digits."""
    return repr(value) if places is None else f"{rounded(value, places):.{_held(value, places)}f}"


def behind(value: str, error: str, of: Property) -> str:
    """What stands behind a value: ``± 0.14``, or ``(0 … 0.20)`` if ± would leave its range.

    Args:
        value: as text.
        error: its standard error as text; "" if there is none.
        of: the property.
    """
    if not (value and error):
        return ""
    low, high = float(value) - float(error), float(value) + float(error)
    if of.minimum <= low and high <= of.maximum:
        return f"± {error}"
    places = len(value.partition(".")[2])
    left = f"{of.minimum:g}" if low < of.minimum else f"{low:.{places}f}"
    right = f"{of.maximum:g}" if high > of.maximum else f"{high:.{places}f}"
    return f"({left} … {right})"


def _held(value: float, places: int) -> int:
    """Digits after the point without those beyond the 15 that any float holds."""
    if not value or not math.isfinite(value):
        return min(places, sys.float_info.dig)
    return max(0, min(places, sys.float_info.dig - 1 - math.floor(math.log10(abs(value)))))


def _rounded_away(row: Row, one: Property, digits: int) -> Iterator[str]:
    """Columns of values that would be rounded out of the range of their property."""
    for suffix in VALUES:
        value = row.get(one.column + suffix)
        if value is not None and not one.minimum <= rounded(value, digits) <= one.maximum:
            yield one.column + suffix


class Digits:
    """Digits after the point of every number of a row.

    Args:
        outputs: properties and atomization energies.
        headers: of the checkpoints of the models, by their names.
    """

    def __init__(self, outputs: Iterable[Property], headers: Mapping[str, Facts]) -> None:
        self._outputs = {one.column: one for one in outputs}
        self._headers = headers

    def __call__(self, row: Row) -> dict[str, int | None]:
        """Column → digits after the point; None for all of them."""
        places: dict[str, int | None] = {}
        for name, one in self._outputs.items():
            error = row.get(name + STD)
            digits = decimals(self._measured(one, row) if error is None else error)
            places |= {name + suffix: digits for suffix in SUFFIXES}
            if digits is not None and one.is_bounded:
                places |= dict.fromkeys(_rounded_away(row, one, digits))
        return places

    def _measured(self, one: Property, row: Row) -> float | None:
        """Error of the row's model on its test molecules, at geometries most like the row's."""
        header = self._headers.get(row["model"], Facts())
        is_given = row["geometry"].startswith("given")
        errors = header.metrics if is_given or not header.from_smiles.mae else header.from_smiles
        return errors.mae.get((one.total or one).column)


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
    def number_columns(self) -> list[str]:
        """Columns that hold predicted numbers."""
        predicted = {name + suffix for name in self.outputs for suffix in SUFFIXES}
        return [name for name in self.columns if name in predicted]

    def cells(self, row: Row) -> dict[str, str]:
        """Column → cell; "" if there is no value."""
        places = self.digits(row)
        return {name: _cell(row[name], places.get(name)) for name in self.columns}

    def json_values(self, row: Row) -> dict[str, Any]:
        """Column → value as JSON has it; None if there is no finite number."""
        places = self.digits(row)
        return {name: _value(row[name], places.get(name)) for name in self.columns}


def _cell(value: Any, places: int | None) -> str:
    if isinstance(value, float):
        return text(value, places)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _value(value: Any, places: int | None) -> Any:
    if isinstance(value, float):
        return rounded(value, places) if math.isfinite(value) else None
    return value


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
