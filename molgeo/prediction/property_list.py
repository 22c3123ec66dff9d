"""One molecule as a list of its properties."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from molgeo.prediction.cells import (
    MESSAGE_WIDTH,
    Outputs,
    aligned,
    error_column,
    label,
    number_columns,
    numbers,
)
from molgeo.prediction.columns import INTERVAL_COLUMNS, Row
from molgeo.prediction.digits import Places
from molgeo.runtime.plain_text import one_line


def property_list(
    row: Row, columns: Sequence[str], outputs: Outputs, digits: Places, room: int
) -> Iterator[str]:
    """Lines of text: what the molecule is, then a line per property, or why there are none.

    Args:
        row: one row of output.
        columns: of the row.
        outputs: what is predicted, by its columns of values.
        digits: tells each number's digits after the point.
        room: characters of a line. Where they are too few, symbols go, then descriptions.
    """
    yield label(row)
    atoms = f"{row['n_atoms']} atoms" if row["n_atoms"] else ""
    yield "  ".join(filter(None, [row["formula"], atoms, row["geometry"], one_line(row["model"])]))
    if row["status"] != "ok":
        yield f"error: {one_line(row['message'], MESSAGE_WIDTH)}"
        return
    names = number_columns(columns, outputs)
    cells = numbers(row, names, digits)
    names = [name for name in names if name in outputs]
    errors = [_error(name, cells) for name in names]
    known = [outputs[name] for name in names]
    whats = [one.description or one.name for one in known]
    symbols = [one.symbol for one in known]
    # A property of someone's own may have no other symbol than its name.
    beside = ["" if symbol in whats else symbol for symbol in symbols]
    figures = [
        aligned([cells[name] for name in names]),
        [f"± {cell}" if cell.strip() else "" for cell in aligned(errors)],
        [one.unit for one in known],
        [_interval(name, cells) for name in names],
    ]
    for about in ([whats, beside], [whats], [symbols]):
        lines = list(_lines([*about, *figures]))
        if max(map(len, lines)) <= room:
            break
    yield from lines


def _error(name: str, cells: dict[str, str]) -> str:
    of = error_column(name, list(cells))
    return cells[of] if of and cells[of] != "-" else ""


def _interval(name: str, cells: dict[str, str]) -> str:
    low, high = (cells.get(name + suffix, "-") for suffix in INTERVAL_COLUMNS)
    return "" if "-" in (low, high) else f"90%: {low} … {high}"


def _lines(columns: list[Sequence[str]]) -> Iterator[str]:
    """Columns side by side, two spaces between them; empty columns are left out."""
    columns = [cells for cells in columns if any(cell.strip() for cell in cells)]
    widths = [max(map(len, cells)) for cells in columns]
    for line in zip(*columns, strict=True):
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(padded).rstrip()
