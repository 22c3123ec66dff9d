"""Rows → molecules with coordinates: those given, minimised from there, or made from the SMILES."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final, Literal

from rdkit import Chem

from molgeo.chem import bonds
from molgeo.chem.bonds import isomeric_smiles
from molgeo.chem.conformers.conformers import Embedder, Refusal
from molgeo.chem.conformers.force_field import FROM_COORDINATES, NO_BONDS, relax
from molgeo.chem.limits import DEFAULT_LIMITS, Limits, ordered_map
from molgeo.chem.molecule import BadRow, Molecule, Row, SmilesRow, check_bonds, check_geometry
from molgeo.chem.parsing import mol_from_smiles, one_line, rdkit_messages

Built = list[Molecule] | BadRow

GeometrySource = Literal["auto", "given", "mmff", "smiles"]
"""Where coordinates come from:

* ``auto``: those given, and conformers of a SMILES that is given alone;
* ``given``: those given; a SMILES alone is a bad row;
* ``mmff``: those given, minimised by MMFF94 (``given+mmff``); conformers of a SMILES;
* ``smiles``: conformers of the SMILES also if coordinates are given, whose bonds and stereo
  make the SMILES if there is none.
"""

NO_COORDINATES: Final = (
    "a SMILES has no coordinates: give a file that has, or let conformers be made (geometry auto)"
)

NO_MOLECULE: Final = (
    "no bonds: the coordinates show no neutral molecule; give its SMILES too (csv, extxyz), or "
    "its bonds (sdf)"
)

OTHER_MOLECULE: Final = (
    "the SMILES of this row is not the molecule in its coordinates: correct one of them, or leave "
    "the SMILES out"
)


def build(
    rows: Iterable[Row],
    n: int = 1,
    workers: int | None = None,
    geometry: GeometrySource = "auto",
    refuse: Refusal | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Iterator[Built]:
    """Give every row its coordinates, in order, a bounded number of rows ahead.

    Args:
        rows: bad rows pass through.
        n: conformers of each SMILES.
        workers: threads that work; None for one per core, 1 for none.
        geometry: where coordinates come from.
        refuse: asked about the molecule of a SMILES before any conformer is made.
        limits: of each row of a SMILES.

    Yields:
        For each row its molecules, lowest force-field energy first, or a bad row.

    Raises:
        Exception: what ``rows`` raises, after all rows before it.
    """
    embedder = Embedder(n, refuse, limits)

    def make(row: Row) -> Built:
        try:
            made = _made(row, geometry, embedder)
        except Exception as error:  # whatever a library meets in one row, the others go on
            message = f"this row cannot be read: {type(error).__name__}: {one_line(error)}"
            made = BadRow(row.input, row.name, row.smiles, message)
        if not (row.extra or row.stripped):
            return made
        # What its input says besides the structure.
        if isinstance(made, BadRow):
            return replace(made, extra=row.extra, stripped=row.stripped)
        return [replace(one, extra=row.extra, stripped=row.stripped) for one in made]

    return ordered_map(make, rows, workers)


def _made(row: Row, geometry: GeometrySource, embedder: Embedder) -> Built:
    """A row with its coordinates."""
    if isinstance(row, BadRow):
        return row
    if isinstance(row, SmilesRow):
        if geometry == "given":
            return BadRow(row.input, row.name, row.smiles, NO_COORDINATES)
        return embedder.molecules(row)
    if geometry in ("auto", "given") or check_geometry(row) is not None:
        return row.conformers()  # why it is no molecule is for who predicts to say
    reason = next(filter(None, map(check_bonds, row.conformers())), None)
    if reason is not None:
        return _bad(row, reason)
    return _minimised(row) if geometry == "mmff" else _from_smiles(row, embedder)


def _minimised(molecule: Molecule) -> Built:
    """The same conformers at MMFF94, or UFF."""
    if molecule.further:
        each = [_minimised(conformer) for conformer in molecule.conformers()]
        bad = next((built for built in each if isinstance(built, BadRow)), None)
        return bad or [one for built in each if isinstance(built, list) for one in built]
    row = SmilesRow(molecule.smiles or "", molecule.name, molecule.input)
    made = relax(row, molecule.z, molecule.pos)
    if isinstance(made, BadRow):
        unseen = made.message == NO_BONDS and not molecule.smiles
        return _bad(molecule, NO_MOLECULE if unseen else made.message)
    if molecule.smiles and made.geometry.endswith(FROM_COORDINATES):
        return _bad(molecule, OTHER_MOLECULE)
    how = made.geometry.removesuffix(FROM_COORDINATES)
    return [replace(molecule, pos=made.pos[0], geometry=f"given+{how}")]


def _from_smiles(molecule: Molecule, embedder: Embedder) -> Built:
    """Conformers of the molecule that coordinates show."""
    row = SmilesRow(molecule.smiles or "", molecule.name, molecule.input)
    with rdkit_messages():
        if not molecule.smiles:
            shown = bonds.from_coordinates(molecule.z, molecule.pos)
            if shown is None:
                return _bad(molecule, NO_MOLECULE)
            smiles = isomeric_smiles(shown, molecule.pos)
        elif (parsed := mol_from_smiles(molecule.smiles)) is None:
            smiles = molecule.smiles  # of which the embedder says why it cannot be read
        else:
            mol = Chem.AddHs(parsed)
            order = bonds.assign(mol, molecule.z, molecule.pos)
            if order is None:
                return _bad(molecule, OTHER_MOLECULE)
            smiles = isomeric_smiles(mol, molecule.pos[order])
    return embedder.molecules(replace(row, smiles=smiles))


def _bad(molecule: Molecule, message: str) -> BadRow:
    own = molecule.input, molecule.name, molecule.smiles
    return BadRow(*own, message, molecule.formula, molecule.n_atoms)
