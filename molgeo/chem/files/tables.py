"""Tables with a column of structures: .csv, .tsv, .parquet, DataFrames.

Text is parsed as RFC 4180 says, by Python's csv: a quoted cell may hold line ends. But a quote that
is never closed must not swallow the rest of a file: a record has a bounded number of lines, one of
several lines has as many cells as the first one, and not each of its lines is a record by itself.
Else its first line is a bad row, and reading goes on with the next line.
"""

from __future__ import annotations

import csv
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from rdkit import Chem

from molgeo.chem.files.columns import N_RECORDS, Columns, choose, is_title, shows_structure
from molgeo.chem.files.formats import ReadOptions
from molgeo.chem.files.rdkit_files import from_rdkit
from molgeo.chem.files.text import MAX_LINE, Lines, is_cut
from molgeo.chem.molecule import BadRow, Row
from molgeo.chem.parsing import one_line, structure_row
from molgeo.runtime.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

MAX_RECORD_LINES: Final = 1000  # lines of one record: a mol block in a cell has some hundred
_DELIMITERS: Final = ",\t;|"
_N_SNIFFED: Final = 30
_SEPARATOR: Final = re.compile(r'"?sep=(.)"?\s*$', re.IGNORECASE)


class Record(NamedTuple):
    """One record: the number of its first line, its cells, and what is malformed, or ""."""

    place: int
    cells: Sequence[Any]
    fault: str = ""


def read_csv(
    lines: Lines, origin: str, options: ReadOptions, delimiter: str | None = None
) -> Iterator[Row]:
    """Rows of a table as text, separated by commas, semicolons, tabs or ``|``.

    Raises:
        InputError: there is no column of structures.
    """
    yield from _rows(_all_records(lines, delimiter), origin, options)


def read_tsv(lines: Lines, origin: str, options: ReadOptions) -> Iterator[Row]:
    """Rows of a table separated by tabs, unless there is none in the first lines."""
    has_tabs = any("\t" in line for line in lines.peek(_N_SNIFFED))
    yield from read_csv(lines, origin, options, "\t" if has_tabs else None)


def read_frame(frame: pd.DataFrame, origin: str, options: ReadOptions) -> Iterator[Row]:
    """Rows of a DataFrame, whose columns keep their types; all of them if options do not say."""
    keep = options.keep_columns is None or options.keep_columns
    yield from _rows(_records_of(frame), origin, replace(options, keep_columns=keep), True)


def read_parquet(path: Path, origin: str, options: ReadOptions) -> Iterator[Row]:
    """Rows of a parquet file."""
    yield from _rows(_records_of(_loaded(path), _plain), origin, options, True)


def _loaded(path: Path) -> pd.DataFrame:
    """A parquet file as a DataFrame."""
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except ImportError as error:
        raise InputError(
            f"{path}: parquet files are read by pyarrow, which is not installed: "
            "pip install pyarrow, or save the table as csv"
        ) from error
    except Exception as error:  # whatever the bytes happen to break
        raise InputError(f"{path}: cannot be read as parquet: {one_line(error)}") from error


def _all_records(lines: Lines, delimiter: str | None) -> Iterator[Record]:
    """Records of a whole table: what stands before the header is none."""
    while first := "".join(lines.peek(1)):
        told = _SEPARATOR.match(first)  # as Excel writes and reads it
        if told:
            delimiter = told[1]
        elif first.strip() and (
            first[0] != "#" or any(map(is_title, re.split(r"[,;|\t]", first.strip("# \r\n"))))
        ):
            break
        next(lines)
    return _records(lines, delimiter or sniff_delimiter(lines.peek(_N_SNIFFED)))


def _records(lines: Lines, delimiter: str) -> Iterator[Record]:
    """Records of text that are not blank."""
    width: int | None = None
    for line in lines:
        if not line.strip():
            continue
        record = _record(lines, line, delimiter, width)
        if record.fault or any(map(str.strip, record.cells)):
            yield record
            width = width or len(record.cells) or None


