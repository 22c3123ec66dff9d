"""The data fields of an SDF record: ``> <NAME>``, lines of a value, a blank line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from molgeo.chem.files.reading import Reading
from molgeo.chem.files.text import Lines
from molgeo.chem.files.titles import identifier, named
from molgeo.chem.molecule import Row

N_LINES: Final = 20_000
"""Lines in which fields are looked for, before the first record is read."""

_FIELD: Final = re.compile(r">.*?<(.+)>")


def data_fields(record: Sequence[str]) -> dict[str, str]:
    """The fields of a record, in their order.

    Args:
        record: its lines, without their ends.

    Returns:
        Field → value; of several fields of one name the first.
    """
    fields: dict[str, str] = {}
    values: list[str] | None = None
    name = ""
    for line in record:
        field = _FIELD.match(line)
        if field and not values:
            name, values = field[1].strip(), []
        elif values is not None and line.strip():
            values.append(line)
        elif values is not None:
            fields.setdefault(name, "\n".join(values))
            values = None
    if values is not None:
        fields.setdefault(name, "\n".join(values))
    return fields


def labelled(rows: Iterable[Row], reading: Reading) -> Iterator[Row]:
    """Rows with the name and the fields that a user wants.

    Args:
        rows: of an SDF, with all their fields.
        reading: says which name and which fields.

    Yields:
        The rows; where a title is missing, a field names them.
    """
    for row in rows:
        fields = dict(row.extra)
        if not fields:
            yield row
            continue
        name = row.name
        if reading.name_column is not None:
            name = _value(fields, str(reading.name_column))
        elif not name:
            titles = list(fields)
            name = next((v for k in named(titles) if (v := fields[titles[k]].strip())), "")
        yield replace(row, name=" ".join(name.split()), extra=_kept(fields, reading))


def field_names(lines: Lines, origin: str, reading: Reading) -> list[str]:
    """Fields that are kept of the first records, which stay to be read.

    Args:
        lines: of an SDF.
        origin: not used; tables name it in errors.
        reading: says which.
    """
    found = filter(None, map(_FIELD.match, lines.peek(N_LINES)))
    return list(_kept(dict.fromkeys((field[1].strip() for field in found), ""), reading))


def _kept(fields: dict[str, str], reading: Reading) -> dict[str, str]:
    if reading.keep_columns:
        return fields
    titles = list(fields)
    places = identifier(titles, named(titles), None) if reading.keep_columns is None else []
    return {titles[k]: fields[titles[k]] for k in places}


def _value(fields: dict[str, str], name: str) -> str:
    return next((v for k, v in fields.items() if k.lower() == name.strip().lower()), "")
