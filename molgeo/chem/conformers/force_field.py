"""Relax coordinates by the cheap force fields: MMFF94, or UFF where it lacks parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers

from molgeo.chem.limits import Clock

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


def minimise(mol: Chem.Mol, clock: Clock = _ENDLESS) -> tuple[list[float], str | None]:
    """Relax all conformers in place.

    Args:
        mol: with explicit hydrogens and one or more conformers.
        clock: looked at before each conformer.

    Returns:
        Energies in kcal/mol, and ``mmff``, ``uff``, or None (and zeros) where neither force field
        knows the atoms and everything stays as it was.

    Raises:
        OutOfTimeError: by the clock.
    """
    optimize: Callable[..., list[tuple[int, float]]]
    if _mmff_knows(mol):
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


def _mmff_knows(mol: Chem.Mol) -> bool:
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
