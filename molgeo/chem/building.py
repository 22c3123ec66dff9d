"""Rows → molecules with coordinates: those given, minimised from there, or made from the SMILES."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final, Literal

from molgeo.chem import bonds
from molgeo.chem.conformers.conformers import TRIALS, Embedder, Refusal
from molgeo.chem.conformers.force_field import FROM_COORDINATES, NO_BONDS, relax
from molgeo.chem.limits import DEFAULT_LIMITS, Limits, ordered_map
from molgeo.chem.molecule import BadRow, Molecule, Row, SmilesRow, bad, check_bonds, check_geometry
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
    trials: int = TRIALS,
) -> Iterator[Built]:
    """Give every row its coordinates, in order, a bounded number of rows ahead.

    Args:
        rows: bad rows pass through.
        n: conformers of each SMILES.
        workers: threads that work; None for one per core, 1 for none.
        geometry: where coordinates come from.
        refuse: asked about the molecule of a SMILES before any conformer is made.
        limits: of each row of a SMILES.
        trials: as of `Embedder`.

    Yields:
        For each row its molecules, lowest force-field energy first, or a bad row.

    Raises:
        Exception: what ``rows`` raises, after all rows before it.
    """
    embedder = Embedder(n, refuse, limits, trials)

    def make(row: Row) -> Built:
        try:
            return _made(row, geometry, embedder)
        except Exception as error:  # whatever a library meets in one row, the others go on
            reason = f"{type(error).__name__}: {one_line(error)}"
            return bad(row, f"this row cannot be read: {reason}")

    return ordered_map(make, rows, workers)


def _made(row: Row, geometry: GeometrySource, embedder: Embedder) -> Built:
    """A row with its coordinates."""
    if isinstance(row, BadRow):
        return row
    if isinstance(row, SmilesRow):
        if geometry == "given":
            return bad(row, NO_COORDINATES)
        return embedder.molecules(row)
    if geometry in ("auto", "given") or check_geometry(row) is not None:
        return row.conformers()  # why it is no molecule is for who predicts to say
    reason = next(filter(None, map(check_bonds, row.conformers())), None)
    if reason is not None:
        return bad(row, reason)
    return _minimised(row) if geometry == "mmff" else _from_smiles(row, embedder)


def _minimised(molecule: Molecule) -> Built:
    """The same conformers at MMFF94, or UFF."""
    if molecule.further:
        each = [_minimised(conformer) for conformer in molecule.conformers()]
        odd = next((built for built in each if isinstance(built, BadRow)), None)
        return odd or [one for built in each if isinstance(built, list) for one in built]
    made = relax(SmilesRow(molecule.smiles or ""), molecule.z, molecule.pos)
    if isinstance(made, BadRow):
        unseen = made.message == NO_BONDS and not molecule.smiles
        return bad(molecule, NO_MOLECULE if unseen else made.message)
    if molecule.smiles and made.geometry.endswith(FROM_COORDINATES):
        return bad(molecule, OTHER_MOLECULE)
    how = made.geometry.removesuffix(FROM_COORDINATES)
    return [replace(molecule, pos=made.pos[0], geometry=f"given+{how}")]


def _from_smiles(molecule: Molecule, embedder: Embedder) -> Built:
    """Conformers of the molecule that coordinates show."""
    with rdkit_messages():
        if not molecule.smiles:
            shown = bonds.from_coordinates(molecule.z, molecule.pos)
            if shown is None:
                return bad(molecule, NO_MOLECULE)
            smiles = bonds.isomeric_smiles(shown, molecule.pos)
        elif found := bonds.placed(molecule.smiles, molecule.z, molecule.pos):
            smiles = bonds.isomeric_smiles(found[0], molecule.pos[found[1]])
        elif mol_from_smiles(molecule.smiles) is not None:
            return bad(molecule, OTHER_MOLECULE)
        else:
            smiles = molecule.smiles  # of which the embedder says why it cannot be read
    row = SmilesRow(smiles, molecule.name, molecule.input, molecule.extra, molecule.stripped)
    return embedder.molecules(row)
