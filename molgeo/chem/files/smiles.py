"""Lines of SMILES: .smi, .txt and standard input."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from molgeo.chem.files.other_formats import N_LINES, looks_like
from molgeo.chem.files.reading import Reading
from molgeo.chem.files.structure_rows import structure_row
from molgeo.chem.files.tables import read_table, sniff_delimiter, table_columns
from molgeo.chem.files.text import MAX_LINE, STDIN_NAME, Lines, is_cut, open_text
from molgeo.chem.files.titles import is_title
from molgeo.chem.molecule import BadRow, InputError, Row

_BLANK: Final = re.compile(r"[ \t]+")
_ATOM: Final = re.compile(r"[A-Za-z]{1,2}( [+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?){3}")
_READABLE: Final = ("csv", "sdf", "xyz", "mol2", "pdb", "cif")


def read_smi(path: Path, reading: Reading) -> Iterator[Row]:
    """SMILES lines of a file."""
    with open_text(path) as file:
        yield from smiles_lines(Lines(file), str(path), reading)


def smiles_lines(lines: Lines, origin: str, reading: Reading) -> Iterator[Row]:
    """``SMILES [name]`` a line; blank lines, ``#`` comments and a title line are no rows.

    Args:
        lines: text, one row each. With a title line cut by tabs they are a table.
        origin: name of the stream, for ``input``.
        reading: says how a structure is read.

    Yields:
        One row a SMILES or InChI.

    Raises:
        InputError: the lines look like another format.
    """
    if _is_titled(lines, origin, reading):
        yield from read_table(lines, origin, reading, "\t")
        return
    smiles_at = 0
    for line in lines:
        # Other white space, such as a no-break space, is for the row to complain of.
        words = _BLANK.split(line.strip().lstrip("\ufeff"))
        if not words[0] or words[0].startswith("#"):
            continue
        if lines.number == 1 and any(map(is_title, words)):
            smiles_at = next(k for k, word in enumerate(words) if is_title(word))
            continue
        input = f"{origin}:{lines.number}"
        if is_cut(line):
            message = f"this line has more than {MAX_LINE:,} characters"
            yield BadRow(input, message=message)
            continue
        if reading.input_format != "smi" and _ATOM.fullmatch(" ".join(words)):
            message = f"{line.strip()[:60]!r} is an atom with its coordinates, not a SMILES"
            yield BadRow(input, message=f"{message}: give the file as xyz")
            continue
        at = smiles_at if smiles_at < len(words) else 0
        name = " ".join(" ".join(words[:at] + words[at + 1 :]).split())
        yield structure_row(words[at], name, input, reading)


def title_columns(lines: Lines, origin: str, reading: Reading) -> Sequence[str]:
    """Names of the columns that `smiles_lines` takes along; the lines stay to be read."""
    if not _is_titled(lines, origin, reading):
        return ()
    return table_columns(lines, origin, reading, "\t")


def read_txt(path: Path, reading: Reading) -> Iterator[Row]:
    """Rows of a table, if the first lines look like one, else SMILES lines."""
    with open_text(path) as file:
        yield from text_lines(Lines(file), str(path), reading)


def text_lines(lines: Lines, origin: str, reading: Reading) -> Iterator[Row]:
    """As `read_txt`, of lines."""
    read = read_table if looks_like(lines.peek(N_LINES)) == "csv" else smiles_lines
    yield from read(lines, origin, reading)


def text_columns(lines: Lines, origin: str, reading: Reading) -> Sequence[str]:
    """Names of the columns that `read_txt` takes along; the lines stay to be read."""
    look = table_columns if looks_like(lines.peek(N_LINES)) == "csv" else title_columns
    return look(lines, origin, reading)


def _is_titled(lines: Lines, origin: str, reading: Reading) -> bool:
    """Whether the first line has titles between tabs, one of which is that of the structures.

    Raises:
        InputError: the lines look like another format.
    """
    head = lines.peek(N_LINES)
    other = looks_like(head) if reading.input_format != "smi" else None
    if other is not None:
        raise InputError(
            f"{origin} looks like {other}, not like lines of SMILES: {_advice(other, origin)}; "
            "--input-format smi reads it as SMILES all the same"
        )
    titles = next((line for line in head if line.strip()), "").split("\t")
    return len(titles) > 1 and any(map(is_title, titles)) and sniff_delimiter(head) == "\t"


def _advice(format: str, origin: str) -> str:
    """How to have text of another format read."""
    if format in _READABLE:
        how = "save it in a file that ends in" if origin == STDIN_NAME else "give it the ending"
        return f"say --input-format {format}, or {how} .{format}"
    if format.startswith("xyz"):
        return "put the number of atoms and a comment before the atoms, and read it as xyz"
    return "save it as SMILES, csv, sdf or xyz"
