"""What a cell of a table says: a number and its unit, or why there is none."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from molgeo.generate.table import MISSING

_NUMBER: Final = (
    r"[+-]?(?:\d{1,3}(?:,\d{3})+(?:\.\d*)?|[1-9]\d{0,2}(?:\.\d{3})+,\d*|[1-9]\d{0,2}(?:\.\d{3}){2,}"
    r"|\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?"
)
_UNCERTAIN: Final = re.compile(
    rf"({_NUMBER})\s*(?:(?:±|\+/-|\+-)\s*{_NUMBER}|\(\d+\))\s*(.*)", re.DOTALL
)
_BOUND: Final = re.compile(rf"\s*(?:[<>≤≥]=?|=<|=>)\s*{_NUMBER}.*", re.DOTALL)
_WITH_UNIT: Final = re.compile(
    rf"(?:~|≈|ca\.?|approx\.?)?\s*({_NUMBER})\s*([^\d\s.,-].*)?", re.DOTALL
)
_EITHER: Final = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}")
TEXT: Final = "is no number"
BOUNDED: Final = "is a bound, not a value"
AMBIGUOUS: Final = "may have a decimal mark or one of thousands: write a decimal point, no comma"
_NINES: Final = re.compile(r"-?99+")
_GAP: Final = re.compile(r"(?<=\d)['’ \u2009\u202f](?=\d{3}(?!\d))")
_MINUS: Final = str.maketrans({"−": "-", "–": "-", "\u00a0": " "})


class Cell(NamedTuple):
    """What stands in a cell: a number and its unit, or why there is none."""

    value: float = math.nan
    unit: str = ""
    fault: str = ""
    text: str = ""


def comma_of(cells: Iterable[Any]) -> str:
    """What a comma in the numbers of a column is, by those that can be read in one way only.

    Returns:
        ``decimal``, ``thousands``, ``both``, or "" if they do not say it.
    """
    found = set()
    for cell in cells:
        pattern = _WITH_UNIT.fullmatch(_plain(cell.strip()) if isinstance(cell, str) else "")
        number = pattern[1] if pattern else ""
        marks = [mark for mark in number if mark in ".,"]
        if not marks or _EITHER.fullmatch(number):
            continue
        # The last mark is the decimal one, unless it comes more than once.
        last_is_decimal = marks.count(marks[-1]) == 1
        found.add("decimal" if (marks[-1] == ",") == last_is_decimal else "thousands")
    return "both" if len(found) > 1 else "".join(found)


def cell_of(given: Any, comma: str = "") -> Cell:
    """What a cell says.

    Args:
        given: the cell.
        comma: as of `comma_of`, of its column.
    """
    if isinstance(given, bool):
        return Cell(text=str(given), fault=TEXT)
    text = "" if given is None else str(given).strip()
    if text.lower() in MISSING:
        return Cell()
    plain = _plain(text)
    is_open = isinstance(given, str) and comma in ("decimal", "both")
    try:
        value = float(plain)
        if not math.isfinite(value):
            return Cell(fault="is not finite")
        is_open = is_open and _EITHER.fullmatch(plain) is not None
        return Cell(fault=AMBIGUOUS) if is_open else Cell(value, text=text)
    except ValueError:
        pass
    if _BOUND.fullmatch(plain):
        return Cell(fault=BOUNDED)
    pattern = _UNCERTAIN.fullmatch(plain) or _WITH_UNIT.fullmatch(plain)
    if pattern is None:
        return Cell(text=text, fault=TEXT)
    number = pattern[1]
    if _EITHER.fullmatch(number) and (is_open if "." in number else comma in ("", "both")):
        return Cell(fault=AMBIGUOUS)
    return Cell(_value(number, comma), (pattern[2] or "").strip(), text=text)


def of_signs(given: Iterable[Any]) -> list[Cell]:
    """Cells of a column of ``+`` and ``−``; none if it has anything else, or no ``+``.

    There a minus is the other class, and not what stands for a missing value.
    """
    signs = [str(cell).strip().translate(_MINUS) for cell in given]
    others = {sign.lower() for sign in signs} - {"+", "-"}
    if "+" not in signs or not others <= MISSING:
        return []
    return [Cell(text=sign, fault=TEXT) if sign in ("+", "-") else Cell() for sign in signs]


def without_placeholders(cells: Sequence[Cell]) -> list[Cell]:
    """Cells without numbers such as −999, with which some tables write a missing value.

    These are made of nines, come more than once, and are farther from all other numbers than those
    are from each other.
    """
    counts = Counter(cell.value for cell in cells if not cell.fault)
    nines = {x for x, n in counts.items() if n > 1 and _NINES.fullmatch(f"{x:.17g}")}
    others = [one for one in counts if one not in nines and math.isfinite(one)]
    if len(others) < 2:
        return list(cells)
    low, high = min(others), max(others)
    far = {one for one in nines if max(one - high, low - one) > high - low}
    why = "seems to stand for a missing value, far from all others"
    return [Cell(fault=f"{why}: {c.value:g}") if c.value in far else c for c in cells]


def _plain(text: str) -> str:
    """A text without the signs that stand for a minus, and without gaps between thousands."""
    return _GAP.sub("", text.translate(_MINUS))


def _value(number: str, comma: str) -> float:
    """A number that may have marks of thousands; ``comma`` as of `comma_of`."""
    last = max(number.rfind("."), number.rfind(","))
    mark = number[last] if last >= 0 else "."
    is_decimal = number.count(mark) == 1 and (mark == "." or comma != "thousands")
    whole = number[:last] if is_decimal else number
    rest = f".{number[last + 1 :]}" if is_decimal and last >= 0 else ""
    return float(re.sub("[.,]", "", whole) + rest)
