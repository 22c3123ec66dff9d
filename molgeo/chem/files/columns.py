"""Which column of a table holds the structures, which one the names: by header and by content.

A header counts more than content, but only if the content agrees: codes such as ``NO`` and ``CO``
are SMILES by accident, and a column called ``mol`` may hold names.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from molgeo.chem.files.reading import Reading
from molgeo.chem.files.titles import (
    CALLED_STRUCTURE,
    bonus,
    identifier,
    is_title,
    loose,
    named,
    structure_rank,
)
from molgeo.chem.molecule import InputError
from molgeo.chem.parsing import is_inchi, mol_from_smiles
from molgeo.chem.rdkit_log import rdkit_messages

N_CELLS: Final = 100
"""Cells of a column that are looked at."""

N_RECORDS: Final = 150
"""Records of a table that are looked at."""

_WRITTEN: Final = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9@+\-\[\]()=#$:/\\%.*~]+")
_BY_LETTERS: Final = re.compile(r"InChI=.*|(Cl|Br|\[[^\]]*|[BCNOPSFIbcnops]|[^A-Za-z_ ])*")
"""What may be a SMILES, even a faulty one; few words are."""

_LITTLE: Final = 4
"""Heavy atoms below which a SMILES may well be a code."""


class Content(NamedTuple):
    """What the cells of a column look like.

    Attributes:
        n: cells that are not empty, of those that were looked at.
        valid: the part of them that are structures.
        rich: how much larger than a code these are on average, from 0 to 1.
    """

    n: int
    valid: float
    rich: float


@dataclass(frozen=True)
class Columns:
    """The columns of a table that are used, by their places from 0.

    Attributes:
        header: names of all columns, each one once.
        has_header: whether the first record is one.
        structure: the column of SMILES or InChI.
        name: the column of names, if there is one.
        kept: columns that are taken along.
    """

    header: tuple[str, ...]
    has_header: bool
    structure: int
    name: int | None
    kept: tuple[int, ...]

    def __str__(self) -> str:
        names = "no names" if self.name is None else f"names from {self._called(self.name)}"
        return f"SMILES from {self._called(self.structure)}, {names}"

    def _called(self, place: int) -> str:
        return f"column {self.header[place]!r}" if self.has_header else f"column {place + 1}"

    @property
    def kept_names(self) -> tuple[str, ...]:
        """Names of the columns that are taken along."""
        return tuple(self.header[place] for place in self.kept)


def choose(
    records: Sequence[Sequence[str]], reading: Reading, origin: str, *, titled: bool = False
) -> Columns:
    """Find the columns of a table.

    Args:
        records: the first ones, the header among them if there is one; at least one.
        reading: may name the columns.
        origin: name of the table, for errors.
        titled: the first record is a header for sure.

    Returns:
        The choice.

    Raises:
        InputError: there is no column of structures, or none of the name that is asked for.
    """
    first, others = records[0], records[1:]
    width = max(map(len, records))
    lengths = Counter(map(len, others))
    if lengths.most_common(1) == [(len(first) + 1, len(others))] and any(r[-1] for r in others):
        first = ["", *first]  # R leaves out the title of its row names
    columns = [[cells[k] for cells in others if k < len(cells)] for k in range(width)]
    titles = [cell.strip().lstrip("\ufeff") for cell in first]
    structure = _structure(titles, columns, reading, origin)
    has_header = titled or _is_header(titles, columns, structure, reading)
    header = _header(titles, len(titles)) if has_header else _header([], width)
    name, identifiers = None, list[int]()
    if has_header:
        identifiers = [k for k in named(titles) if k != structure and _holds(columns[k])]
        name = identifiers[0] if identifiers else None
    if reading.name_column is not None:
        name = _asked("name_column", reading.name_column, titles, width, origin)
    kept: Sequence[int] = range(len(header)) if reading.keep_columns else ()
    if reading.keep_columns is None:
        kept = identifier(header, identifiers, name)
    return Columns(
        header,
        has_header,
        structure,
        name,
        tuple(k for k in kept if not _is_told(header[k], k, structure, name, reading)),
    )


def shows_structure(cell: str) -> bool:
    """Whether a cell is a structure, or the header of a column of such."""
    return is_title(cell) or _n_heavy(cell.strip()) > 0


def content(cells: Iterable[Any]) -> Content:
    """What cells look like, up to `N_CELLS` that are not empty."""
    n = valid = 0
    rich = 0.0
    for cell in cells:
        text = str(cell).strip()
        if not text:
            continue
        atoms = _n_heavy(text)
        n, valid, rich = n + 1, valid + (atoms > 0), rich + min(1.0, atoms / _LITTLE)
        if n == N_CELLS:
            break
    return Content(n, valid / max(1, n), rich / max(1, valid))


def _structure(
    titles: Sequence[str], columns: Sequence[Sequence[str]], reading: Reading, origin: str
) -> int:
    if reading.smiles_column is not None:
        return _asked("smiles_column", reading.smiles_column, titles, len(columns), origin)
    ranks = [structure_rank(title) for title in titles]
    ranks += [None] * (len(columns) - len(titles))
    by_name = sorted((rank, k) for k, rank in enumerate(ranks) if rank is not None)
    called = [k for rank, k in by_name if rank < CALLED_STRUCTURE]
    for k in called:  # by its very title, also if many of its cells are in bad shape
        if content(columns[k]).valid >= 0.2:
            return k
    scores = []
    identifiers = set(named(titles))
    for k, cells in enumerate(columns):
        if k in called:
            continue
        # Without a second record the first one is all there is to see.
        found = content(cells or titles[k : k + 1])
        more = bonus(ranks[k]) if found.valid > 0 else 0.0
        is_code = k in identifiers and found.rich < 1
        if more or (found.valid >= 0.5 and not is_code):
            scores.append((found.valid * found.rich + more, -k))
    if scores and (max(scores)[0] >= 0.8 or not called):
        return -max(scores)[1]
    if called:
        return called[0]
    shown = ", ".join(map(repr, titles[:20])) + (" …" if len(titles) > 20 else "")
    raise InputError(
        f"{origin}: no column is called 'smiles' and in none do the values parse as SMILES; "
        f"the columns are {shown}; name it with --smiles-column"
    )


def _asked(what: str, wanted: str | int, titles: Sequence[str], width: int, origin: str) -> int:
    """The place of a column that the user names, or numbers from 1."""
    text = str(wanted).strip()
    for same in (str, str.lower, loose):
        for place, title in enumerate(titles):
            if title and same(title) == same(text):
                return place
    if text.isdecimal() and 1 <= int(text) <= width:
        return int(text) - 1
    near = difflib.get_close_matches(text, titles, n=1)
    hint = f", did you mean {near[0]!r}?" if near else ""
    shown = ", ".join(map(repr, titles[:20])) + (" …" if len(titles) > 20 else "")
    raise InputError(
        f"{origin}: {what}: no column {text!r}{hint}; expected a number from 1 to {width} or one "
        f"of {shown}"
    )


def _is_header(
    titles: Sequence[str],
    columns: Sequence[Sequence[str]],
    structure: int,
    reading: Reading,
) -> bool:
    """Whether the first record is a header: by its words, by its structure, by its numbers."""
    for column in (reading.smiles_column, reading.name_column):
        if column is not None and not str(column).strip().isdecimal():
            return True
    title = titles[structure] if structure < len(titles) else ""
    if any(map(is_title, titles)) or named(titles) or not _BY_LETTERS.fullmatch(title):
        return True
    return any(
        title and not _is_number(title) and len(cells) > 0 and all(map(_is_number, cells))
        for title, cells in zip(titles, columns, strict=False)
    )


def _is_told(title: str, place: int, structure: int, name: int | None, reading: Reading) -> bool:
    """Whether the output has a column of this name with this very content anyway."""
    if place == structure:
        return title.lower() == "smiles" and not reading.strip_salts
    return place == name and title.lower() == "name"


def _header(titles: Sequence[str], width: int) -> tuple[str, ...]:
    """Names of all columns: a number for those without, and for the second of a name."""
    found: list[str] = []
    for place in range(width):
        title = (titles[place] if place < len(titles) else "") or f"column_{place + 1}"
        name, n = title, 1
        while name in found:
            n += 1
            name = f"{title}_{n}"
        found.append(name)
    return tuple(found)


def _holds(cells: Sequence[str]) -> bool:
    return not cells or any(cell.strip() for cell in cells)


def _n_heavy(text: str) -> int:
    """Heavy atoms of a structure as text; 0 if it is none."""
    if is_inchi(text):
        return _LITTLE
    if not _WRITTEN.fullmatch(text):
        return 0
    with rdkit_messages():
        mol = mol_from_smiles(text)
    return 0 if mol is None else max(1, mol.GetNumHeavyAtoms()) if mol.GetNumAtoms() else 0


def _is_number(text: str) -> bool:
    try:
        float(text.strip() or "nan")
    except ValueError:
        return False
    return True
