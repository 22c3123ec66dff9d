"""Frames of .xyz and .extxyz files.

The text is cut into frames here, so that a broken frame spoils neither the ones before nor the ones
after it; what is inside a frame of extended xyz is read by ASE.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molgeo.chem.files.ase_files import from_ase
from molgeo.chem.files.formats import ReadOptions
from molgeo.chem.files.text import Lines, RecordLines
from molgeo.chem.files.xyz_comments import Comment, read_comment
from molgeo.chem.molecule import BadRow, Molecule, from_arrays
from molgeo.chem.plausible import implausible
from molgeo.elements import SYMBOLS
from molgeo.units import COORDINATE_UNITS

_MOST_DIGITS: Final = 10  # Python makes no number of 4,300 digits, nor has any file that many atoms
_WITH_VELOCITIES: Final = 7  # columns: element, position and, in many programs, velocity
_NUMBERS: Final = {symbol: number for number, symbol in enumerate(SYMBOLS) if number}
_DUMMIES: Final = frozenset(["x", "xx", "du", "bq", "gh", "lp", "lps", "q", "m", "ghost", "*", "-"])
_FORTRAN = re.compile(r"(?<=[\d.])[dD](?=[+-]?\d)")
_PAIR = re.compile(r"(?<!\S)([A-Za-z][\w.-]*)\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s,;\"']+)")
_LABEL = re.compile(r"([A-Za-z]{1,2}?)(?=[\d_'*.()@#+\-])")


def read_xyz(lines: Lines, origin: str, options: ReadOptions) -> Iterator[Molecule | BadRow]:
    """Frames of xyz or extxyz text; a frame that is cut short or malformed is a bad row.

    A line with one integer can only be the number of atoms, so that is where reading goes on after
    a malformed frame, and after QM9's own frames, which end in frequencies, SMILES and InChI.
    """
    number = 0
    for text in lines:
        if text.strip():
            number += 1
            yield _next_frame(text, lines, f"{origin}:{number}", options)
            options = replace(options, say=None)  # what is said of a file is said once


def _next_frame(text: str, lines: Lines, input: str, options: ReadOptions) -> Molecule | BadRow:
    """The frame that begins with a line, which was taken from the lines."""
    at = lines.number
    if not _is_count(text):
        _go_on(lines)
        got = text.strip()[:40]
        return BadRow(input, message=f"line {at}: expected the number of atoms, got {got!r}")
    n_atoms, comment, atoms = int(text), next(lines, "").strip(), RecordLines()
    in_qm9 = comment.startswith("gdb ")
    while atoms.n < n_atoms and (ahead := lines.peek(1)) and not _is_count(ahead[0]):
        atoms.add(next(lines))
    following = "".join(lines.peek(1))
    if atoms.fault:
        return BadRow(input, message=f"line {at}: frame {atoms.fault}")
    if atoms.n < n_atoms:
        where = "the next frame begins" if following else "the file ends"
        message = f"expected {n_atoms} atoms, {where} after {atoms.n}"
        return BadRow(input, message=f"line {at}: truncated frame, {message}")
    if _is_atom(following, in_qm9):
        _go_on(lines)
        message = f"line {at}: more atoms follow than the {n_atoms} that are announced"
        return BadRow(input, message=message)
    if in_qm9:
        _go_on(lines)
    return _xyz_frame(atoms.lines, comment, input, at, options)


def _go_on(lines: Lines) -> None:
    """Leave out lines up to the next number of atoms."""
    for text in lines:
        if _is_count(text):
            lines.give_back([text])
            return


def _is_count(text: str) -> bool:
    text = text.strip()
    return text.isdecimal() and len(text) < _MOST_DIGITS


def _is_atom(text: str, in_qm9: bool) -> bool:
    """Whether a line after a whole frame is one more atom; QM9's frequencies may be integers."""
    return not isinstance(_atom(text), str) and not (in_qm9 and text.split()[0].isdecimal())