def sniff_delimiter(lines: Sequence[str]) -> str:
    """The delimiter that cuts most of the first lines into as many cells, header and all."""
    best = (0.0, 0, 0, ",")
    for k, delimiter in enumerate(_DELIMITERS):
        found = [record.cells for record in _records(Lines(lines), delimiter) if not record.fault]
        counts = list(map(len, found))
        if not counts or counts[0] < 2:
            continue
        # A header's own comma is not in the lines below it, and a comma in one name not in others.
        usual, n = Counter(counts).most_common(1)[0]
        agreement = n / len(counts) if counts[0] == usual else 0.5 * n / len(counts)
        shown = sum(any(map(shows_structure, cells)) for cells in found[: _N_SNIFFED // 3])
        best = max(best, (agreement if usual > 1 else 0.0, shown, -k, delimiter))
    return best[3]


def _record(lines: Lines, first: str, delimiter: str, width: int | None) -> Record:
    """The record that begins with a line, which was taken from the lines."""
    place = lines.number
    if is_cut(first):
        return Record(place, [], f"this line has more than {MAX_LINE:,} characters")
    taken = [first]

    def more() -> Iterator[str]:
        yield first
        while len(taken) < MAX_RECORD_LINES and sum(map(len, taken)) < MAX_LINE:
            line = next(lines, None)
            if line is None:
                return
            taken.append(line)
            yield line

    try:
        cells = next(csv.reader(more(), delimiter=delimiter, strict=True))
        fault = _swallowed(cells, taken, delimiter, width)
    except csv.Error as error:
        reason = f"{error}; write a quote inside a quoted cell twice"
        if "unexpected end of data" in reason:
            reason = f"a quote is not closed within {MAX_RECORD_LINES:,} lines"
        fault = f"malformed record: {reason}"
    if not fault:
        return Record(place, cells)
    lines.give_back(taken[1:])
    return Record(place, [], fault)


def _swallowed(cells: list[str], lines: list[str], delimiter: str, width: int | None) -> str:
    """That a record of several lines is no record, as it took others along; else ""."""
    if len(lines) < 2 or width is None:
        return ""
    each = [line.strip("\r\n").split(delimiter) for line in lines]
    if len(cells) == width and (len(each) < 3 or not all(_is_record(one, width) for one in each)):
        return ""
    return (
        f"malformed record: a quote opens in this line and is closed {len(lines) - 1} lines "
        "further on only"
    )


def _is_record(cells: Sequence[str], width: int) -> bool:
    """Whether a line is a record by itself, so that the quotes around several of them are none."""
    return len(cells) == width > 1 and any(shows_structure(cell.strip('"')) for cell in cells)


def _rows(
    found: Iterator[Record], origin: str, options: ReadOptions, titled: bool = False
) -> Iterator[Row]:
    """Rows of records, whose first ones decide on the columns."""
    head = list(itertools.islice(found, N_RECORDS))
    if not head:
        return
    sound = [record for record in head if not record.fault]
    if not sound:
        raise InputError(f"{origin}: no record of this table is sound: {head[0].fault}")
    texts = [[*map(_text, record.cells)] for record in sound]
    columns = choose(texts, options, origin, titled=titled)
    if options.say is not None:
        options.say(f"{origin}: {columns}")
    for record in itertools.chain(head, found):
        if not (columns.has_header and record is sound[0]):
            yield _row(record, columns, f"{origin}:{record.place}", options)


def _row(record: Record, columns: Columns, input: str, options: ReadOptions) -> Row:
    if record.fault:
        return BadRow(input, message=record.fault)
    cells, at = record.cells, columns.structure

    def cell(place: int | None) -> Any:
        return "" if place is None or place >= len(cells) else cells[place]

    extra = {columns.header[k]: cell(k) for k in columns.kept}
    name, text = _text(cell(columns.name)).strip(), _text(cell(at)).strip()
    too_many = len(cells) - len(columns.header)
    if too_many > 0 and at > 0 and any(_text(one).strip() for one in cells[-too_many:]):
        message = (
            f"this record has {len(cells)} cells, {too_many} more than the header: quote the cell "
            "that holds a delimiter"
        )
        return BadRow(input, name, message=message, extra=extra)
    if isinstance(cell(at), Chem.Mol):
        return replace(from_rdkit(cell(at), input, name), extra=extra)
    if not text:
        message = f"no SMILES in column {at + 1} of this record"
        return BadRow(input, name, message=message, extra=extra)
    return structure_row(text, name, input, options.max_smiles_length, extra)


def _records_of(
    frame: pd.DataFrame, cell: Callable[[Any], Any] = lambda cell: cell
) -> Iterator[Record]:
    """The header and the rows of a DataFrame, these numbered from 1."""
    yield Record(0, [str(title) for title in frame.columns])
    for place, cells in enumerate(frame.itertuples(index=False, name=None), start=1):
        yield Record(place, [*map(cell, cells)])


def _text(cell: Any) -> str:
    """A cell as text; "" for what pandas takes for missing."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, Chem.Mol):
        return str(Chem.MolToSmiles(cell))
    return "" if _is_missing(cell) else str(cell)


def _is_missing(cell: Any) -> bool:
    nan = isinstance(cell, float) and math.isnan(cell)
    return cell is None or nan or type(cell).__name__ in ("NAType", "NaTType")


def _plain(cell: Any) -> Any:
    """A cell as every format can write it: text, a finite number, or None."""
    if _is_missing(cell):
        return None
    cell = cell.item() if isinstance(cell, np.generic) else cell
    is_finite = isinstance(cell, int | float) and math.isfinite(cell)
    return cell if is_finite else str(cell)
