"""What a table's columns of values are: numbers, two classes, or why they are neither.

A cell may be a number, also as text, with a decimal comma or with an uncertainty (``1.2 ± 0.1``).
What ``1,234`` means is seen from the other cells of its column. What only bounds a value (``<0.5``)
is none. A unit may stand in a title, ``logS (log mol/L)`` or ``dG / kJ/mol``, behind each of the
numbers, or in a column beside them (`molgeo.fitting.companions`); of two different ones nobody
could tell what was meant.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from molgeo.chem.files.columns import content
from molgeo.chem.molecule import BadRow, Row
from molgeo.fitting.cells import (
    AMBIGUOUS,
    TEXT,
    Cell,
    cell_of,
    comma_of,
    of_signs,
    without_placeholders,
)
from molgeo.fitting.companions import told_by_others
from molgeo.fitting.settings import Kind
from molgeo.generate.table import letters, title_of
from molgeo.runtime.errors import InputError, SettingError
from molgeo.runtime.plain_text import one_line, shown

POSITIVE: Final = frozenset(
    [
        "1",
        "yes",
        "y",
        "true",
        "t",
        "+",
        "positive",
        "pos",
        "active",
        "toxic",
        "permeable",
        "soluble",
    ]
)
"""Names of a class whose probability is predicted."""

FEW: Final = 5
"""Whole numbers, as which somebody may have written classes."""

LISTED: Final = 4
"""Units or texts that a message names."""

DECADES: Final = 1000
"""Ratio of large and small positive values that calls for logarithms."""

FAR: Final = 100
"""Widths of the middle half of all values, beyond which one may be a slip."""

_TITLE: Final = re.compile(r"(.*\S)\s*[(\[{]\s*([^()\[\]{}]+?(?:\([^()]*\))?)\s*[)\]}]\s*")
_CONDITION: Final = re.compile(
    r"pH\b|n\s*=|\d+([.,]\d+)?\s*°?\s*[CFK]\b|(?:exp|meas|calc|pred|mean|median|average|avg)",
    re.IGNORECASE,
)
"""What may stand in the brackets of a title in place of a unit."""
_FUNCTION: Final = re.compile(r"-?(?:log|log10|lg|ln|exp|sqrt|abs)", re.IGNORECASE)
_QUOTIENT: Final = re.compile(r"(.*\S)\s+/\s+(\S.*?)\s*")


@dataclass(frozen=True)
class Column:
    """A column of values.

    Attributes:
        title: in the table.
        name: the title without its unit.
        unit: of the values; "" for none.
        classes: the two texts of a classification, the second one being counted as 1; none for
            numbers.
    """

    title: str
    name: str
    unit: str
    classes: tuple[str, ...] = ()


def read_columns(
    rows: Sequence[Row], wanted: Sequence[str], units: Sequence[str], kind: Kind, source: str
) -> tuple[list[Column], list[Row], list[str]]:
    """Find the columns that are to be learned, and make numbers of their cells.

    Args:
        rows: of a table, with all its columns in ``extra``.
        wanted: titles, with or without their units; case and punctuation do not matter.
        units: one per title; "" for what the table says.
        kind: of all columns.
        source: of the rows, for messages.

    Returns:
        The columns; the rows with numbers in them, None for what is missing, of which those that
        have none but a faulty cell became bad rows; and remarks, one sentence each.

    Raises:
        SettingError: a column is not there, is not made of numbers or two classes, or has one value
            alone.
    """
    titles = list(dict.fromkeys(title for row in rows for title in row.extra))
    found, cells, remarks = [], [], []
    for one, unit in zip(wanted, units, strict=True):
        title = _title(one, titles, source)
        own, more = _cells(title, unit, rows)
        remarks += more
        column, own, more = _column(title, unit, own, kind, [row.input for row in rows])
        found.append(column)
        cells.append(own)
        remarks += more
    if twice := [one.title for one, n in Counter(found).items() if n > 1]:
        raise SettingError(f"target: {twice[0]!r} is named twice")
    return found, _with_numbers(rows, found, cells), [*remarks, *_unused(rows, titles, found)]


def _cells(title: str, unit: str, rows: Sequence[Row]) -> tuple[list[Cell], list[str]]:
    """Cells of a column with what others say of them, and remarks; ``unit`` was named, or is ""."""
    given = [row.extra.get(title) for row in rows]
    if signs := of_signs(given):
        return signs, []
    comma = comma_of(given)
    cells = without_placeholders([cell_of(cell, comma) for cell in given])
    cells, remarks = told_by_others(cells, _parted(title)[0], title, unit, rows)
    if unit in {cell.unit for cell in cells if not cell.fault}:
        cells = [_in_unit(cell, unit) for cell in cells]
    return cells, remarks


def _in_unit(cell: Cell, unit: str) -> Cell:
    """A cell, which is a fault if its value is in another unit than the one that was named."""
    if not unit or cell.fault or math.isnan(cell.value) or cell.unit == unit:
        return cell
    return Cell(fault=f"is in {cell.unit or 'no unit'}, not in {unit}")


def _title(wanted: str, titles: Sequence[str], source: str) -> str:
    """The title of a column that may be named without its unit."""
    if exact := title_of([wanted], titles, source, is_needed=False):
        return exact
    same = [one for one in titles if letters(_parted(one)[0]) == letters(wanted)]
    if len(same) > 1:
        raise SettingError(f"target: {wanted!r} may be {' or '.join(map(repr, same))}: name one")
    return same[0] if same else title_of([wanted], titles, source)


def _parted(title: str) -> tuple[str, str]:
    """A title's name and unit."""
    parts = _TITLE.fullmatch(title) or _QUOTIENT.fullmatch(title)
    if parts is None or _FUNCTION.fullmatch(parts[1]):  # log(S) is no "log" in S
        return title.strip(), ""
    if _CONDITION.match(parts[2]):
        return parts[1], ""
    return parts[1], parts[2]


