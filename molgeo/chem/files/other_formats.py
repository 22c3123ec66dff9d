"""Text of another format that is about to be read as lines of SMILES.

``C 0.0 0.0 0.0`` is methane to a reader of SMILES, with a name of three numbers: what looks like
another format is refused, with the name of the reader that takes it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from molgeo.chem.files.columns import shows_structure
from molgeo.chem.files.titles import is_title
from molgeo.chem.parsing import is_inchi

N_LINES: Final = 30
"""Lines that are looked at."""

_NUMBER: Final = r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+|\*\^[+-]?\d+)?"
_ATOM: Final = re.compile(rf"\s*(\d{{1,3}}|[A-Za-z]{{1,2}}[\d_]*)(\s+{_NUMBER}){{3}}(\s.*)?")
_COUNTS: Final = re.compile(r".{33,} V[23]000\s*")
_BEGINNINGS: Final = (
    ("@<TRIPOS>", "mol2"),
    ("HETATM", "pdb"),
    ("ATOM  ", "pdb"),
    ("HEADER  ", "pdb"),
    ("COMPND  ", "pdb"),
    ("CRYST1", "pdb"),
    ("data_", "cif"),
    ("{", "json"),
    ("[{", "json"),
    ("<", "html or xml"),
    ("%PDF", "pdf"),
    ("PK\x03\x04", "a spreadsheet or zip archive"),
    ("PAR1", "parquet"),
    ("SQLite format", "a database"),
)


def looks_like(lines: Sequence[str]) -> str | None:
    """The format that text is in, if that is not lines of SMILES.

    Args:
        lines: the first ones.

    Returns:
        The name of a format, as `molgeo.chem.files.readers.FORMATS` has it if it can be read; None
        if nothing speaks against SMILES.
    """
    written = [line.rstrip("\r\n") for line in lines if line.strip()][:N_LINES]
    if not written:
        return None
    for beginning, name in _BEGINNINGS:
        if any(line.startswith(beginning) for line in written[:3]):
            return name
    if any(_COUNTS.fullmatch(line) or line.startswith(("$$$$", "M  END")) for line in written):
        return "sdf"
    atoms = [bool(_ATOM.fullmatch(line)) for line in written]
    if written[0].strip().isdecimal() and any(atoms[1:4]):
        return "xyz"
    if sum(atoms) > 0.8 * len(atoms):
        return "xyz without its two first lines"
    return _table(written)


def _table(lines: Sequence[str]) -> str | None:
    """Whether most lines are cut into cells by a delimiter, one of which is a structure."""
    for delimiter in ",;|":
        rows = [[cell.strip().strip('"') for cell in line.split(delimiter)] for line in lines]
        n = sum(len(cells) > 1 for cells in rows)
        if n <= 0.5 * len(rows):
            continue
        if len(rows[0]) > 1 and any(map(is_title, rows[0])):
            return "csv"
        # A line of SMILES may have the delimiter in the name behind them, or in an InChI.
        sure = sum(
            len(cells) > 1 and not _with_name(cells[0]) and any(map(shows_structure, cells))
            for cells in rows
        )
        if sure > 0.5 * len(rows):
            return "csv"
    return None


def _with_name(cell: str) -> bool:
    words = cell.split()
    return is_inchi(cell) or (len(words) > 1 and shows_structure(words[0]))
