"""Potentials that structures are sampled from: MMFF94 or a learned force field."""

from __future__ import annotations

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers

from molgeo.chem.molecule import Molecule
from molgeo.generate.dynamics import Array, Forces
from molgeo.units import KCAL_MOL


def mmff_forces(molecule: Molecule) -> Forces:
    """Forces of MMFF94.

    Args:
        molecule: with the SMILES that its atoms were made from, hydrogens last, as
            `molgeo.chem.conformers.conformers` makes them.

    Returns:
        (atoms, 3) Å → (atoms, 3) eV/Å.

    Raises:
        ValueError: the SMILES is not that of the atoms, or MMFF94 does not know them.
    """
    mol = Chem.MolFromSmiles(molecule.smiles or "")
    mol = None if mol is None else Chem.AddHs(mol)
    if mol is None or [a.GetAtomicNum() for a in mol.GetAtoms()] != molecule.z.tolist():
        raise ValueError("MMFF94 needs the SMILES that the atoms were made from")
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
    if properties is None:
        raise ValueError("MMFF94 has no parameters for this molecule")
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.SetPositions(np.ascontiguousarray(molecule.pos))
    mol.AddConformer(conformer, assignId=True)
    field = rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, properties)
    field.Initialize()

    def forces(pos: Array) -> Array:
        flat = pos.ravel().tolist()
        field.CalcEnergy(flat)  # CalcGrad reuses the distances of the last energy
        return np.array(field.CalcGrad(flat)).reshape(-1, 3) * -KCAL_MOL

    forces.field = field  # type: ignore[attr-defined]  # which keeps the molecule alive
    return forces


def learned_forces(model: str, molecule: Molecule) -> Forces:
    """Forces of a model that was trained on them.

    Args:
        model: shipped name or path.
        molecule: its atoms.

    Raises:
        CheckpointError: there is no such model.
        ValueError: it was not trained on forces, or does not know the atoms.
    """
    import torch

    from molgeo.predictor.checkpoint import load

    predictor = load(model)
    reason = predictor.domain.check(molecule.z.tolist()) if predictor.domain else None
    if reason:
        raise ValueError(reason)
    z = torch.from_numpy(molecule.z)

    def forces(pos: Array) -> Array:
        found = predictor.energy_and_forces(z, torch.from_numpy(pos).float())[1]
        return found.double().numpy()

    return forces