def _xyz_frame(
    atoms: list[str], comment: str, input: str, line: int, options: ReadOptions
) -> Molecule | BadRow:
    """One whole frame: plain xyz here, extended xyz by ASE."""
    if "Properties=" in comment or "Lattice=" in comment:
        return _extended(atoms, comment, input, line, options)
    name = " ".join(comment.split())
    numbers, pos = [], []
    for offset, text in enumerate(atoms, start=line + 2):
        atom = _atom(text)
        if isinstance(atom, str):
            return BadRow(input, name, message=f"line {offset}: {atom}")
        numbers.append(atom[0])
        pos.append(atom[1])
    if options.say is not None and all(len(text.split()) == _WITH_VELOCITIES for text in atoms):
        options.say(
            f"{input}: columns 5 to 7 are not read, as their unit is not known; extended xyz has "
            "momenta in ASE's units, √(eV·u), with Properties=species:S:1:pos:R:3:momenta:R:3"
        )
    z = np.array(numbers, dtype=np.int64)
    try:
        said = read_comment(comment, z)
    except ValueError as error:
        return BadRow(input, name, message=f"line {line + 1}: {error}")
    known: dict[str, Any] = {"charge": said.charge, "open_shell": said.open_shell, "name": name}
    if options.keep_columns:
        known["extra"] = {key: text.strip("\"'") for key, text in _PAIR.findall(comment)}
    return from_arrays(z, _in_angstrom(z, np.array(pos), said), input=input, **known)


def _extended(
    atoms: list[str], comment: str, input: str, line: int, options: ReadOptions
) -> Molecule | BadRow:
    import ase.io

    atoms = [_FORTRAN.sub("e", text.rstrip()) for text in atoms]
    text = "\n".join([str(len(atoms)), comment, *atoms, ""])
    try:
        return from_ase(ase.io.read(io.StringIO(text), format="extxyz"), input, options)
    except Exception as error:  # ASE's parser raises many kinds
        reason = f"malformed extxyz frame: {error}"
        if isinstance(error, KeyError):  # of the table of elements
            symbols = (text.split()[0] for text in atoms if text.strip())
            faults = (_symbol_fault(one) for one in symbols if one.capitalize() not in _NUMBERS)
            reason = ": ".join(filter(None, [reason, next(faults, None)]))
        return BadRow(input, message=f"line {line}: {reason}")


def _in_angstrom(z: NDArray[np.int64], pos: NDArray[np.float64], said: Comment) -> Any:
    """Coordinates in Å, by what a comment says.

    A unit that it names without saying of what is that of the coordinates only if they make no
    molecule in Å, but one in it.
    """
    unit = said.unit or "angstrom"
    if said.unit is None and said.maybe is not None and np.isfinite(pos).all():
        scaled = COORDINATE_UNITS[said.maybe] * pos
        if implausible(z, pos) and not implausible(z, scaled):
            unit = said.maybe
    return COORDINATE_UNITS[unit] * pos


def _atom(text: str) -> tuple[int, list[float]] | str:
    """Atomic number and coordinates of ``C 0.0 0.0 0.0``, or what is wrong with the line.

    ``c`` and ``6`` are carbon, ``1*^-6`` (Mathematica) and ``1.0D-06`` (Fortran) are 1e-6.
    """
    cells = text.split()
    number = int(cells[0]) if cells and cells[0].isdecimal() else None
    if cells and number is None:
        number = _NUMBERS.get(cells[0].capitalize())
    expected = f"expected 'element x y z', got {text.strip()[:60]!r}"
    try:
        pos = [float(_FORTRAN.sub("e", cell).replace("*^", "e")) for cell in cells[1:4]]
    except ValueError:
        return expected
    if len(pos) < 3:
        return expected
    if not number:
        fault = _symbol_fault(cells[0])
        return f"{expected}: {fault}" if fault else expected
    return number, pos


def _symbol_fault(symbol: str) -> str | None:
    """What a word that is no element may be, and what to write."""
    isotope = {"d": "2H (D)", "t": "3H (T)"}.get(symbol.lower())
    if isotope is None and re.fullmatch(r"\d+[A-Za-z]{1,2}", symbol):
        isotope = symbol
    if isotope is not None:
        return (
            f"isotope {isotope}: the models know the common isotopes only, on which zpve, u298, "
            "h298, g298 and cv depend; write the element alone to predict it all the same"
        )
    if symbol.lower().rstrip("0123456789") in _DUMMIES or symbol == "0":
        return f"{symbol!r} is a dummy atom: leave it out, and count without it"
    label = _LABEL.match(symbol)
    element = label[1].capitalize() if label else ""
    if element in _NUMBERS:
        return f"{symbol!r} is a label, not an element: write {element}"
    return None
