"""Columns beside that of a value, which say how it is meant, as databases of assays have them.

A relation (``Standard Relation``) tells a measured value from a bound, another column the unit
(``Standard Units``), and one more what was measured (``Standard Type``). Which values a column
speaks of is in the titles: it shares with theirs what is left without words such as ``units`` and
``value``. A title with nothing else, such as ``unit``, speaks of all values.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from molgeo.chem.molecule import Row
from molgeo.fitting.cells import BOUNDED, Cell
from molgeo.generate.table import MISSING
from molgeo.runtime.plain_text import one_line

RELATION: Final = frozenset(["relation", "qualifier", "operator", "modifier"])
UNIT: Final = frozenset(["unit", "units", "uom"])
KIND: Final = frozenset(["type", "endpoint"])
VALUE: Final = frozenset(["value", "values", "measurement", "result"])
"""Words in titles of columns of relations, units, what was measured, and values."""

OF_VALUES: Final = frozenset(["=", "==", "~", "≈"])
OF_BOUNDS: Final = frozenset(["<", ">", "<=", ">=", "=<", "=>", "≤", "≥", "<<", ">>"])
"""Relations of a value that was measured, and of one that is only a bound."""


def told_by_others(
    cells: Sequence[Cell], name: str, title: str, unit: str, rows: Sequence[Row]
) -> tuple[list[Cell], list[str]]:
    """Cells of a column of values with what the columns beside it say of them.

    Args:
        cells: of the column.
        name: of the column, without a unit.
        title: of the column.
        unit: that somebody named, so that a column without it tells none; "" for none.
        rows: of the table.

    Returns:
        The cells, with their units and with the faults of those that are only bounds; and remarks.
    """
    own, found, remarks = _rest(name, VALUE), list(cells), []
    for other in dict.fromkeys(one for row in rows for one in row.extra):
        texts = [
            "" if cell.fault or math.isnan(cell.value) else _text(row.extra.get(other))
            for cell, row in zip(found, rows, strict=True)
        ]
        if other == title or not any(texts):
            continue
        if _rest(other, RELATION) in ("", own) and set(texts) - {""} <= OF_VALUES | OF_BOUNDS:
            fault = f"{BOUNDED}, by {other!r}"
            found = [
                Cell(fault=fault) if text in OF_BOUNDS else cell
                for cell, text in zip(found, texts, strict=True)
            ]
        elif _rest(other, UNIT) in ("", own) and (not unit or unit in texts):
            found = [
                cell._replace(unit=cell.unit or one_line(text, 40))
                for cell, text in zip(found, texts, strict=True)
            ]
        elif _rest(other, KIND) in ("", own):
            remarks += _of_kinds(title, other, texts)
    return found, remarks


def _rest(title: str, words: frozenset[str]) -> str | None:
    """What is left of a title without such words; None if it has none, but for values."""
    each = re.findall(r"[^\W_]+", title.lower())
    rest = "".join(word for word in each if word not in words)
    return rest if words is VALUE or not words.isdisjoint(each) else None


def _text(cell: Any) -> str:
    """A cell without the quotes that ChEMBL puts around relations; "" if it is missing."""
    text = "" if cell is None else str(cell).strip().strip("'\"").strip()
    return "" if text.lower() in MISSING else text


def _of_kinds(title: str, other: str, texts: Sequence[str]) -> list[str]:
    """A remark on values of several kinds."""
    counts = Counter(filter(None, texts))
    if len(counts) < 2:
        return []
    listed = ", ".join(
        f"{one_line(text, 30)!r} in {n} row{'s' if n > 1 else ''}"
        for text, n in counts.most_common(4)
    )
    return [
        f"{title}: {other!r} tells values of several kinds apart, {listed}; they are learned "
        "as one: keep the rows of one kind if they are not the same quantity"
    ]
