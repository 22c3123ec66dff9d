"""Relax coordinates by the cheap force fields: MMFF94, or UFF where it lacks parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers

MINIMISER_STEPS: Final = 1000
MORE_STEPS: Final = 5 * MINIMISER_STEPS


def minimise(mol: Chem.Mol) -> tuple[list[float], str | None]:
    """Relax all conformers in place.

    Args:
        mol: with explicit hydrogens and one or more conformers.

    Returns:
        Energies in kcal/mol, and ``mmff``, ``uff``, or None (and zeros) where neither force field
        knows the atoms and everything stays as it was.
    """
    optimize: Callable[..., list[tuple[int, float]]]
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        optimize, how = rdForceFieldHelpers.MMFFOptimizeMoleculeConfs, "mmff"
    elif rdForceFieldHelpers.UFFHasAllMoleculeParams(mol):
        optimize, how = rdForceFieldHelpers.UFFOptimizeMoleculeConfs, "uff"
    else:
        return [0.0] * mol.GetNumConformers(), None
    energies = []
    relaxed = optimize(mol, numThreads=1, maxIters=MINIMISER_STEPS)
    for conformer, (status, energy) in zip(mol.GetConformers(), relaxed, strict=True):
        if status == 1:  # out of steps; the others stay as they are
            alone = Chem.Mol(mol, False, conformer.GetId())
            ((_, energy),) = optimize(alone, numThreads=1, maxIters=MORE_STEPS)
            conformer.SetPositions(alone.GetConformer().GetPositions())
        energies.append(energy)
    return energies, how
