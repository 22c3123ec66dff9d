"""What the titles of columns and fields say: structures, names, identifiers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from molgeo.chem.parsing import is_inchi


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_PARTIAL: Final = _words(
    """scaffold murcko solvent salt fragment reactant reagent product core substituent rgroup
    sidechain building linker ligase ring similar query"""
)
"""In the title of a column, they tell that its SMILES are not of the whole molecule."""

_STRUCTURES: Final = _words(
    """structure structures chemicalstructure compoundstructure molecularstructure structurestring
    mol molecule molecules rdmol romol rdkitmol compound"""
)

CALLED_STRUCTURE: Final = 10
"""Ranks below it are those of titles that say ``smiles`` or ``inchi``."""

_NAMES: Final = _words(
    """name molname moleculename compoundname chemicalname preferredname prefname drugname
    commonname title compoundid moleculeid molid chemblid moleculechemblid compoundchemblid
    pubchemcid zincid drugbankid chebiid id identifier cid molregno cas casnumber casno casrn
    iupac iupacname inchikey standardinchikey synonym label compoundnumber compoundkey
    catalognumber catalogid code sample sampleid key compound molecule mol"""
)
"""Titles of columns that name or identify molecules, the best first."""

_FOR_PEOPLE: Final = _words("name title iupac synonym label")
"""In titles of columns whose cells are names for people, not identifiers."""

_LOOSE: Final = re.compile(r"[\W_]+")
_TOKEN: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_LONGEST: Final = 60


def loose(title: str) -> str:
    """A title without what people write in different ways: case, spaces, punctuation."""
    return _LOOSE.sub("", title).lower()


def is_title(cell: str) -> bool:
    """Whether a cell is the title of a column of structures."""
    return len(cell) < _LONGEST and structure_rank(cell) is not None


def structure_rank(title: str) -> int | None:
    """How sure a title is that of the structures, 0 being the surest; None if it is not."""
    word = loose(title)
    if is_inchi(title):
        return None
    if "smiles" in word or word in ("smi", "smile"):
        if any(part in word for part in _PARTIAL):
            return CALLED_STRUCTURE + len(_STRUCTURES)
        if any(part in word for part in ("flat", "nostereo", "nonstereo", "connectivity")):
            return 4
        if "isomeric" in word or "stereo" in word or word in ("isosmiles", "absolutesmiles"):
            return 0
        if word in ("smiles", "smi", "smile"):
            return 1
        return 2 if "canonical" in word or word == "cansmiles" else 3
    if "inchi" in word and "key" not in word:
        return 8
    return CALLED_STRUCTURE + _STRUCTURES.index(word) if word in _STRUCTURES else None


def bonus(rank: int | None) -> float:
    """What a title that does not say ``smiles`` adds to the score of a column's content."""
    if rank is None or rank >= CALLED_STRUCTURE + len(_STRUCTURES):
        return 0.0
    return 0.8 if "struct" in _STRUCTURES[rank - CALLED_STRUCTURE] else 0.3


def named(titles: Sequence[str]) -> list[int]:
    """Places of the titles that name or identify molecules, the best first.

    Args:
        titles: of a table or of the fields of an SDF.
    """
    rank = {name: k for k, name in enumerate(_NAMES)}
    found = []
    for place, title in enumerate(titles):
        tokens = [token.lower() for token in _TOKEN.findall(title)]
        if loose(title) in rank:
            found.append((rank[loose(title)], place))
        elif tokens and (tokens[-1] == "id" or "iupac" in tokens):
            found.append((len(rank), place))
        elif tokens and tokens[-1] == "name":
            found.append((len(rank) + 1, place))
    return [place for _, place in sorted(found)]


def identifier(titles: Sequence[str], places: Iterable[int], name: int | None) -> list[int]:
    """The place of the column that is kept unasked: an identifier, if the names are others.

    Args:
        titles: of a table or of the fields of an SDF.
        places: of those that name or identify molecules, the best first.
        name: where the names are taken from.
    """

    def for_people(place: int) -> bool:
        return any(word in loose(titles[place]) for word in _FOR_PEOPLE)

    if name is not None and not for_people(name):
        return []
    return [k for k in places if k != name and not for_people(k)][:1]
