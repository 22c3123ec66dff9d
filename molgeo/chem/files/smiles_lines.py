"""Lines of SMILES: .smi, .txt and standard input; text of another format is refused.

``C 0.0 0.0 0.0`` is methane to a reader of SMILES, with a name of three numbers: what looks like
another format is refused, with the name of the reader that takes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from molgeo.chem.files.columns import is_title, shows_structure
from molgeo.chem.files.formats import ReadOptions, formats
from molgeo.chem.files.tables import read_csv, sniff_delimiter
from molgeo.chem.files.text import MAX_LINE, STDIN_NAME, Lines, is_cut
from molgeo.chem.molecule import BadRow, Row
from molgeo.chem.parsing import is_inchi, structure_row
from molgeo.runtime.errors import InputError

N_LINES: Final = 30  # lines that are looked at to know the format
_BLANK: Final = re.compile(r"[ \t]+")
_LONE_ATOM: Final = re.compile(r"[A-Za-z]{1,2}( [+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?){3}")

_NUMBER: Final = r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+|\*\^[+-]?\d+)?"
_ATOM: Final = re.compile(rf"\s*(\d{{1,3}}|[A-Za-z]{{1,2}}[\d_]*)(\s+{_NUMBER}){{3}}(\s.*)?")
_COUNTS: Final = re.compile(r".{33,} V[23]000\s*")
_BEGINNINGS: Final = {
    "mol2": ("@<TRIPOS>",),
    "pdb": ("HETATM", "ATOM  ", "HEADER  ", "COMPND  ", "CRYST1"),
    "cif": ("data_",),
    "json": ("{", "[{"),
    "html or xml": ("<",),
    "pdf": ("%PDF",),
    "a spreadsheet or zip archive": ("PK\x03\x04",),
    "parquet": ("PAR1",),
    "a database": ("SQLite format",),
}


def read_smiles(lines: Lines, origin: str, options: ReadOptions) -> Iterator[Row]:
    """``SMILES [name]`` per line; blank lines, ``#`` comments and a title line are no rows.

    With a title line cut by tabs they are a table.

    Raises:
        InputError: the lines look like another format.
    """
    if _is_titled(lines, origin, options):
        yield from read_csv(lines, origin, options, "\t")
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
            yield BadRow(input, message=f"this line has more than {MAX_LINE:,} characters")
            continue
        if options.input_format != "smi" and _LONE_ATOM.fullmatch(" ".join(words)):
            message = f"{line.strip()[:60]!r} is an atom with its coordinates, not a SMILES"
            yield BadRow(input, message=f"{message}: give the file as xyz")
            continue
        at = smiles_at if smiles_at < len(words) else 0
        name = " ".join(" ".join(words[:at] + words[at + 1 :]).split())
        yield structure_row(words[at], name, input, options.max_smiles_length)


def read_txt(lines: Lines, origin: str, options: ReadOptions) -> Iterator[Row]:
    """Rows of a table, if the first lines look like one, else SMILES lines."""
    read = read_csv if looks_like(lines.peek(N_LINES)) == "csv" else read_smiles
    yield from read(lines, origin, options)


def _is_titled(lines: Lines, origin: str, options: ReadOptions) -> bool:
    """Whether the first line has titles between tabs, one of which is that of the structures."""
    head = lines.peek(N_LINES)
    other = looks_like(head) if options.input_format != "smi" else None
    if other is not None:
        raise InputError(
            f"{origin} looks like {other}, not like lines of SMILES: {_advice(other, origin)}; "
            "--input-format smi reads it as SMILES all the same"
        )
    titles = next((line for line in head if line.strip()), "").split("\t")
    return len(titles) > 1 and any(map(is_title, titles)) and sniff_delimiter(head) == "\t"


def _advice(format: str, origin: str) -> str:
    """How to have text of another format read."""
    known = formats().get(format)
    if known is not None and known.is_text:
        how = "save it in a file that ends in" if origin == STDIN_NAME else "give it the ending"
        return f"say --input-format {format}, or {how} .{format}"
    if format.startswith("xyz"):
        return "put the number of atoms and a comment before the atoms, and read it as xyz"
    return "save it as SMILES, csv, sdf or xyz"


def looks_like(lines: Sequence[str]) -> str | None:
    """The name of the format that the first lines are in; None if nothing speaks against SMILES."""
    written = [line.rstrip("\r\n") for line in lines if line.strip()][:N_LINES]
    if not written:
        return None
    for name, beginnings in _BEGINNINGS.items():
        if any(line.startswith(beginnings) for line in written[:3]):
            return name
    if any(_COUNTS.fullmatch(line) or line.startswith(("$$$$", "M  END")) for line in written):
        return "sdf"
    atoms = [bool(_ATOM.fullmatch(line)) for line in written]
    if written[0].strip().isdecimal() and any(atoms[1:4]):
        return "xyz"
    if sum(atoms) > 0.8 * len(atoms):
        return "xyz without its two first lines"
    return "csv" if any(_is_table(written, delimiter) for delimiter in ",;|") else None


def _is_table(lines: Sequence[str], delimiter: str) -> bool:
    """Whether a delimiter cuts most lines into cells, one of which is a structure."""
    rows = [[cell.strip().strip('"') for cell in line.split(delimiter)] for line in lines]
    cut = [cells for cells in rows if len(cells) > 1]
    if len(cut) <= 0.5 * len(rows):
        return False
    # A line of SMILES may have the delimiter in the name behind them, or in an InChI.
    sure = sum(not _with_name(cells[0]) and any(map(shows_structure, cells)) for cells in cut)
    is_titled = len(rows[0]) > 1 and any(map(is_title, rows[0]))
    return is_titled or sure > 0.5 * len(rows)


def _with_name(cell: str) -> bool:
    words = cell.split()
    return is_inchi(cell) or (len(words) > 1 and shows_structure(words[0]))
