"""Given coordinates → the nearest minimum of MMFF94: the same conformer at a cheap level."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from molgeo.chem import bonds
from molgeo.chem.conformers.conformers import Conformers, failure
from molgeo.chem.conformers.force_field import minimise
from molgeo.chem.molecule import BadRow, SmilesRow
from molgeo.chem.parsing import mol_from_smiles, rdkit_messages

NO_BONDS: Final = "no bonds: the connectivity of the coordinates is not that of the SMILES"
NO_FORCE_FIELD: Final = "no force field: neither MMFF94 nor UFF knows the atoms and bonds"
CHANGED: Final = "the force field broke or formed a bond"
FROM_COORDINATES: Final = " (bonds from the coordinates)"
"""Suffix of the geometry's name where the SMILES's bonds were not found in the coordinates."""


def relax(row: SmilesRow, z: NDArray[np.int64], pos: NDArray[np.float64]) -> Conformers | BadRow:
    """Minimise coordinates by MMFF94, or UFF where it lacks parameters.

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
            return _relax(row, z, pos)
        except (RuntimeError, ValueError) as error:  # RDKit's invariants and preconditions
            return BadRow(row.input, row.name, row.smiles, failure(error))


def _relax(row: SmilesRow, z: NDArray[np.int64], pos: NDArray[np.float64]) -> Conformers | BadRow:
    found = mol_from_smiles(row.smiles)
    mol: Chem.Mol | None = None if found is None else Chem.AddHs(found)
    order = None if mol is None else bonds.assign(mol, z, pos)
    suffix = ""
    if mol is None or order is None:
        mol, order, suffix = bonds.from_coordinates(z, pos), np.arange(len(z)), FROM_COORDINATES
    if mol is None:
        return BadRow(row.input, row.name, row.smiles, NO_BONDS)
    mol.RemoveAllConformers()
    mol.AddConformer(bonds.conformer(pos[order]))
    energies, force_field = minimise(mol)
    if force_field is None:
        return BadRow(row.input, row.name, row.smiles, NO_FORCE_FIELD)
    relaxed = mol.GetConformer().GetPositions()
    if not bonds.agree(mol, relaxed):
        return BadRow(row.input, row.name, row.smiles, CHANGED)
    back = np.empty((1, len(z), 3))
    back[0, order] = relaxed
    return Conformers(
        z=z,
        pos=back,
        energy=np.array(energies),
        number=np.zeros(1, dtype=np.int64),
        charge=Chem.GetFormalCharge(mol),
        geometry=force_field + suffix,
    )
