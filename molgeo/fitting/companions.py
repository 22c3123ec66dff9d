"""Columns beside that of a value, which say how it is meant, as databases of assays have them.

A relation (``Standard Relation``) tells a measured value from a bound, another column the unit
(``Standard Units``), and one more what was measured (``Standard Type``). Which values a column
speaks of is in the titles: it shares with theirs what is left without words such as ``units`` and
``value``. A title with nothing else, such as ``unit``, speaks of all values.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from molgeo.chem.molecule import Row
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


class Companions(NamedTuple):
    """What other columns say of the values of one.

    Attributes:
        bounds: (rows,) the title of the column by which each value is only a bound; "" if none.
        units: (rows,) of each value; "" if no column tells it.
        remarks: sentences on what nobody can act on.
    """

    bounds: list[str]
    units: list[str]
    remarks: list[str]


def companions_of(name: str, title: str, rows: Sequence[Row], known: Sequence[bool]) -> Companions:
    """Look at the columns beside one of values.

    Args:
        name: of the column of values, without a unit.
        title: of that column.
        rows: of the table.
        known: (rows,) whether each has a value.
    """
    own, found = _rest(name, VALUE), Companions([""] * len(rows), [""] * len(rows), [])
    for other in dict.fromkeys(one for row in rows for one in row.extra):
        texts = [_text(row.extra.get(other)) for row in rows]
        if other == title:
            continue
        if _rest(other, RELATION) in ("", own) and set(texts) - {""} <= OF_VALUES | OF_BOUNDS:
            found = found._replace(bounds=[other if text in OF_BOUNDS else "" for text in texts])
        elif _rest(other, UNIT) in ("", own):
            found = found._replace(units=texts)
        elif _rest(other, KIND) in ("", own):
            found.remarks.extend(_of_kinds(title, other, texts, known))
    return found


def _rest(title: str, words: frozenset[str]) -> str | None:
    """What is left of a title without such words; None if it has none, but for values."""
    each = re.findall(r"[^\W_]+", title.lower())
    rest = "".join(word for word in each if word not in words)
    return rest if words is VALUE or not words.isdisjoint(each) else None


def _text(cell: Any) -> str:
    """A cell without the quotes that ChEMBL puts around relations; "" if it is missing."""
    text = "" if cell is None else str(cell).strip().strip("'\"").strip()
    return "" if text.lower() in MISSING else text


def _of_kinds(title: str, other: str, texts: list[str], known: Sequence[bool]) -> list[str]:
    """A remark on values of several kinds."""
    counts = Counter(text for text, is_known in zip(texts, known, strict=True) if text and is_known)
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
