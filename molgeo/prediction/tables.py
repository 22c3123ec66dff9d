"""Rows laid out for people: one molecule as a list of its properties, many as a table.

On a terminal a value and its error share a column, and a wide table is split into panels that fit;
so it is into a pipe if ``COLUMNS`` says how wide it is. Into other pipes and into files the table
is plain: one line per row, one column per number, with at least two spaces between columns and
``-`` if there is no value. The models stand below the table on a terminal, else in a column: every
plain line is a row.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Final, TextIO

from molgeo.prediction.layout import Layout, Writer, behind, text
from molgeo.prediction.rows import INTERVAL_COLUMNS, STD, Row
from molgeo.properties import Property
from molgeo.runtime.plain_text import one_line

BLOCK: Final = 256
"""Rows that are laid out together; widths are those of the first block."""

_LEFT: Final = ("molecule", "domain", "model", "message")
"""Columns of text; all others are aligned at their points."""

MARK: Final = " !"
"""Behind the label of a molecule outside the model's domain."""

_LABEL_WIDTH: Final = 32
_MESSAGE_WIDTH: Final = 1000

_ERRORS: Final = (STD, "_conformer_std")
"""The error of a value: the standard error, else the spread over the conformers."""

_UNKNOWN_ERROR: Final = 4
"""Digits after the point of a value whose error nobody has measured."""

Cells = dict[str, str]


class TableWriter(Writer):
    """A list for one molecule, a table for many; the kind of file decides on colours and widths."""

    def __init__(self, file: TextIO, layout: Layout) -> None:
        from rich.console import Console

        super().__init__(file, layout)
        has_width = file is sys.stdout and os.environ.get("COLUMNS", "").isdecimal()
        self._terminal = file.isatty() or has_width
        self._console = Console(file=file, highlight=False)
        self._room = self._console.width if self._terminal else 10**9
        self._rows: list[Row] = []
        self._widths: dict[str, int] = {}
        self._models: dict[str, None] = {}

    def write(self, row: Row, block: str = "") -> None:
        """Keep a row until a block is full."""
        level = row["level_of_theory"]
        self._models[f"{row['model']} ({level})" if level else row["model"]] = None
        self._rows.append(row)
        if len(self._rows) == BLOCK:
            self._flush()

    def close(self) -> None:
        """Write what is kept."""
        if len(self._rows) == 1 and not self._widths:
            for k, line in enumerate(property_list(self._rows[0], self.layout, self._room)):
                self._line(line, "bold" if k == 0 else "")
            return
        if self._rows:
            self._flush()
        if self._terminal and self._models:
            self._line(f"model: {one_line(', '.join(self._models))}", "dim")

    def _flush(self) -> None:
        """Many molecules: one line each, in as many panels as the width asks for."""
        names = self.layout.number_columns
        rows = [self._cells(row, names) for row in self._rows]
        names = (
            self._beside(names, rows) if self._terminal else [*names, "domain", "model", "message"]
        )
        heads = ["id", "molecule", *names]
        for name in heads:
            if name not in _LEFT and not (self._terminal and name in self.layout.outputs):
                for row, cell in zip(rows, _aligned([row[name] for row in rows]), strict=True):
                    row[name] = cell
        first = not self._widths
        if first:
            self._widths = {h: max(len(h), *(len(row[h]) for row in rows)) for h in heads}
        for panel in self._panels(names):
            if first or self._terminal:
                self._line(self._joined(panel, {name: name for name in panel}), "bold")
            for row in rows:
                self._line(self._joined(panel, row))
            if self._terminal:
                self._line("")
        if self._terminal:
            for row in self._rows:
                if said := _said(row):
                    self._line(f"row {row['id']} ({_label(row)}): {said}")
        self._rows = []
        self.file.flush()

    def _cells(self, row: Row, names: Sequence[str]) -> Cells:
        return {
            "id": str(row["id"]),
            "molecule": _label(row) + (MARK if row["in_domain"] is False else ""),
            "domain": {True: "inside", False: "outside"}.get(row["in_domain"], "-"),
            "model": one_line(row["model"]) or "-",
            "message": one_line(row["message"] or row["domain_reason"], _MESSAGE_WIDTH) or "-",
            **_numbers(row, names, self.layout),
        }

    def _beside(self, names: list[str], rows: list[Cells]) -> list[str]:
        """Put errors beside their values; what columns are left."""
        used = set()
        for name in (name for name in names if name in self.layout.outputs):
            values = _aligned([row[name] for row in rows])
            one = self.layout.outputs[name]
            errors = _behind([(row[name], _error(name, row), one) for row in rows])
            for row, value, own in zip(rows, values, errors, strict=True):
                row[name] = f"{value} {own}" if own else value
            used.add(_error_column(name, names))
        return [name for name in names if name not in used]

    def _panels(self, names: list[str]) -> Iterator[list[str]]:
        """Groups of columns that fit side by side, each behind the molecule's label."""
        lead = ["id", "molecule"]
        panel = list(lead)
        for name in names:
            width = sum(self._widths[one] + 2 for one in panel) + self._widths[name]
            if len(panel) > len(lead) and width > self._room:
                yield panel
                panel = list(lead)
            panel.append(name)
        yield panel

    def _joined(self, panel: list[str], row: Cells) -> str:
        sides = (str.ljust if name in _LEFT else str.rjust for name in panel)
        cells = zip(panel, sides, strict=True)
        return "  ".join(side(row[name], self._widths[name]) for name, side in cells)

    def _line(self, text: str, style: str = "") -> None:
        """One line as it is: a SMILES is full of what a markup language would take for itself."""
        from rich.text import Text

        if not self._terminal:
            self.file.write(text.rstrip() + "\n")
            return
        self._console.print(Text(text.rstrip(), style))


