"""Which column of a table holds the structures, which one the names: by title and by content.

A title counts more than content, but only if the content agrees: codes such as ``NO`` and ``CO``
are SMILES by accident, and a column called ``mol`` may hold names.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from molgeo.chem.files.formats import ReadOptions
from molgeo.chem.parsing import is_inchi, mol_from_smiles, rdkit_messages
from molgeo.runtime.errors import InputError

N_CELLS: Final = 100  # cells of a column that are looked at
N_RECORDS: Final = 150  # records of a table that are looked at

_words = str.split

_PARTIAL: Final = _words(
    """scaffold murcko solvent salt fragment reactant reagent product core substituent
    rgroup sidechain building linker ligase ring similar query"""
)
"""In the title of a column, they tell that its SMILES are not of the whole molecule."""

_STRUCTURES: Final = _words(
    """structure structures chemicalstructure compoundstructure molecularstructure
    structurestring mol molecule molecules rdmol romol rdkitmol compound"""
)

_CALLED_STRUCTURE: Final = 10  # ranks below it are those of titles that say ``smiles`` or ``inchi``
_NAMES: Final = _words(
    """name molname moleculename compoundname chemicalname preferredname prefname
    drugname commonname title compoundid moleculeid molid chemblid moleculechemblid compoundchemblid
    pubchemcid zincid drugbankid chebiid id identifier cid molregno cas casnumber casno casrn iupac
    iupacname inchikey standardinchikey synonym label compoundnumber compoundkey catalognumber
    catalogid code sample sampleid key compound molecule mol"""
)
"""Titles of columns that name or identify molecules, the best first."""

_FOR_PEOPLE: Final = ("name", "title", "iupac", "synonym", "label")
"""In titles of columns whose cells are names for people, not identifiers."""

_WRITTEN: Final = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9@+\-\[\]()=#$:/\\%.*~]+")
_BY_LETTERS: Final = re.compile(r"InChI=.*|(Cl|Br|\[[^\]]*|[BCNOPSFIbcnops]|[^A-Za-z_ ])*")
"""What may be a SMILES, even a faulty one; few words are."""

_LITTLE: Final = 4  # heavy atoms below which a SMILES may well be a code
_LOOSE: Final = re.compile(r"[\W_]+")
_TOKEN: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_LONGEST: Final = 60


class Columns(NamedTuple):
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
        is_inchi = self.has_header and "inchi" in self.header[self.structure].lower()
        what = "InChI" if is_inchi else "SMILES"
        return f"{what} from {self._called(self.structure)}, {names}"

    def _called(self, place: int) -> str:
        return f"column {self.header[place]!r}" if self.has_header else f"column {place + 1}"


def choose(
    records: Sequence[Sequence[str]], options: ReadOptions, origin: str, *, titled: bool = False
) -> Columns:
    """Find the columns of a table.

    Args:
        records: the first ones, the header among them if there is one; at least one.
        options: may name the columns.
        origin: name of the table, for errors.
        titled: the first record is a header for sure.

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
    structure = _structure(titles, columns, options, origin)
    has_header = titled or _is_header(titles, columns, structure, options)
    header = _header(titles if has_header else [""] * width)
    name, identifiers = None, list[int]()
    if has_header:
        identifiers = [
            k
            for k in named(titles)
            if k != structure and (not columns[k] or any(map(str.strip, columns[k])))
        ]
        name = identifiers[0] if identifiers else None
    if options.name_column is not None:
        name = _asked("name_column", options.name_column, titles, width, origin)
    kept: Sequence[int] = range(len(header)) if options.keep_columns else ()
    if options.keep_columns is None:
        kept = identifier(header, identifiers, name)
    # What the output has anyway, under this very name, does not come along.
    told = {name: "name", structure: None if options.strip_salts else "smiles"}
    kept = tuple(k for k in kept if header[k].lower() != told.get(k))
    return Columns(header, has_header, structure, name, kept)


def _structure(
    titles: Sequence[str], columns: Sequence[Sequence[str]], options: ReadOptions, origin: str
) -> int:
    """The column of structures."""
    if options.smiles_column is not None:
        asked = options.smiles_option, options.smiles_column
        return _asked(*asked, titles, len(columns), origin)
    ranks = {
        k: rank for k, title in enumerate(titles) if (rank := structure_rank(title)) is not None
    }
    called = sorted((k for k in ranks if ranks[k] < _CALLED_STRUCTURE), key=lambda k: (ranks[k], k))
    for k in called:  # by its very title, also if many of its cells are in bad shape
        if content(columns[k])[0] >= 0.2:
            return k
    scores = []
    identifiers = set(named(titles))
    for k, cells in enumerate(columns):
        if k in called:
            continue
        # Without a second record the first one is all there is to see.
        valid, rich = content(cells or titles[k : k + 1])
        more = _bonus(ranks.get(k)) if valid > 0 else 0.0
        is_code = k in identifiers and rich < 1
        if more or (valid >= 0.5 and not is_code):
            scores.append((valid * rich + more, -k))
    if scores and (max(scores)[0] >= 0.8 or not called):
        return -max(scores)[1]
    if called:
        return called[0]
    option = f"--{options.smiles_option.replace('_', '-')}"
    raise InputError(
        f"{origin}: no column is called 'smiles' and in none do the values parse as SMILES; "
        f"the columns are {_shown(titles)}; name it with {option}"
    )


