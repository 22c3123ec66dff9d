"""Coordinates at a minimum of a cheap force field: MMFF94, or UFF if it lacks parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers

from molgeo.chem import bonds
from molgeo.chem.limits import Clock
from molgeo.chem.molecule import BadRow, SmilesRow, bad
from molgeo.chem.parsing import one_line, rdkit_messages

_ENDLESS: Final = Clock()

MINIMISER_STEPS: Final = 1000
MORE_STEPS: Final = 5 * MINIMISER_STEPS

PAIR_STEPS: Final = 25_000_000
"""Most steps times the square of the atoms, to which a step's work is proportional, of the first
steps as of the others: some seconds. Bonds and angles of a large molecule settle long before its
folds do. Molecules of up to 70 atoms get all their steps."""

LONGEST: Final = 1.1
"""Rest length of a multiple bond in MMFF94 over that in UFF, beyond which it is a single bond's:
CO2 has 1.14, N2 1.30, no molecule of QM9 more than 1.07."""

NO_BONDS: Final = "no bonds: the connectivity of the coordinates is not that of the SMILES"
NO_FORCE_FIELD: Final = "no force field: neither MMFF94 nor UFF knows the atoms and bonds"
CHANGED: Final = "the force field broke or formed a bond"
FROM_COORDINATES: Final = " (bonds from the coordinates)"
"""Suffix of the geometry's name if the SMILES's bonds were not found in the coordinates."""


class Conformers(NamedTuple):
    """Conformers of one molecule, lowest force-field energy first.

    Attributes:
        z: (atoms,) int64 atomic numbers.
        pos: (conformers, atoms, 3) float64, Å.
        energy: (conformers,) float64, kcal/mol of the force field.
        number: (conformers,) int64, the order in which they were made: number 0 is the one that is
            made if one is asked for, and so on.
        charge: total charge, e.
        geometry: as in `Molecule`.
    """

    z: NDArray[np.int64]
    pos: NDArray[np.float64]
    energy: NDArray[np.float64]
    number: NDArray[np.int64]
    charge: int
    geometry: str


def failure(error: Exception) -> str:
    """What RDKit threw, in one line."""
    return f"no conformer: RDKit failed with {one_line(error)}"


def minimise(mol: Chem.Mol, clock: Clock = _ENDLESS) -> tuple[list[float], str | None]:
    """Relax all conformers in place.

    Args:
        mol: with explicit hydrogens and one or more conformers.
        clock: looked at before each conformer.

    Returns:
        Energies in kcal/mol, and ``mmff``, ``uff``, or None (and zeros) if neither force field
        knows the atoms and everything stays as it was.

    Raises:
        OutOfTimeError: by the clock.
    """
    optimize: Callable[..., list[tuple[int, float]]]
    if mmff_knows(mol):
        optimize, how = rdForceFieldHelpers.MMFFOptimizeMoleculeConfs, "mmff"
    elif rdForceFieldHelpers.UFFHasAllMoleculeParams(mol):
        optimize, how = rdForceFieldHelpers.UFFOptimizeMoleculeConfs, "uff"
    else:
        return [0.0] * mol.GetNumConformers(), None
    most = max(1, PAIR_STEPS // mol.GetNumAtoms() ** 2)
    energies = []
    for conformer in mol.GetConformers():
        alone = Chem.Mol(mol, False, conformer.GetId())
        for steps in (MINIMISER_STEPS, MORE_STEPS):
            clock.check()
            ((status, energy),) = optimize(alone, numThreads=1, maxIters=min(steps, most))
            if status != 1:  # 1: out of steps
                break
        conformer.SetPositions(alone.GetConformer().GetPositions())
        energies.append(energy)
    return energies, how


def mmff_knows(mol: Chem.Mol) -> bool:
    """Whether MMFF94 has parameters for the atoms, and for their multiple bonds.

    If it has none of a bond, RDKit takes the rule for single bonds: 1.41 Å in CO2, 1.46 Å in N2.
    """
    if not rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        return False
    parameters = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
    for bond in mol.GetBonds():
        if bond.GetBondType() in (Chem.BondType.DOUBLE, Chem.BondType.TRIPLE):
            ends = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
            mmff = parameters.GetMMFFBondStretchParams(mol, *ends)
            uff = rdForceFieldHelpers.GetUFFBondStretchParams(mol, *ends)
            if mmff and uff and mmff[-1] > LONGEST * uff[-1]:
                return False
    return True


def relax(row: SmilesRow, z: NDArray[np.int64], pos: NDArray[np.float64]) -> Conformers | BadRow:
    """Minimise given coordinates: the same conformer at a cheap level.

    Args:
        row: the SMILES, whose bonds are looked for in the coordinates.
        z: (atoms,) atomic numbers, in any order.
        pos: (atoms, 3) Å.

    Returns:
        One conformer in the order of ``z``, whose geometry is ``mmff`` or ``uff``; or the reason
        why there is none, such as a bond that the force field broke.
    """
    with rdkit_messages():
        try:
            found = _relaxed(row.smiles, z, pos)
        except (RuntimeError, ValueError) as error:  # RDKit's invariants and preconditions
            found = failure(error)
    return bad(row, found) if isinstance(found, str) else found


def _relaxed(smiles: str, z: NDArray[np.int64], pos: NDArray[np.float64]) -> Conformers | str:
    found = bonds.placed(smiles, z, pos)
    suffix = FROM_COORDINATES if found is None else ""
    mol, order = found or (bonds.from_coordinates(z, pos), np.arange(len(z)))
    if mol is None:
        return NO_BONDS
    mol.RemoveAllConformers()
    mol.AddConformer(bonds.conformer(pos[order]))
    energies, force_field = minimise(mol)
    if force_field is None:
        return NO_FORCE_FIELD
    relaxed = mol.GetConformer().GetPositions()
    if not bonds.agree(mol, relaxed):
        return CHANGED
    back = np.empty((1, len(z), 3))
    back[0, order] = relaxed
    number, charge = np.zeros(1, dtype=np.int64), Chem.GetFormalCharge(mol)
    return Conformers(z, back, np.array(energies), number, charge, force_field + suffix)
