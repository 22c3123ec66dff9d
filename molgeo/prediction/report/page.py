"""The page of a run of predictions: a table of all rows, their structures and histograms.

Rows are text as the csv has it. Drawings and structures are compressed by the block, and a browser
unpacks the blocks that it shows, so that a page of some thousand rows opens at once. Both have a
bound in bytes, and the page says what it left out.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from molgeo.pages.drawing import drawing
from molgeo.pages.figures import BLUE, ORANGE, svg
from molgeo.pages.page import packed, render
from molgeo.prediction.layout import Layout, behind
from molgeo.prediction.rows import INTERVAL_COLUMNS, STD, Row
from molgeo.prediction.summary import Tally
from molgeo.prediction.writers import inert
from molgeo.properties import Property

MOST_OF_ROWS: Final = 8_000_000
"""Characters of the table's rows: some 10,000 rows of twelve properties."""

MOST_OF_DRAWINGS: Final = 10_000_000
"""Characters of packed drawings and structures: some 5,000 drugs."""

ROWS_OF_A_BLOCK: Final = 20
"""Rows whose drawings and structures are packed together."""

BINS: Final = 40
"""Bars of a histogram."""


class RowPage:
    """Takes rows one at a time, and makes the page of them.

    Args:
        about: names and values that say what was run.
        layout: of the rows.
        most_of_rows: as `MOST_OF_ROWS`.
        most_of_drawings: as `MOST_OF_DRAWINGS`.
    """

    def __init__(
        self,
        about: Sequence[tuple[str, str]],
        layout: Layout,
        most_of_rows: int = MOST_OF_ROWS,
        most_of_drawings: int = MOST_OF_DRAWINGS,
    ) -> None:
        self._about, self._layout = about, layout
        self._room, self._room_of_drawings = most_of_rows, most_of_drawings
        self._outputs = [name for name in layout.columns if name in layout.outputs]
        self._rows: list[list[Any]] = []
        self._inert: list[tuple[int, int]] = []
        self._blocks: list[str] = []
        self._block: list[list[str]] = []
        self._n_drawn = 0
        empty = {True: array("d"), False: array("d")}
        self._values = {name: {k: v[:] for k, v in empty.items()} for name in self._outputs}
        self._tally = Tally()

    def add(self, row: Row, block: str = "") -> None:
        """Take one row.

        Args:
            row: one value per column.
            block: its structure as a mol block; "" if it has none.
        """
        self._tally.add(row)
        is_inside = row.get("in_domain") is not False
        for name, values in self._values.items():
            if row[name] is not None and math.isfinite(row[name]):
                values[is_inside].append(row[name])
        if self._room <= 0:
            return
        cells = self._layout.cells(row)
        shown = [_with_error(name, cells, self._layout.outputs[name]) for name in self._outputs]
        kind = "error" if row["status"] != "ok" else "" if is_inside else "outside"
        texts = list(cells.values())
        for k, (name, text) in enumerate(cells.items()):
            if isinstance(row[name], str) and not self._layout.raw and inert(text) != text:
                self._inert.append((len(self._rows), k))
        self._rows.append([texts, shown, kind])
        self._room -= sum(map(len, texts)) + sum(map(len, shown)) + 3 * len(texts)
        self._draw(row, block)

    def text(self) -> str:
        """The page of all rows so far."""
        if self._block:
            self._pack()
        columns = list(self._layout.columns)
        table = {
            "columns": columns,
            "outputs": [self._output(name, columns) for name in self._outputs],
            "rows": self._rows,
            "inert": self._inert,
            "block": ROWS_OF_A_BLOCK,
            "drawn": self._n_drawn,
        }
        return render(
            "molgeo.prediction.report",
            "predictions.html",
            ["3Dmol-min.js", "table-core.js", "viewer.js", "table.js", "predictions.js"],
            about=self._about,
            summary=self._tally.line(self._tally.n, 0.0),
            outside=self._tally.outside(),
            left_out=self._left_out(),
            histograms=[
                (self._layout.outputs[name], self._histogram(name))
                for name in self._outputs
                if any(self._values[name].values())
            ],
            has_outside=any(values[False] for values in self._values.values()),
            table=table,
            blocks=self._blocks,
        )

    def _draw(self, row: Row, block: str) -> None:
        """Draw a row, if there is room."""
        if self._room_of_drawings <= 0:
            return
        is_fine = row["status"] == "ok"
        self._block.append([drawing(row["smiles"] or "", block), block] if is_fine else ["", ""])
        self._n_drawn += 1
        if len(self._block) == ROWS_OF_A_BLOCK:
            self._pack()

    def _pack(self) -> None:
        self._blocks.append(packed(self._block))
        self._room_of_drawings -= len(self._blocks[-1])
        self._block = []

    def _output(self, name: str, columns: list[str]) -> dict[str, Any]:
        """What a script needs to know of a property."""
        one = self._layout.outputs[name]
        ends = [name + suffix for suffix in INTERVAL_COLUMNS]
        return {
            "column": columns.index(name),
            "name": one.name,
            "unit": one.unit,
            "about": one.description or one.symbol,
            "ends": [columns.index(end) for end in ends if end in columns],
        }

    def _left_out(self) -> list[str]:
        """Sentences about what the page does not show."""
        n, n_rows = self._tally.n, len(self._rows)
        found = []
        if n_rows < n:
            found.append(
                f"The table shows the first {n_rows:,} of {n:,} rows, so that the page stays "
                "light. The histograms are of all rows, and so is the output file."
            )
        if self._n_drawn < n_rows:
            found.append(
                f"The first {self._n_drawn:,} rows have drawings and structures; the others have "
                "none, so that the page stays light."
            )
        return found

    def _histogram(self, name: str) -> str:
        one, values = self._layout.outputs[name], self._values[name]
        return svg(lambda axes: _bars(axes, one, [values[True], values[False]]), (4.6, 2.4))


def _with_error(name: str, cells: Mapping[str, str], one: Property) -> str:
    """A value with its standard error."""
    value = cells[name]
    return f"{value} {behind(value, cells.get(name + STD, ''), one)}".rstrip()


def _bars(axes: Axes, one: Property, values: Sequence[Sequence[float]]) -> None:
    """Two stacked histograms: inside the domain, and outside of it."""
    import numpy as np

    # Not for the furthest one in a hundred, who would leave all others in one bar.
    low, high = np.percentile(np.concatenate([np.asarray(v) for v in values]), [0.5, 99.5])
    room = 0.1 * (high - low) or 0.5
    clipped = [np.clip(np.asarray(v), low - room, high + room) for v in values]
    bins = np.linspace(low - room, high + room, min(BINS, 5 + sum(map(len, values))) + 1)
    axes.hist(clipped, bins=bins.tolist(), stacked=True, color=[BLUE, ORANGE])
    unit = f" / {one.unit}" if one.unit else ""
    axes.set(xlabel=f"{one.symbol}{unit}", ylabel="rows")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.locator_params(axis="x", nbins=5)