def _bonus(rank: int | None) -> float:
    """What a title that does not say ``smiles`` adds to the score of a column's content."""
    if rank is None or rank >= _CALLED_STRUCTURE + len(_STRUCTURES):
        return 0.0
    return 0.8 if "struct" in _STRUCTURES[rank - _CALLED_STRUCTURE] else 0.3


def _asked(what: str, wanted: str | int, titles: Sequence[str], width: int, origin: str) -> int:
    """The place of a column that the user names, or numbers from 1."""
    text = str(wanted).strip()
    for same in (str, str.lower, _loose):
        for place, title in enumerate(titles):
            if title and same(title) == same(text):
                return place
    if text.isdecimal() and 1 <= int(text) <= width:
        return int(text) - 1
    near = difflib.get_close_matches(text, titles, n=1)
    hint = f", did you mean {near[0]!r}?" if near else ""
    raise InputError(
        f"{origin}: {what}: no column {text!r}{hint}; expected a number from 1 to {width} or one "
        f"of {_shown(titles)}"
    )


def _shown(titles: Sequence[str]) -> str:
    return ", ".join(map(repr, titles[:20])) + (" …" if len(titles) > 20 else "")


def _is_header(
    titles: Sequence[str], columns: Sequence[Sequence[str]], structure: int, options: ReadOptions
) -> bool:
    """Whether the first record is a header: by its words, by its structure, by its numbers."""
    for column in (options.smiles_column, options.name_column):
        if column is not None and not str(column).strip().isdecimal():
            return True
    title = titles[structure] if structure < len(titles) else ""
    if any(map(is_title, titles)) or named(titles) or not _BY_LETTERS.fullmatch(title):
        return True
    return any(
        title and not _is_number(title) and len(cells) > 0 and all(map(_is_number, cells))
        for title, cells in zip(titles, columns, strict=False)
    )


def _is_number(text: str) -> bool:
    try:
        float(text.strip() or "nan")
    except ValueError:
        return False
    return True


def _header(titles: Sequence[str]) -> tuple[str, ...]:
    """Names of all columns: a number for those without, and for the second of a name."""
    found: list[str] = []
    for place, title in enumerate(titles, start=1):
        name = title = title or f"column_{place}"
        n = 1
        while name in found:
            n += 1
            name = f"{title}_{n}"
        found.append(name)
    return tuple(found)


def content(cells: Iterable[Any]) -> tuple[float, float]:
    """The part of cells that are structures, and how much larger than a code these are, to 1."""
    texts = (text for cell in cells if (text := str(cell).strip()))
    atoms = [_n_heavy(text) for text, _ in zip(texts, range(N_CELLS), strict=False)]
    valid = sum(n > 0 for n in atoms)
    rich = sum(min(1.0, n / _LITTLE) for n in atoms)
    return valid / max(1, len(atoms)), rich / max(1, valid)


def shows_structure(cell: str) -> bool:
    """Whether a cell is a structure, or the header of a column of such."""
    return is_title(cell) or _n_heavy(cell.strip()) > 0


def _n_heavy(text: str) -> int:
    """Heavy atoms of a structure as text, at least 1; 0 if it is none."""
    if is_inchi(text):
        return _LITTLE
    if not _WRITTEN.fullmatch(text):
        return 0
    with rdkit_messages():
        mol = mol_from_smiles(text)
    return 0 if mol is None or not mol.GetNumAtoms() else max(1, mol.GetNumHeavyAtoms())


def is_title(cell: str) -> bool:
    """Whether a cell is the title of a column of structures."""
    return len(cell) < _LONGEST and structure_rank(cell) is not None


def structure_rank(title: str) -> int | None:
    """How sure a title is that of the structures, 0 being the surest; None if it is not."""
    word = _loose(title)
    if is_inchi(title):
        return None
    if "smiles" in word or word in ("smi", "smile"):
        if any(part in word for part in _PARTIAL):
            return _CALLED_STRUCTURE + len(_STRUCTURES)
        if any(part in word for part in ("flat", "nostereo", "nonstereo", "connectivity")):
            return 4
        if "isomeric" in word or "stereo" in word or word in ("isosmiles", "absolutesmiles"):
            return 0
        if word in ("smiles", "smi", "smile"):
            return 1
        return 2 if "canonical" in word or word == "cansmiles" else 3
    if "inchi" in word and "key" not in word:
        return 8
    return _CALLED_STRUCTURE + _STRUCTURES.index(word) if word in _STRUCTURES else None


def named(titles: Sequence[str]) -> list[int]:
    """Places of the titles that name or identify molecules, the best first."""
    found = []
    for place, title in enumerate(titles):
        tokens = [token.lower() for token in _TOKEN.findall(title)] or [""]
        if (word := _loose(title)) in _NAMES:
            found.append((_NAMES.index(word), place))
        elif tokens[-1] == "id" or "iupac" in tokens:
            found.append((len(_NAMES), place))
        elif tokens[-1] == "name":
            found.append((len(_NAMES) + 1, place))
    return [place for _, place in sorted(found)]


def identifier(titles: Sequence[str], places: Iterable[int], name: int | None) -> list[int]:
    """The place of the title that is kept unasked: an identifier, if the names are others.

    Of the ``places`` of titles that name or identify molecules ``name`` is that of the names.
    """

    def for_people(place: int) -> bool:
        return any(word in _loose(titles[place]) for word in _FOR_PEOPLE)

    if name is not None and not for_people(name):
        return []
    return [k for k in places if k != name and not for_people(k)][:1]


def _loose(title: str) -> str:
    """A title without what people write in different ways: case, spaces, punctuation."""
    return _LOOSE.sub("", title).lower()