def _column(
    title: str, unit: str, cells: list[Cell], kind: Kind, places: Sequence[str]
) -> tuple[Column, list[Cell], list[str]]:
    """What a column is, its cells as numbers, and remarks.

    Args:
        title: of the column.
        unit: that was named; "" for none.
        cells: of the column.
        kind: that was asked for.
        places: where each cell stands, for messages.
    """
    name, of_title = _parted(title)
    there = [cell for cell in cells if cell.fault or not math.isnan(cell.value)]
    if not there:
        raise InputError(f"{title}: expected values, got none in {len(cells)} rows")
    texts = _spelt_alike(Counter(cell.text for cell in there if cell.text))
    faults = Counter(cell.fault for cell in there if cell.fault)
    if n := faults[AMBIGUOUS]:  # those without a comma are smaller, and no fair sample
        raise SettingError(
            f"{title}: {n} of {len(there)} values have a comma or a point that may be a decimal "
            "one or one of thousands: write a decimal point, and nothing for thousands"
        )
    numbers = {cell.value for cell in there if not cell.fault}
    of_text = sum(cell.fault == TEXT for cell in there)
    classes: tuple[str, ...] = ()
    if of_text > len(there) / 2 or (kind == "classification" and of_text):
        if len(texts) != 2 or kind == "regression":
            most = texts.most_common(LISTED)
            named = ", ".join(f"{one_line(repr(text), 30)} in {n}" for text, n in most)
            raise SettingError(
                f"{title}: expected numbers or two classes, got text in {of_text} of {len(there)} "
                f"rows, with {len(texts)} different values: {named}"
                f"{' …' if len(texts) > LISTED else ''}"
            )
        classes = _classes(texts)
    elif len(numbers) == 2 and kind != "regression":
        low, high = sorted(numbers)
        classes = (f"{low:g}", f"{high:g}")
    if len(numbers) < 2 and not classes:
        value = f"{next(iter(numbers)):g}" if numbers else "none that is a number"
        raise SettingError(f"{title}: all values are {value}: there is nothing to learn")
    if kind == "classification" and not classes:
        raise SettingError(
            f"{title}: expected two classes, got {len(numbers)} different numbers; leave "
            "--kind out to learn the numbers, or write two classes into the column"
        )
    if classes:
        own = [_as_class(cell, classes) for cell in cells]
        return Column(title, name, "", classes), own, [_said_of(title, own, classes)]
    own_unit = _unit_of(title, cells, places)
    if of_title and own_unit and of_title != own_unit and not unit:
        raise SettingError(
            f"{title}: the values have the unit {own_unit!r}, the title has another: say which one "
            "is right with --unit"
        )
    remarks = []
    if found := [one for one in (of_title, own_unit) if one and not unit]:
        unit = found[0]
        remarks.append(f"{title}: the unit is taken to be {unit!r}; --unit names another")
    for fault, n in faults.items():
        are, each = ("are", "each") if n > 1 else ("is", "it")
        remarks.append(f"{title}: {n} of {len(there)} values {are} left out: {each} {fault}")
    remarks += _said_of_numbers(title, [cell.value for cell in there if not cell.fault])
    return Column(title, name, unit), cells, remarks


def _classes(texts: Iterable[str]) -> tuple[str, ...]:
    """Two classes, of which the second one is counted as 1."""
    return tuple(sorted(texts, key=lambda text: (text.lower() in POSITIVE, text.lower())))


def _said_of_numbers(title: str, given: Sequence[float]) -> list[str]:
    """Remarks on numbers that somebody should look at."""
    values, numbers, remarks = np.array(given), set(given), []
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    if (far := np.abs(values - middle) > FAR * (high - low)).any() and high > low:
        remarks.append(
            f"{title}: very far from the others: {far.sum()} of {len(values)} values, such as "
            f"{values[far][0]:g} beside a median of {middle:g}; look whether that is right"
        )
    few, many = np.quantile(values, [0.02, 0.98])
    if values.min() > 0 and many > DECADES * few:
        remarks.append(
            f"{title}: values from {few:.3g} to {many:.3g}: the largest ones decide what is "
            "learned, and intervals may reach below zero; a column of logarithms suits them better"
        )
    if len(numbers) <= FEW < len(values) / 10 and all(map(float.is_integer, numbers)):
        listed = [f"{one:g}" for one in sorted(numbers)]
        remarks.append(
            f"{title}: {', '.join(listed)} are learned as numbers, so that {listed[1]} is more "
            f"than {listed[0]}; of classes molgeo learns two at a time, in a column of their own"
        )
    return remarks


