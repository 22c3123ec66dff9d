"""Langevin dynamics of a few atoms with MMFF94 or a learned force field."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers

from molgeo.chem.molecule import Molecule
from molgeo.elements import MASSES
from molgeo.units import BOLTZMANN, KCAL_MOL

Array = NDArray[np.float64]
Forces = Callable[[Array], Array]
"""(atoms, 3) Å → (atoms, 3) eV/Å."""

ACCELERATION = 0.00964853321233
"""eV/Å/u in Å/fs²: the Faraday constant in units of 1e7 C/mol."""


def langevin(
    z: NDArray[np.int64],
    pos: Array,
    forces: Forces,
    temperature_K: float,
    rng: np.random.Generator,
    steps: int,
    timestep_fs: float = 0.5,
    relaxation_fs: float = 50.0,
) -> Iterator[Array]:
    """Positions every ``steps`` steps of Langevin dynamics, without end (BAOAB splitting).

        v ← v + ½ a dt
        x ← x + ½ v dt
        v ← c v + √((1 − c²) kT/m) ξ,   c = exp(−dt/relaxation)
        x ← x + ½ v dt
        v ← v + ½ a dt

    Its distribution of positions is exact in a harmonic potential.

    Args:
        z: (atoms,) atomic numbers.
        pos: (atoms, 3) Å, of the start. Velocities are drawn at twice the temperature, because the
            potential energy of a minimum takes up half of it.
        forces: of the potential.
        temperature_K: of the bath.
        rng: of velocities and noise.
        steps: between samples, and before the first.
        timestep_fs: dt.
        relaxation_fs: time in which velocities are forgotten.

    Yields:
        (atoms, 3) Å, about the centre of mass.

    Raises:
        FloatingPointError: an atom flies away: the potential has broken down.

    Source:
        Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34 (2013).
    """
    mass = np.array(MASSES)[z][:, None]
    spread = np.sqrt(BOLTZMANN * temperature_K / mass * ACCELERATION)  # of velocities, Å/fs
    damping = np.exp(-timestep_fs / relaxation_fs)
    noise = np.sqrt(1.0 - damping**2) * spread
    half = 0.5 * timestep_fs
    x = _centred(pos, mass)
    limit = 10.0 + 3.0 * np.abs(x).max()
    v = np.sqrt(2.0) * spread * rng.standard_normal(x.shape)
    a = forces(x) / mass * ACCELERATION
    while True:
        for _ in range(steps):
            v = v + half * a
            x = x + half * v
            v = damping * v + noise * rng.standard_normal(x.shape)
            x = x + half * v
            a = forces(x) / mass * ACCELERATION
            v = v + half * a
        x = _centred(x, mass)
        if not np.abs(x).max() < limit:
            raise FloatingPointError(f"dynamics at {temperature_K:g} K: an atom was thrown out")
        yield x.copy()


def _centred(pos: Array, mass: Array) -> Array:
    centred: Array = pos - (mass * pos).sum(0) / mass.sum()
    return centred


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
