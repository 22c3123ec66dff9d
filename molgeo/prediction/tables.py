"""Rows laid out for people: one molecule as a list of its properties, many as a table.

On a terminal a value and its error share a column, and a wide table is split into panels that fit;
into a pipe or a file it is plain: one line per row, one column per number, with at least two spaces
between columns and ``-`` where there is no value. The models stand below the table on a terminal,
else in a column: every plain line is a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TextIO

from molgeo.prediction.cells import (
    MESSAGE_WIDTH,
    Outputs,
    aligned,
    error_column,
    label,
    number_columns,
    numbers,
)
from molgeo.prediction.columns import Row
from molgeo.prediction.digits import Places
from molgeo.prediction.property_list import property_list
from molgeo.runtime.plain_text import one_line

BLOCK: Final = 256
"""Rows that are laid out together; widths are those of the first block."""

_LEFT: Final = ("molecule", "model", "message")
"""Columns of text; all others are aligned at their points."""

Cells = dict[str, str]


class TableWriter:
    """A list for one molecule, a table for many.

    Args:
        file: where to write; its kind decides on colours and widths.
        columns: of the rows.
        outputs: what is predicted, by its columns of values.
        digits: tells each number's digits after the point.
    """

    def __init__(
        self, file: TextIO, columns: Sequence[str], outputs: Outputs, digits: Places
    ) -> None:
        from rich.console import Console

        self._file = file
        self._columns = columns
        self._outputs = outputs
        self._digits = digits
        self._terminal = file.isatty()
        self._console = Console(file=file, highlight=False)
        self._room = self._console.width if self._terminal else 10**9
        self._rows: list[Row] = []
        self._widths: dict[str, int] = {}
        self._models: dict[str, None] = {}

    def write(self, row: Row, block: str = "") -> None:
        """Keep a row until a block is full."""
        self._models[row["model"]] = None
        self._rows.append(row)
        if len(self._rows) == BLOCK:
            self._flush()

    def close(self) -> None:
        """Write what is kept."""
        if len(self._rows) == 1 and not self._widths:
            lines = property_list(
                self._rows[0], self._columns, self._outputs, self._digits, self._room
            )
            for k, line in enumerate(lines):
                self._line(line, "bold" if k == 0 else "")
            return
        if self._rows:
            self._flush()
        if self._terminal and self._models:
            self._line(f"model: {one_line(', '.join(self._models))}", "dim")

    def _flush(self) -> None:
        """Many molecules: one line each, in as many panels as the width asks for."""
        names = number_columns(self._columns, self._outputs)
        rows = [self._cells(row, names) for row in self._rows]
        if self._terminal:
            names = _beside(names, rows, self._outputs)
        else:
            names += ["model", "message"]
        heads = ["id", "molecule", *names]
        for name in heads:
            if name not in _LEFT and not (self._terminal and name in self._outputs):
                for row, cell in zip(rows, aligned([row[name] for row in rows]), strict=True):
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
            for failed in (row for row in self._rows if row["status"] != "ok"):
                message = one_line(failed["message"], MESSAGE_WIDTH)
                self._line(f"row {failed['id']} ({label(failed)}): {message}")
        self._rows = []
        self._file.flush()

    def _cells(self, row: Row, names: Sequence[str]) -> Cells:
        return {
            "id": str(row["id"]),
            "molecule": label(row),
            "model": one_line(row["model"]) or "-",
            "message": one_line(row["message"], MESSAGE_WIDTH) or "-",
            **numbers(row, names, self._digits),
        }

    def _panels(self, names: list[str]) -> Iterator[list[str]]:
        """Groups of columns that fit side by side, each behind the molecule's label."""
        lead = ["id", "molecule"]
        panel, width = lead[:], sum(self._widths[name] + 2 for name in lead)
        for name in names:
            if len(panel) > len(lead) and width + self._widths[name] > self._room:
                yield panel
                panel, width = lead[:], sum(self._widths[lead_] + 2 for lead_ in lead)
            panel.append(name)
            width += self._widths[name] + 2
        yield panel

    def _joined(self, panel: list[str], row: Cells) -> str:
        return "  ".join(
            row[name].ljust(self._widths[name])
            if name in _LEFT
            else row[name].rjust(self._widths[name])
            for name in panel
        )

    def _line(self, text: str, style: str = "") -> None:
        """One line as it is: a SMILES is full of what a markup language would take for itself."""
        from rich.text import Text

        if not self._terminal:
            self._file.write(text.rstrip() + "\n")
            return
        self._console.print(Text(text.rstrip(), style))


def _beside(names: list[str], rows: list[Cells], outputs: Outputs) -> list[str]:
    """Put errors beside their values; what columns are left."""
    used = set()
    for name in (name for name in names if name in outputs):
        of = error_column(name, names)
        values = aligned([row[name] for row in rows])
        errors = aligned([row[of] if of and row[of] != "-" else "" for row in rows])
        for row, value, own in zip(rows, values, errors, strict=True):
            row[name] = f"{value} ± {own}" if own.strip() else value
        used.add(of)
    return [name for name in names if name not in used]
