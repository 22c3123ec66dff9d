"""Rows to text, one at a time: csv, json, jsonl and sdf for programs, tables for people.

Each but the table hands every row to the system before it takes the next; a table keeps a block of
rows back to lay them out.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from typing import Final, TextIO

from molgeo.chem.mol_blocks import NO_ATOMS, sdf_record
from molgeo.prediction.layout import Layout, Writer
from molgeo.prediction.rows import Row, plain
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


class CsvWriter(Writer):
    """Comma-separated values with a header; an empty field if there is no value."""

    delimiter = ","

    def __init__(self, file: TextIO, layout: Layout) -> None:
        super().__init__(file, layout)
        self._safe = str if layout.raw else inert
        self._line(map(self._safe, layout.columns))

    def write(self, row: Row, block: str = "") -> None:
        """Write one line."""
        cells = self.layout.cells(row)
        self._line(
            self._safe(cell) if isinstance(row[name], str) else cell for name, cell in cells.items()
        )

    def _line(self, cells: Iterable[str]) -> None:
        """A lone carriage return is quoted only if it is a part of the line's end."""
        line = io.StringIO()
        csv.writer(line, delimiter=self.delimiter, lineterminator="\r\n").writerow(cells)
        self.put(line.getvalue()[:-2] + "\n")


class TsvWriter(CsvWriter):
    """The same with tabs."""

    delimiter = "\t"


class JsonLinesWriter(Writer):
    """An object per line."""

    def write(self, row: Row, block: str = "") -> None:
        """Write one line."""
        self.put(self._object(row) + "\n")

    def _object(self, row: Row) -> str:
        values = self.layout.json_values(row)
        return json.dumps(values, ensure_ascii=False, allow_nan=False, default=plain)


class JsonWriter(JsonLinesWriter):
    """A list of objects."""

    _lead = "[\n"

    def write(self, row: Row, block: str = "") -> None:
        """Write one object."""
        self.put(self._lead + self._object(row))
        self._lead = ",\n"

    def close(self) -> None:
        """End the list."""
        self.put("[]\n" if self._lead == "[\n" else "\n]\n")


class SdfWriter(Writer):
    """One record per row, with its columns as fields; a bad row is a record without atoms."""

    def write(self, row: Row, block: str = "") -> None:
        """Write one record."""
        self.put(sdf_record(block or NO_ATOMS, row["name"], self.layout.cells(row)))


WRITERS: Final[dict[str, type[Writer]]] = {
    "table": TableWriter,
    "csv": CsvWriter,
    "tsv": TsvWriter,
    "json": JsonWriter,
    "jsonl": JsonLinesWriter,
    "sdf": SdfWriter,
}


def inert(cell: str) -> str:
    """A cell that a spreadsheet does not take for a formula: ``'`` before what would be one.

    Numbers stay as they are. See OWASP, *CSV injection*.
    """
    is_formula = cell.lstrip(" ").startswith(_FORMULA) and not _NUMBER.fullmatch(cell.strip())
    return f"'{cell}" if is_formula else cell
