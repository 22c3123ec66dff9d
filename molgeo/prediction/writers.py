"""Rows to text, one at a time: csv, json, jsonl and sdf for programs, tables for people.

Each but the table hands every row to the system before it takes the next; a table keeps a block of
rows back to lay them out.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol, TextIO

from molgeo.chem.mol_blocks import NO_ATOMS, sdf_record
from molgeo.prediction.cells import Outputs
from molgeo.prediction.columns import Row, plain
from molgeo.prediction.digits import Places, rounded, text
from molgeo.prediction.tables import TableWriter

FORMATS: Final = {
    "table": (".txt", "for people: a list for one molecule, columns for many"),
    "csv": (".csv", "comma-separated values with a header"),
    "tsv": (".tsv", "the same with tabs"),
    "json": (".json", "a list of objects"),
    "jsonl": (".jsonl", "an object per line"),
    "sdf": (".sdf", "structures as predicted, with all columns as fields"),
}
"""Format of output → ending of files, and what it is."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class Writer(Protocol):
    """Writes rows to an open text file."""

    def write(self, row: Row, block: str = "") -> None:
        """Write one row, or keep it until there are enough to lay out.

        Args:
            row: one value per column.
            block: the structure as a mol block, for a format that has structures.
        """

    def close(self) -> None:
        """Write what is kept, and the end."""


class CsvWriter:
    """Separated values with a header; an empty field where there is no value.

    Args:
        file: open for writing, without translation of line ends.
        columns: of the rows.
        digits: tells each number's digits after the point.
        raw: leave cells as they are that a spreadsheet takes for formulas.
        delimiter: what stands between two cells.
    """

    def __init__(
        self,
        file: TextIO,
        columns: Sequence[str],
        digits: Places,
        raw: bool = False,
        delimiter: str = ",",
    ) -> None:
        self._file = file
        self._columns = columns
        self._digits = digits
        self._safe = str if raw else inert
        self._delimiter = delimiter
        self._line([self._safe(name) for name in columns])

    def write(self, row: Row, block: str = "") -> None:
        """Write one line."""
        places = self._digits(row)
        cells = as_text(row, self._columns, places)
        texts = (name for name in self._columns if isinstance(row[name], str))
        self._line((cells | {name: self._safe(row[name]) for name in texts}).values())

    def _line(self, cells: Iterable[str]) -> None:
        """A lone carriage return is quoted only where it is a part of the line's end."""
        line = io.StringIO()
        csv.writer(line, delimiter=self._delimiter, lineterminator="\r\n").writerow(cells)
        self._file.write(line.getvalue()[:-2] + "\n")
        self._file.flush()

    def close(self) -> None:
        """Nothing is kept back."""


class JsonWriter:
    """A list of objects with one key per column; null where there is no value."""

    def __init__(self, file: TextIO, columns: Sequence[str], digits: Places) -> None:
        self._file = file
        self._columns = columns
        self._digits = digits
        self._before = "[\n"

    def write(self, row: Row, block: str = "") -> None:
        """Write one object."""
        self._file.write(self._before + _json(row, self._columns, self._digits))
        self._file.flush()
        self._before = ",\n"

    def close(self) -> None:
        """End the list, also after an error: what was written is valid."""
        self._file.write("\n]\n" if self._before == ",\n" else "[]\n")


class JsonLinesWriter:
    """One JSON object a line."""

    def __init__(self, file: TextIO, columns: Sequence[str], digits: Places) -> None:
        self._file = file
        self._columns = columns
        self._digits = digits

    def write(self, row: Row, block: str = "") -> None:
        """Write one line."""
        self._file.write(_json(row, self._columns, self._digits) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Nothing is kept back."""


class SdfWriter:
    """One record per row, with its columns as fields; a bad row is a record without atoms."""

    def __init__(self, file: TextIO, columns: Sequence[str], digits: Places) -> None:
        self._file = file
        self._columns = columns
        self._digits = digits

    def write(self, row: Row, block: str = "") -> None:
        """Write one record."""
        cells = as_text(row, self._columns, self._digits(row))
        self._file.write(sdf_record(block or NO_ATOMS, row["name"], cells))
        self._file.flush()

    def close(self) -> None:
        """Nothing is kept back."""


def writer(
    format: str,
    file: TextIO,
    columns: Sequence[str],
    outputs: Outputs,
    digits: Places,
    raw: bool = False,
) -> Writer:
    """The writer of a format.

    Args:
        format: one of `FORMATS`.
        file: open for writing.
        columns: of the rows.
        outputs: what is predicted, by its columns of values.
        digits: tells each number's digits after the point.
        raw: as in `CsvWriter`.
    """
    if format in ("csv", "tsv"):
        return CsvWriter(file, columns, digits, raw, "," if format == "csv" else "\t")
    if format == "table":
        return TableWriter(file, columns, outputs, digits)
    kinds: dict[str, Callable[[TextIO, Sequence[str], Places], Writer]]
    kinds = {"json": JsonWriter, "jsonl": JsonLinesWriter, "sdf": SdfWriter}
    return kinds[format](file, columns, digits)


def as_text(row: Row, columns: Sequence[str], places: Mapping[str, int | None]) -> dict[str, str]:
    """Column → cell, in the order of ``columns``; "" where there is no value."""
    cells = {}
    for name in columns:
        value = row[name]
        if isinstance(value, float):
            cells[name] = text(value, places.get(name))
        else:
            cells[name] = "" if value is None else str(value)
    return cells


def inert(cell: str) -> str:
    """A cell that a spreadsheet does not take for a formula: ``'`` before what would be one.

    Numbers stay as they are. See OWASP, *CSV injection*.
    """
    is_formula = cell.lstrip(" ").startswith(_FORMULA) and not _NUMBER.fullmatch(cell.strip())
    return f"'{cell}" if is_formula else cell


def _json(row: Row, columns: Sequence[str], digits: Places) -> str:
    places = digits(row)
    values = {}
    for name in columns:
        value = row[name]
        if isinstance(value, float):
            value = rounded(value, places.get(name)) if math.isfinite(value) else None
        values[name] = value
    return json.dumps(values, ensure_ascii=False, allow_nan=False, default=plain)
