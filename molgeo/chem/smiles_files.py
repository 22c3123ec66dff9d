"""Files and streams with one SMILES a line: .smi, .csv and standard input."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from rdkit import Chem

from molgeo.chem.molecule import BadRow, InputError, SmilesRow
from molgeo.chem.rdkit_log import rdkit_messages


def open_text(path: Path) -> TextIO:
    """Open a text file, gzipped or not; a byte order mark is dropped, odd bytes become U+FFFD."""
    if path.suffix.lower() == ".gz":
        return io.TextIOWrapper(gzip.open(path), encoding="utf-8-sig", errors="replace", newline="")
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def read_stdin() -> Iterator[SmilesRow]:
    """SMILES lines from standard input."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    yield from smiles_lines(sys.stdin, "stdin")


def read_smi(path: Path) -> Iterator[SmilesRow]:
    """SMILES lines of a file."""
    with open_text(path) as file:
        yield from smiles_lines(file, str(path))


def smiles_lines(lines: Iterable[str], origin: str) -> Iterator[SmilesRow]:
    """``SMILES [name]`` a line; blank lines, ``#`` comments and a title line are no rows.

    Args:
        lines: text, one row each.
        origin: name of the stream, for ``input``.

    Yields:
        One row a SMILES.
    """
    for number, line in enumerate(lines, start=1):
        smiles, _, name = line.strip().lstrip("\ufeff").partition("\t")
        smiles, _, rest = smiles.partition(" ")
        if not smiles or smiles.startswith("#") or (number == 1 and smiles.lower() == "smiles"):
            continue
        yield SmilesRow(smiles, " ".join(f"{rest} {name}".split()), f"{origin}:{number}")


def read_csv(path: Path) -> Iterator[SmilesRow | BadRow]:
    """Rows of a table with a column of SMILES, and perhaps one called ``name`` or ``id``.

    The column is called ``smiles`` in any case; else it is the first with ``smiles`` in its name;
    else the first whose first value parses. A file without a header is read from its first line.
    A record is one line: a quote that is not closed on its line spoils that line only.

    Args:
        path: separated by commas, semicolons or tabs.

    Yields:
        One row a record.

    Raises:
        InputError: there is no column of SMILES.
    """
    with open_text(path) as file:
        records = _records(file)
        head = list(itertools.islice(records, 2))
        if not head:
            return
        smiles_at, has_header = _smiles_column(head, path)
        name_at = _name_column(head[0][1]) if has_header else None
        for line_number, record in itertools.chain(head[has_header:], records):
            yield _csv_row(record, smiles_at, name_at, f"{path}:{line_number}")


Record = tuple[int, list[str] | csv.Error]


def _records(lines: Iterable[str]) -> Iterator[Record]:
    """Line number and cells of each line that is not blank; a malformed one is its error."""
    delimiter = None
    for number, line in enumerate(lines, start=1):
        delimiter = delimiter or next((d for d in ",;\t" if d in line), ",")
        cells: list[str] | csv.Error
        try:
            # Line by line: across lines, one stray quote would swallow all rows that follow.
            cells = next(csv.reader([line], delimiter=delimiter, strict=True))
        except csv.Error as error:
            cells = error
        if isinstance(cells, csv.Error) or any(map(str.strip, cells)):
            yield number, cells


def _csv_row(
    record: list[str] | csv.Error, smiles_at: int, name_at: int | None, input: str
) -> SmilesRow | BadRow:
    if isinstance(record, csv.Error):
        return BadRow(input, message=f"malformed record: {record}")
    name = record[name_at].strip() if name_at is not None and name_at < len(record) else ""
    if smiles_at >= len(record) or not record[smiles_at].strip():
        return BadRow(input, name, message=f"no SMILES in column {smiles_at + 1} of this record")
    smiles = record[smiles_at].strip()
    if len(smiles.split()) > 1:  # RDKit would read up to there, and say nothing
        return BadRow(input, name, smiles, "white space in the SMILES: give it a column of its own")
    return SmilesRow(smiles, name, input)


def _smiles_column(head: list[Record], path: Path) -> tuple[int, bool]:
    """Index of the column of SMILES in the first records, and whether the first is a header."""
    first, *others = ([] if isinstance(cells, csv.Error) else cells for _, cells in head)
    lower = [cell.strip().lower() for cell in first]
    if "smiles" in lower:
        return lower.index("smiles"), True
    for index, cell in enumerate(lower):
        if "smiles" in cell:
            return index, True
    for index, value in enumerate(others[0] if others else first):
        if is_smiles(value):
            return index, not (index < len(first) and is_smiles(first[index]))
    raise InputError(
        f"{path}: no column is called 'smiles' and in none does the first value parse as a SMILES; "
        f"the columns are {', '.join(map(repr, first))}"
    )


def _name_column(header: list[str] | csv.Error) -> int | None:
    lower = [] if isinstance(header, csv.Error) else [cell.strip().lower() for cell in header]
    return next((lower.index(name) for name in ("name", "id") if name in lower), None)


def is_smiles(text: str) -> bool:
    """Whether RDKit reads a molecule with at least one atom, and all of the text."""
    if len(text.split()) != 1:
        return False
    with rdkit_messages():
        mol = Chem.MolFromSmiles(text.strip())
    return mol is not None and mol.GetNumAtoms() > 0
