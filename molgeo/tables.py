"""Rows laid out for people: one molecule as a list of its properties, many as a table.

On a terminal a wide table is split into panels that fit; into a pipe or a file it is plain, one
line a row, with at least two spaces between columns and ``-`` where there is no value. The model's
name stands below the table on a terminal, else in a column: every plain line is a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, TextIO

from molgeo.properties import ATOMIZATION, PROPERTIES, column

Row = dict[str, Any]

BLOCK: Final = 256
"""Rows that are laid out together; widths are those of the first block."""

_LABEL_WIDTH: Final = 32
_ERRORS: Final = ("_std", "_conformer_std")
"""What stands behind ± in a list: the standard error, else the spread over the conformers."""
_SUFFIXES: Final = (*_ERRORS, "_lowest", "_boltzmann", "_low90", "_high90")

_KNOWN: Final = {
    column(key): (PROPERTIES[key.removesuffix(ATOMIZATION)], key.endswith(ATOMIZATION))
    for name, known in PROPERTIES.items()
    for key in ([name, name + ATOMIZATION] if known.is_energy else [name])
}


class TableWriter:
    """A list for one molecule, a table for many.

    Args:
        file: where to write; its kind decides on colours and widths.
        columns: of the rows.
    """

    def __init__(self, file: TextIO, columns: Sequence[str]) -> None:
        from rich.console import Console

        self._file = file
        self._terminal = file.isatty()
        self._console = Console(file=file, highlight=False)
        self._columns = [name for name in columns if name in _KNOWN]
        self._others = [name for name in columns if name not in _KNOWN and _known(name)]
        self._rows: list[Row] = []
        self._widths: dict[str, int] = {}
        self._model = ""

    def write(self, row: Row) -> None:
        """Keep a row until a block is full."""
        self._model = row["model"]
        self._rows.append(row)
        if len(self._rows) == BLOCK:
            self._flush()

    def close(self) -> None:
        """Write what is kept."""
        if len(self._rows) == 1 and not self._widths:
            self._list(self._rows[0])
            return
        if self._rows:
            self._flush()
        if self._terminal and self._model:
            self._line(f"model: {self._model}", "dim")

    def _list(self, row: Row) -> None:
        """One molecule: its properties under each other."""
        self._line(_label(row), "bold")
        about = [
            row["formula"],
            f"{row['n_atoms']} atoms" if row["n_atoms"] else "",
            row["geometry"],
        ]
        self._line("  ".join(filter(None, [*about, row["model"]])))
        if row["status"] != "ok":
            self._line(f"error: {row['message']}", "bold")
            return
        lines = []
        for name in self._columns:
            known, is_atomization = _KNOWN[name]
            what = known.description
            if is_atomization:
                what = what.replace("total", "atomization")
            spread = next((row[name + s] for s in _ERRORS if row.get(name + s) is not None), None)
            value = _number(row[name]) + (f" ± {_number(spread)}" if spread is not None else "")
            symbol = known.symbol + (" at." if is_atomization else "")
            lines.append((what, symbol, value, known.unit))
        widths = [max(len(cells[k]) for cells in lines) for k in range(3)]
        for what, symbol, value, unit in lines:
            cells = (what.ljust(widths[0]), symbol.ljust(widths[1]), value.rjust(widths[2]), unit)
            self._line("  ".join(cells))

    def _flush(self) -> None:
        """Many molecules: one line each, in as many panels as the width asks for."""
        first = not self._widths
        names = [*self._columns, *self._others]
        rows = [
            {name: _number(row[name]) for name in names}
            | {"id": str(row["id"]), "molecule": _label(row)}
            | {"model": row["model"], "message": row["message"] or "-"}
            for row in self._rows
        ]
        if not self._terminal:
            names += ["model", "message"]
        if first:
            heads = ["id", "molecule", *names]
            self._widths = {h: max(len(h), *(len(row[h]) for row in rows)) for h in heads}
        for panel in self._panels(names):
            if first or self._terminal:
                self._line(self._cells(panel, {name: name for name in panel}), "bold")
            for row in rows:
                self._line(self._cells(panel, row))
            if self._terminal:
                self._line("")
        for row in self._rows:
            if row["status"] != "ok" and self._terminal:
                self._line(f"row {row['id']} ({_label(row)}): {row['message']}", wrap=True)
        self._rows = []
        self._file.flush()

    def _panels(self, names: list[str]) -> Iterator[list[str]]:
        """Groups of columns that fit side by side, each behind the molecule's label."""
        lead = ["id", "molecule"]
        room = self._console.width if self._terminal else 10**9
        panel, width = lead[:], sum(self._widths[name] + 2 for name in lead)
        for name in names:
            if len(panel) > len(lead) and width + self._widths[name] > room:
                yield panel
                panel, width = lead[:], sum(self._widths[lead_] + 2 for lead_ in lead)
            panel.append(name)
            width += self._widths[name] + 2
        yield panel

    def _cells(self, panel: list[str], row: dict[str, str]) -> str:
        return "  ".join(
            row[name].ljust(self._widths[name])
            if name in ("molecule", "model", "message")
            else row[name].rjust(self._widths[name])
            for name in panel
        )

    def _line(self, text: str, style: str = "", wrap: bool = False) -> None:
        """One line as it is: a SMILES is full of what a markup language would take for itself."""
        from rich.text import Text

        if not self._terminal:
            self._file.write(text.rstrip() + "\n")
            return
        self._console.print(Text(text, style), soft_wrap=not wrap)


def _known(name: str) -> bool:
    """Whether a column is about the conformers' values of a property."""
    return any(name.removesuffix(suffix) in _KNOWN for suffix in _SUFFIXES)


def _label(row: Row) -> str:
    """A short name for a molecule: what the user calls it, else what it is."""
    label = " ".join((row["name"] or row["smiles"] or row["input"]).split())
    return label if len(label) <= _LABEL_WIDTH else label[: _LABEL_WIDTH - 1] + "…"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