def _spelt_alike(texts: Counter[str]) -> Counter[str]:
    """How often each text comes, those that differ by their case under the commonest of them."""
    found: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for text, n in texts.most_common():
        counts[found.setdefault(text.lower(), text)] += n
    return counts


def _as_class(cell: Cell, classes: tuple[str, ...]) -> Cell:
    """A cell of a classification, as 0 or 1."""
    if not cell.fault and math.isnan(cell.value):
        return cell
    text = cell.text if cell.fault else f"{cell.value:g}"
    for number, of_class in enumerate(classes):
        if of_class.lower() in (text.lower(), cell.text.lower()):
            return Cell(float(number))
    return Cell(fault="is none of the two classes")


def _said_of(title: str, cells: list[Cell], classes: tuple[str, ...]) -> str:
    ones = sum(cell.value == 1 for cell in cells)
    zeros = sum(cell.value == 0 for cell in cells)
    return (
        f"{title}: two classes, {classes[0]!r} ({zeros} rows) and {classes[1]!r} ({ones} rows): "
        f"the model gives the probability of {classes[1]!r}"
    )


def _unit_of(title: str, cells: list[Cell], places: Sequence[str]) -> str:
    """The unit of the numbers of a column; "" if there is none."""
    first: dict[str, str] = {}
    units: Counter[str] = Counter()
    for cell, place in zip(cells, places, strict=True):
        if not cell.fault and not math.isnan(cell.value):
            units[cell.unit] += 1
            first.setdefault(cell.unit, place)
    if len(units) > 1:
        most = units.most_common(LISTED)
        listed = ", ".join(
            f"{shown(unit) if unit else 'none'} in {n} row{'s' if n > 1 else ''}"
            for unit, n in most
        )
        rarest = min(units, key=units.__getitem__)
        raise SettingError(
            f"{title}: mixed units: {listed}; {shown(rarest) if rarest else 'none'} first in "
            f"{first[rarest]}; bring all values to one unit, or name one of these with --unit, "
            "which leaves the others out"
        )
    return one_line(next(iter(units), ""), 40)


def _with_numbers(
    rows: Sequence[Row], columns: Sequence[Column], cells: Sequence[list[Cell]]
) -> list[Row]:
    """Rows whose targets are numbers or None; one whose only values are faulty is a bad row."""
    found: list[Row] = []
    for row, own in zip(rows, zip(*cells, strict=True), strict=True):
        if isinstance(row, BadRow):
            found.append(row)
            continue
        values = [None if cell.fault or math.isnan(cell.value) else cell.value for cell in own]
        faulty = [k for k, cell in enumerate(own) if cell.fault]
        if faulty and all(value is None for value in values):
            title = columns[faulty[0]].title
            what = f"{shown(row.extra.get(title))} in {title} {own[faulty[0]].fault}"
            found.append(BadRow(row.input, row.name, row.smiles, what, extra=row.extra))
            continue
        titles = (column.title for column in columns)
        found.append(replace(row, extra={**row.extra, **dict(zip(titles, values, strict=True))}))
    return found


def _names(title: str, name: str) -> bool:
    """Whether a title has the name of another column in it, as a word if it is short."""
    own = letters(name)
    words = {letters(word) for word in re.split(r"[\W_]+", title)}
    return own in words or (len(own) > 3 and own in letters(title))


def _unused(rows: Sequence[Row], titles: Sequence[str], columns: Sequence[Column]) -> list[str]:
    """Remarks on columns that somebody may take for inputs: a model sees the molecules alone."""
    remarks = []
    for column in columns:
        own = [cell_of(row.extra.get(column.title)).value for row in rows]
        known = [k for k, value in enumerate(own) if not math.isnan(value)]
        leaks = []
        for title in titles:
            if title in {one.title for one in columns}:
                continue
            others = [cell_of(rows[k].extra.get(title)).value for k in known]
            same = sum(own[k] == value for k, value in zip(known, others, strict=True))
            if known and (same >= 0.95 * len(known) or _names(title, column.name)):
                leaks.append(title)
        if leaks:
            remarks.append(
                f"{', '.join(map(repr, leaks[:5]))} may tell {column.title}; the model does not "
                f"see {'it' if len(leaks) == 1 else 'them'}, as it takes nothing but the molecules"
            )
    taken = [row.smiles for row in rows]
    structures = [
        title
        for title in titles
        if "smiles" in letters(title)
        and content(row.extra.get(title, "") for row in rows)[0] > 0.5
        and sum(row.extra.get(title) == one for row, one in zip(rows, taken, strict=True)) * 2
        < len(rows)
    ]
    if structures:
        remarks.append(
            f"{', '.join(map(repr, structures[:5]))} {'has' if len(structures) == 1 else 'have'} "
            "SMILES too; --smiles says which column to take"
        )
    return remarks