def property_list(row: Row, layout: Layout, room: int) -> Iterator[str]:
    """Lines of text: what the molecule is, then a line per property, or why there are none.

    Args:
        row: one row of output.
        layout: of the row.
        room: characters of a line. If they are too few, symbols go, then descriptions.
    """
    yield _label(row)
    atoms = f"{row['n_atoms']} atoms" if row["n_atoms"] else ""
    origin = map(one_line, (row["geometry"], row["model"], row["level_of_theory"]))
    yield "  ".join(filter(None, [row["formula"], atoms, *origin]))
    if row["status"] != "ok":
        yield f"error: {one_line(row['message'], _MESSAGE_WIDTH)}"
        return
    if said := _said(row):
        yield said
    cells = _numbers(row, layout.number_columns, layout)
    names = [name for name in layout.number_columns if name in layout.outputs]
    known = [layout.outputs[name] for name in names]
    whats = [one.description or one.name for one in known]
    symbols = [one.symbol for one in known]
    # A property of someone's own may have no other symbol than its name.
    beside = ["" if symbol in whats else symbol for symbol in symbols]
    errors = [(cells[name], _error(name, cells), layout.outputs[name]) for name in names]
    figures = [
        _aligned([cells[name] for name in names]),
        _behind(errors),
        [one.unit for one in known],
        [_interval(name, cells) for name in names],
    ]
    for about in ([whats, beside], [whats], [symbols]):
        lines = list(_side_by_side([*about, *figures]))
        if max(map(len, lines)) <= room:
            break
    yield from lines


def _said(row: Row) -> str:
    """What there is to say of a row beside its numbers, "" for nothing."""
    if row["status"] != "ok":
        return one_line(row["message"], _MESSAGE_WIDTH)
    if row["in_domain"]:
        return ""
    return f"outside the domain: {one_line(row['domain_reason'], _MESSAGE_WIDTH)}"


def _error(name: str, cells: Cells) -> str:
    """The error of a value, "" if there is none."""
    of = _error_column(name, list(cells))
    return "" if of is None or cells[of] == "-" else cells[of]


def _behind(parts: Sequence[tuple[str, str, Property]]) -> list[str]:
    """What stands behind each value of a column, of one width; from value, error and property."""
    found = [behind(*one) for one in parts]
    usual = _aligned([one.removeprefix("± ") if one.startswith("±") else "" for one in found])
    lines = [f"± {own}" if own.strip() else one for own, one in zip(usual, found, strict=True)]
    width = max(map(len, lines), default=0)
    return [line.ljust(width) for line in lines]


def _interval(name: str, cells: Cells) -> str:
    low, high = (cells.get(name + suffix, "-") for suffix in INTERVAL_COLUMNS)
    return "" if "-" in (low, high) else f"90%: {low} … {high}"


def _side_by_side(columns: list[list[str]]) -> Iterator[str]:
    """Lines of columns with two spaces between them; empty columns are left out."""
    columns = [cells for cells in columns if any(cell.strip() for cell in cells)]
    widths = [max(map(len, cells)) for cells in columns]
    for line in zip(*columns, strict=True):
        yield "  ".join(map(str.ljust, line, widths)).rstrip()


def _numbers(row: Row, columns: Sequence[str], layout: Layout) -> Cells:
    """Column → number as text, ``-`` if there is none."""
    cells, places = {}, layout.digits(row)
    for name in columns:
        value, known = row.get(name), places.get(name)
        digits = _UNKNOWN_ERROR if known is None else known
        cells[name] = "-" if value is None else text(value, digits)
    return cells


def _error_column(name: str, names: Sequence[str]) -> str | None:
    """The column with the error of a value's column, if there is one."""
    return next((name + suffix for suffix in _ERRORS if name + suffix in names), None)


def _label(row: Row) -> str:
    """A short name for a molecule: what the user calls it, else what it is."""
    called = one_line(row["name"] or row["smiles"] or row["input"])
    return called if len(called) <= _LABEL_WIDTH else called[: _LABEL_WIDTH - 1] + "…"


def _aligned(cells: Sequence[str]) -> list[str]:
    """Numbers of one column with their points below each other."""
    parts = [cell.partition(".") for cell in cells]
    before = max((len(head) for head, _, _ in parts), default=0)
    after = max((len(point + tail) for _, point, tail in parts), default=0)
    return [head.rjust(before) + (point + tail).ljust(after) for head, point, tail in parts]
