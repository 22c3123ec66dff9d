"""What people write into the second line of an xyz file: charge, spin and the unit of length.

No standard says how. The common spellings are read; what merely looks like one is a name, and what
can be no charge, spin or unit is an error, as a guess would be silently wrong.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from molgeo.chem.electrons import spin_reason, whole_charge
from molgeo.chem.parsing import mol_from_smiles, rdkit_messages
from molgeo.elements import SYMBOLS, formula
from molgeo.units import COORDINATE_UNITS

_words = str.split

_LENGTHS: Final = {
    word: unit
    for unit, words in {
        "angstrom": "angstrom angstroms angström ångström ångstrom ang angs å å a metal real",
        "bohr": "bohr bohrs bohrradius bohrradii a0 au a.u. a.u atomic atomicunit atomicunits",
        "nm": "nm nanometer nanometers nanometre nanometres",
        "pm": "pm picometer picometers picometre picometres",
    }.items()
    for word in words.split()
}
"""Words for units of length; those of LAMMPS whose unit of length is Å too."""

_OTHERS: Final = _words(
    """ev mev kev hartree hartrees ha eh mha kcal cal kcal/mol kj j rydberg ry k kelvin cm-1 cm^-1
    1/cm fs ps s e debye d hz thz gpa bar kbar amu u dalton degree degrees deg rad radian radians"""
)
"""Words for units of something else, of which a comment may tell too."""

_OF_SOMETHING_ELSE: Final = _words(
    """energy energies e force forces gradient gradients dipole charge charges mass masses time
    velocity velocities momenta stress pressure virial frequency frequencies angle temperature
    atomic"""
)
_OF_LENGTH: Final = _words(
    """length lengths distance distances coord coords coordinate coordinates pos position positions
    geometry geom xyz cell lattice space spatial"""
)
_OTHER_CHARGE: Final = _words(
    """partial nuclear core atomic mulliken esp resp hirshfeld lowdin löwdin bader nbo npa max min
    point effective"""
)

_UNIT = re.compile(
    r"(?:(?P<of>[^\W\d_]+)[ _-]*)?(?<![^\W_])units?\b['\"]?\s*(?:[=:]|\bis\b|\bare\b|\bin\b)\s*"
    r"['\"(\[]?(?P<unit>[^\s,;'\")\]]+(?:\s+(?:units?|radi(?:us|i))\b)?)",
    re.IGNORECASE,
)
_BARE_UNIT = re.compile(
    r"(?<![\w./^*-])(bohrs?|angstroms?|nm|pm|a\.u\.?|atomic units?|nanomet\w+|picomet\w+)"
    r"(?![\w^*/²³-])",
    re.IGNORECASE,
)
_NUMBER: Final = r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?[+-]?"
_END: Final = r"(?![\w.])"
_CHARGE = re.compile(
    r"(?:(?P<of>[^\W\d_]+)[ _-]*)?(?:(?<![^\W_])(?:charge|chrg|chg)\b)['\"]?\s*(?:"
    rf"(?:[=:]|\bis\b|\bof\b)\s*['\"]?(?P<said>[^\s,;'\")\]}}|]+)|\s(?P<number>{_NUMBER}){_END})",
    re.IGNORECASE,
)
_Q = re.compile(rf"(?<![\w.])q\s*[=:]\s*({_NUMBER}){_END}", re.IGNORECASE)
_BOTH = re.compile(
    r"(?<![^\W_])charge\s*(?:/|,|&|and)?\s*(?:and\s+)?(?:spin[ _-]*)?mult(?:iplicity)?\s*[=:]?\s*"
    r"([+-]?\d+)[\s,/]+(\d+)\b",
    re.IGNORECASE,
)
_ALONE = re.compile(r"\s*(?:\*\s*xyz\s+)?([+-]?\d{1,2})[\s,]+(\d{1,2})\s*")
_PARENTHESES = re.compile(r"\(\s*(?:(\d{1,2})\s*([+-])|([+-])\s*(\d{1,2}))\s*\)(?![\w-])")
_AT_END = re.compile(r"(?<![\d,;/+-])\s([1-9][+-]|\+[1-9])\s*$")
_ION = re.compile(
    r"\[?(?P<formula>(?:[A-Z][a-z]?\d*)+)\]?\^?[({]?"
    r"(?:(?P<size>\d?)(?P<sign>\++|-+)|(?P<sign_first>[+-])(?P<size_last>\d))[)}]?"
)
_SPIN = re.compile(
    r"(?<![^\W_])(?P<key>(?:spin[ _-]*)?mult(?:iplicity)?|2S\+1|spin|uhf|nopen|"
    r"n?unpaired(?:[ _-]*electrons)?)\b['\"]?\s*(?:(?:[=:]|\bis\b|\bof\b)\s*['\"]?"
    rf"(?P<said>[^\s,;'\")\]}}|]+)|\s(?P<number>\d+(?:/2|\.\d+)?){_END})",
    re.IGNORECASE,
)
_QUANTUM_NUMBER = re.compile(r"(?<!\S)S\s*=\s*(\d+(?:\.\d+|/2)?)(?!\S)")
_UNPAIRED = re.compile(
    r"(?<![\w.])(one|two|three|four|[1-9])[ -]+(?:unpaired|single)[ -]+electrons?\b", re.IGNORECASE
)
_OPEN_WORD = re.compile(
    r"(?<![\w-])(doublet|triplet|quartet|quintet|sextet|septet|diradical|biradical|"
    r"radical[ -](?:cat|an)ion|open[ -]shell)(?![\w-])",
    re.IGNORECASE,
)
_ION_WORD = re.compile(r"(?<![\w-])(?:(di)?(cat|an)ion)(?![\w-])", re.IGNORECASE)
_CHARGE_WORDS: Final = dict(
    pair.split("=")
    for pair in _words("neutral=0 none=0 +=1 cation=1 -=-1 anion=-1 dication=2 dianion=-2")
)


class Comment(NamedTuple):
    """What a comment says.

    Attributes:
        charge: total charge, e.
        open_shell: what it says of unpaired electrons, as a sentence; "" for nothing.
        unit: of length, as in `molgeo.units.COORDINATE_UNITS`; None if it says none.
        maybe: a unit that it names, perhaps of something else.
    """

    charge: int
    open_shell: str
    unit: str | None
    maybe: str | None


def read_comment(text: str, z: NDArray[np.int64]) -> Comment:
    """Read what the comment of a plain xyz frame says.

    Args:
        text: the second line.
        z: (atoms,) atomic numbers of the frame, which tell a charge from a name: ``NH4+``, ``0 1``.

    Raises:
        ValueError: a charge, spin or unit that cannot be, or several that do not agree.
    """
    text = text.replace("−", "-")
    charges = dict.fromkeys(_charges(text, z))
    if len(charges) > 1:
        said = " and ".join(f"{charge:+d}" if charge else "0" for charge in charges)
        raise ValueError(f"the comment says two charges, {said}: correct it")
    open_shell = next(filter(None, _open_shells(text, z)), "")
    return Comment(next(iter(charges), 0), open_shell, _unit(text), _bare_unit(text))


def unit_of_info(info: Mapping[Any, Any]) -> str | None:
    """The unit of length that ``info`` of extended xyz says, or None.

    Raises:
        ValueError: it is no known unit.
    """
    for key, value in info.items():
        words = re.split(r"[ _-]+", str(key).lower())
        if words[-1] in ("unit", "units") and (len(words) == 1 or words[-2] in _OF_LENGTH):
            unit = _length(str(value), of_length=len(words) > 1)
            if unit is not None:
                return unit
    return None


def _charges(text: str, z: NDArray[np.int64]) -> Iterator[int]:
    """All charges that a comment says."""
    if both := _alone(text, z) or _BOTH.search(text):
        yield _whole(both[1])
    for found in _CHARGE.finditer(_BOTH.sub(" ", text)):
        if (found["of"] or "").lower() not in _OTHER_CHARGE:
            yield _whole(found["said"] or found["number"])
    for found in _Q.finditer(text):
        if re.fullmatch(r"[+-]?\d+(?:\.0*)?[+-]?", found[1]):  # q = 0.3 is another quantity
            yield _whole(found[1])
    for found in _PARENTHESES.finditer(text):
        yield _whole(f"{found[1]}{found[2]}" if found[1] else f"{found[4]}{found[3]}")
    if at_end := _AT_END.search(text):
        yield _whole(at_end[1])
    for token, following in itertools.pairwise([*text.split(), ""]):
        charge = _of_ion(token, z)
        if charge is None and re.fullmatch(r"\d?[+-]", following):
            charge = _of_ion(token + following, z)  # SO4 2-
        if charge is None and re.search(r"\[[^\]]*[+-]\d*\]", token):
            charge = _of_smiles(token, z)
        if charge is not None:
            yield charge
    if (ion := _ION_WORD.search(text)) and (ion[1] or int(z.sum()) % 2):
        yield int(_CHARGE_WORDS[ion[0].lower()])


def _open_shells(text: str, z: NDArray[np.int64]) -> Iterator[str | None]:
    """What a comment says of unpaired electrons, as sentences; None for a closed shell."""
    if both := _alone(text, z) or _BOTH.search(text):
        yield spin_reason("multiplicity", int(both[2]))
    for found in _SPIN.finditer(_BOTH.sub(" ", text)):
        value = found["said"] or found["number"]
        if value.lower() not in ("singlet", "closed"):
            key = found["key"].lower()
            other = "unpaired_electrons" if "unpaired" in key else "multiplicity"
            yield spin_reason(key if key in ("spin", "uhf", "nopen") else other, _as_number(value))
    if (number := _QUANTUM_NUMBER.search(text)) and _as_number(number[1]):
        yield f"S = {number[1]}: expected a closed shell (0)"
    if word := _UNPAIRED.search(text) or _OPEN_WORD.search(text):
        yield f"the comment says {word[0]!r}: expected a closed shell"


def _alone(text: str, z: NDArray[np.int64]) -> re.Match[str] | None:
    """A comment of charge and multiplicity alone; of numbers that cannot be these it is a name."""
    found = _ALONE.fullmatch(text)
    if found is None:
        return None
    electrons = int(z.sum()) - _whole(found[1])
    return found if int(found[2]) > 0 and (electrons + int(found[2])) % 2 else None


def _whole(text: str) -> int:
    """A charge as people write it: ``-1``, ``2-``, ``+``, ``0.0``, ``neutral``."""
    plain = _CHARGE_WORDS.get(text.lower(), text)
    if re.fullmatch(r"\d+[+-]", plain):
        plain = plain[-1] + plain[:-1]
    try:
        return whole_charge(plain)
    except ValueError as error:
        raise ValueError(f"the comment says {error}") from error


def _as_number(text: str) -> str | float:
    """``1``, ``1/2`` and ``0.5`` as a number; other text as it is."""
    if text.isdecimal():
        return int(text) if len(text) < 10 else text
    numerator, slash, denominator = text.partition("/")
    try:
        return float(numerator) / float(denominator) if slash else float(text)
    except (ValueError, ZeroDivisionError):
        return text


def _of_ion(token: str, z: NDArray[np.int64]) -> int | None:
    """The charge of an ion's formula, ``SO4(2-)``, if it is that of the atoms."""
    found = _ION.fullmatch(token.strip(",;:.\"'"))
    if found is None or (found["size"] and len(found["sign"]) > 1):
        return None
    signs = found["sign"] or found["sign_first"]
    symbols, size, after = found["formula"], found["size"] or "", found["size_last"]
    meanings = [(symbols, int(size or after or len(signs))), (symbols + size, 1)]
    if not size and not after and symbols[-1].isdigit() and len(signs) == 1:
        meanings.append((symbols[:-1], int(symbols[-1])))  # SO42-
    for atoms, charge in meanings:
        if charge and _composition(atoms) == formula(z):
            return charge if signs[0] == "+" else -charge
    return None


