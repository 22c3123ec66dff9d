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
from molgeo.chem.files.sdf import from_rdkit
from molgeo.chem.files.text import MAX_LINE, Lines, is_cut
from molgeo.chem.molecule import BadRow, InputError, Row
from molgeo.chem.parsing import one_line, structure_row

if TYPE_CHECKING:
    import pandas as pd

MAX_RECORD_LINES: Final = 1000
"""Lines of one record: a mol block in a cell has some hundred."""

_DELIMITERS: Final = ",\t;|"
_N_SNIFFED: Final = 30
_SEPARATOR: Final = re.compile(r'"?sep=(.)"?\s*$', re.IGNORECASE)


class Record(NamedTuple):
    """One record of a table.

    Attributes:
        place: of its first line, or its number.
        cells: as they are; empty for a malformed record.
        fault: what is malformed, or "".
    """

    place: int
    cells: Sequence[Any]
    fault: str = ""


def read_table(
    lines: Lines, origin: str, options: ReadOptions, delimiter: str | None = None
) -> Iterator[Row]:
    """Rows of a table as text.

    Args:
        lines: of the table.
        origin: name of the table, for ``input``.
        options: names columns, and says what is kept.
        delimiter: of cells; None to find it.

    Yields:
        One row a record.

    Raises:
        InputError: there is no column of structures.
    """
    yield from _rows(_all_records(lines, delimiter), origin, options)


def read_csv(lines: Lines, origin: str, options: ReadOptions) -> Iterator[Row]:
    """Rows of a table separated by commas, semicolons, tabs or ``|``."""
    yield from read_table(lines, origin, options)


def read_tsv(lines: Lines, origin: str, options: ReadOptions) -> Iterator[Row]:
    """Rows of a table separated by tabs, unless there is none in the first lines."""
    has_tabs = any("\t" in line for line in lines.peek(_N_SNIFFED))
    yield from read_table(lines, origin, options, "\t" if has_tabs else None)


def read_frame(frame: pd.DataFrame, origin: str, options: ReadOptions) -> Iterator[Row]:
    """Rows of a DataFrame, whose columns keep their types.

    Args:
        frame: a table with a header.
        origin: name of the table, for ``input``.
        options: as in `read_table`; all columns are kept if it does not say.

    Yields:
        One row a record.

    Raises:
        InputError: there is no column of structures.
    """
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
        elif first.strip() and not (first.startswith("#") and not _has_title(first)):
            break
        next(lines)
    return records(lines, delimiter or sniff_delimiter(lines.peek(_N_SNIFFED)))


def _has_title(line: str) -> bool:
    return any(is_title(cell) for cell in re.split(r"[,;|\t]", line.strip("# \r\n")))


def records(lines: Lines, delimiter: str) -> Iterator[Record]:
    """Records of text that are not blank.

    Args:
        lines: of any number of records.
        delimiter: of cells.

    Yields:
        Each with the number of its first line.
    """
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
        found = [record.cells for record in records(Lines(lines), delimiter) if not record.fault]
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
    taken: list[str] = []

    def more() -> Iterator[str]:
        yield first
        size = len(first)
        while len(taken) < MAX_RECORD_LINES - 1 and size < MAX_LINE:
            line = next(lines, None)
            if line is None:
                return
            taken.append(line)
            size += len(line)
            yield line

    fault = ""
    cells: list[str] = []
    try:
        cells = next(csv.reader(more(), delimiter=delimiter, strict=True))
    except csv.Error as error:
        fault = f"malformed record: {_explained(error)}"
    if taken and not fault and width is not None:
        each = [line.strip("\r\n").split(delimiter) for line in (first, *taken)]
        if len(cells) != width or (len(each) > 2 and all(_is_record(one, width) for one in each)):
            fault = (
                f"malformed record: a quote opens in this line and is closed {len(taken)} lines "
                "further on only"
            )
    if fault:
        lines.give_back(taken)
    return Record(place, [] if fault else cells, fault)


def _is_record(cells: Sequence[str], width: int) -> bool:
    """Whether a line is a record by itself, so that the quotes around several of them are none."""
    return len(cells) == width > 1 and any(shows_structure(cell.strip('"')) for cell in cells)


def _explained(error: csv.Error) -> str:
    text = str(error)
    if "unexpected end of data" in text:
        return f"a quote is not closed within {MAX_RECORD_LINES:,} lines"
    return f"{text}; write a quote inside a quoted cell twice"


def _rows(
    found: Iterator[Record], origin: str, options: ReadOptions, titled: bool = False
) -> Iterator[Row]:
    """Rows of records, whose first ones decide on the columns."""
    head = list(itertools.islice(found, N_RECORDS))
    if not head:
        return
    columns = _choice(head, origin, options, titled)
    if options.say is not None:
        options.say(f"{origin}: {columns}")
    for record in itertools.chain(_without_header(head, columns), found):
        yield _row(record, columns, f"{origin}:{record.place}", options)


def _choice(head: Sequence[Record], origin: str, options: ReadOptions, titled: bool) -> Columns:
    sound = [[_text(cell) for cell in record.cells] for record in head if not record.fault]
    if not sound:
        raise InputError(f"{origin}: no record of this table is sound: {head[0].fault}")
    return choose(sound, options, origin, titled=titled)


def _without_header(head: Sequence[Record], columns: Columns) -> Iterator[Record]:
    """Records without the first sound one, if that is the header."""
    skip = columns.has_header
    for record in head:
        if skip and not record.fault:
            skip = False
            continue
        yield record


def _row(record: Record, columns: Columns, input: str, options: ReadOptions) -> Row:
    if record.fault:
        return BadRow(input, message=record.fault)
    cells = record.cells
    extra = {columns.header[k]: cells[k] if k < len(cells) else "" for k in columns.kept}
    at = columns.structure
    name = ""
    if columns.name is not None and columns.name < len(cells):
        name = _text(cells[columns.name]).strip()
    text = _text(cells[at]).strip() if at < len(cells) else ""
    too_many = len(cells) - len(columns.header)
    if too_many > 0 and at > 0 and any(_text(cell).strip() for cell in cells[-too_many:]):
        message = (
            f"this record has {len(cells)} cells, {too_many} more than the header: quote the cell "
            "that holds a delimiter"
        )
        return BadRow(input, name, message=message, extra=extra)
    if isinstance(cells[at] if at < len(cells) else None, Chem.Mol):
        return replace(from_rdkit(cells[at], input, name), extra=extra)
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