def _composition(text: str) -> str | None:
    """A formula in Hill order, or None for one of unknown elements."""
    numbers: list[int] = []
    for symbol, count in re.findall(r"([A-Z][a-z]?)(\d*)", text):
        if symbol not in SYMBOLS[1:] or len(count) > 3:
            return None
        numbers += [SYMBOLS.index(symbol)] * (int(count) if count else 1)
    return formula(numbers)


def _of_smiles(token: str, z: NDArray[np.int64]) -> int | None:
    """The charge of a SMILES, if it is one of the atoms."""
    with rdkit_messages():
        mol = mol_from_smiles(token)
        if mol is None:
            return None
        mol = Chem.AddHs(mol)
    if formula([atom.GetAtomicNum() for atom in mol.GetAtoms()]) != formula(z):
        return None
    return int(Chem.GetFormalCharge(mol))


def _unit(text: str) -> str | None:
    """The unit of length that a comment says as such."""
    units = set[str]()
    for found in _UNIT.finditer(text):
        of = (found["of"] or "").lower()
        if of not in _OF_SOMETHING_ELSE:
            units |= {_length(found["unit"], of in _OF_LENGTH) or ""} - {""}
    if len(units) > 1:
        raise ValueError(f"the comment says two units of length, {' and '.join(sorted(units))}")
    return units.pop() if units else None


def _length(text: str, of_length: bool) -> str | None:
    """The unit of a word; None for one of energy, say; a ValueError for no known unit."""
    first = text.lower().split("/")[0]
    unit = _LENGTHS.get("".join(text.lower().split())) or _LENGTHS.get(first.rstrip("."))
    if unit is None and (of_length or first not in _OTHERS):
        raise ValueError(
            f"unit of length {text[:40]!r} is unknown: expected one of "
            f"{', '.join(COORDINATE_UNITS)}"
        )
    return unit


def _bare_unit(text: str) -> str | None:
    """A unit of length that a comment names, unless it follows a number."""
    for found in _BARE_UNIT.finditer(text):
        if not re.search(r"[\d.]\s*$", text[: found.start()]):
            return _LENGTHS["".join(found[1].lower().split())]
    return None
