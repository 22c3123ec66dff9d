"""A molecule whose bonds are known, under MMFF94 or UFF: its forces, relaxation and vibrations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers

from molgeo.chem.conformers.force_field import mmff_knows
from molgeo.chem.molecule import Molecule
from molgeo.elements import COVALENT_RADII
from molgeo.units import BOLTZMANN, KCAL_MOL

Array = NDArray[np.float64]
Forces = Callable[[Array], Array]
"""(atoms, 3) Å → (atoms, 3) eV/Å."""

SOFTEST: Final = 0.2
"""eV/Å². Along a softer direction a displacement would be so long that, being straight, it would
tear bonds: torsions are turned instead."""

STEP: Final = 1e-3
"""Å, of the differences of forces."""

PULL: Final = 2000.0
"""kcal/mol/Å², of a distance that is held: twice a bond's, so that this gives way a little."""

CLASH: Final = 0.5
"""Least distance of two atoms in sums of covalent radii; closer nuclei are in no experiment."""


@dataclass(frozen=True, eq=False)
class Bonded:
    """One molecule or several, as a graph and as coordinates.

    Attributes:
        mol: with explicit hydrogens.
        pos: (atoms, 3) Å.
    """

    mol: Chem.Mol
    pos: Array

    @classmethod
    def of(cls, molecule: Molecule) -> Bonded:
        """A molecule that was made from its SMILES, hydrogens last.

        Raises:
            ValueError: the SMILES is not that of the atoms.
        """
        mol = Chem.MolFromSmiles(molecule.smiles or "")
        mol = None if mol is None else Chem.AddHs(mol)
        if mol is None or [a.GetAtomicNum() for a in mol.GetAtoms()] != molecule.z.tolist():
            raise ValueError("MMFF94 needs the SMILES that the atoms were made from")
        return cls(mol, molecule.pos)

    @cached_property
    def z(self) -> NDArray[np.int64]:
        """(atoms,) atomic numbers."""
        return np.array([atom.GetAtomicNum() for atom in self.mol.GetAtoms()])

    @cached_property
    def neighbours(self) -> list[list[int]]:
        """Of each atom, those that it is bonded to."""
        return [[n.GetIdx() for n in atom.GetNeighbors()] for atom in self.mol.GetAtoms()]

    @property
    def charge(self) -> int:
        """Total charge, e."""
        return int(Chem.GetFormalCharge(self.mol))

    def at(self, pos: Array) -> Bonded:
        """The same at other coordinates."""
        return replace(self, pos=pos)

    def beside(self, other: Bonded) -> Bonded:
        """This and another as one."""
        both = Chem.CombineMols(self.mol, other.mol)
        Chem.SanitizeMol(both)
        return Bonded(both, np.concatenate([self.pos, other.pos]))

    def field(self, needed: str = "") -> tuple[Any, Any, Chem.Mol]:
        """RDKit's force field: MMFF94, or UFF if it lacks parameters.

        Args:
            needed: ``mmff`` if only that will do.

        Returns:
            The field, its function that holds a distance, and the molecule whose coordinates it
            moves. That must outlive the field, which only points to it.

        Raises:
            ValueError: it does not know the atoms.
        """
        mol = Chem.Mol(self.mol)
        mol.RemoveAllConformers()
        conformer = Chem.Conformer(mol.GetNumAtoms())
        conformer.SetPositions(np.ascontiguousarray(self.pos))
        mol.AddConformer(conformer, assignId=True)
        whole = {"ignoreInterfragInteractions": False}
        if needed or mmff_knows(mol):
            properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
            if properties is None:
                raise ValueError("MMFF94 has no parameters for this molecule")
            field = rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, properties, **whole)
            hold = field.MMFFAddDistanceConstraint
        elif rdForceFieldHelpers.UFFHasAllMoleculeParams(mol):
            field = rdForceFieldHelpers.UFFGetMoleculeForceField(mol, **whole)
            hold = field.UFFAddDistanceConstraint
        else:
            raise ValueError("neither MMFF94 nor UFF has parameters for this molecule")
        field.Initialize()
        return field, hold, mol

    def forces(self, needed: str = "") -> Forces:
        """Forces of `field`, with it and its molecule as attributes, which keeps them alive."""
        field, _, mol = self.field(needed)

        def forces(pos: Array) -> Array:
            flat = pos.ravel().tolist()
            field.CalcEnergy(flat)  # CalcGrad reuses the distances of the last energy
            return np.array(field.CalcGrad(flat)).reshape(-1, 3) * -KCAL_MOL

        forces.field, forces.mol = field, mol  # type: ignore[attr-defined]
        return forces

    def relaxed(self, steps: int, held: Sequence[tuple[int, int, float]] = ()) -> Bonded:
        """A few steps towards the minimum.

        Args:
            steps: at most.
            held: pairs of atoms and the distance in Å at which they are held.
        """
        if not steps:
            return self
        field, hold, mol = self.field()
        for i, j, distance in held:
            hold(i, j, False, distance, distance, PULL)
        field.Minimize(maxIts=steps)
        return self.at(mol.GetConformer().GetPositions())

    def vibrations(self) -> Vibrations:
        """Of the minimum that it is at."""
        forces, flat = self.forces(), self.pos.ravel()
        hessian = np.empty((flat.size, flat.size))
        for k in range(flat.size):
            shift = np.zeros(flat.size)
            shift[k] = STEP
            ahead, behind = (forces((flat + s * shift).reshape(-1, 3)) for s in (1, -1))
            hessian[k] = (behind - ahead).ravel() / (2 * STEP)
        return Vibrations.of(0.5 * (hessian + hessian.T), self.pos)


@dataclass(frozen=True, eq=False)
class Vibrations:
    """Directions of a harmonic potential and how far one goes along each.

    Attributes:
        directions: (3 atoms, modes), orthonormal.
        spread: (modes,) Å/√eV: 1/√κ of the force constants κ.
    """

    directions: Array
    spread: Array

    @classmethod
    def of(cls, hessian: Array, pos: Array) -> Vibrations:
        """From second derivatives (3 atoms, 3 atoms) in eV/Å²; rigid motions are left out."""
        centred = pos - pos.mean(0)
        shifts = np.tile(np.eye(3), (len(pos), 1))
        turns = np.stack([np.cross(axis, centred).ravel() for axis in np.eye(3)], 1)
        u, size, _ = np.linalg.svd(np.concatenate([shifts, turns], 1), full_matrices=True)
        n_rigid = int((size > 1e-3 * size[0]).sum())
        inner = u[:, n_rigid:]
        kappa, modes = np.linalg.eigh(inner.T @ hessian @ inner)
        return cls(inner @ modes, 1.0 / np.sqrt(np.maximum(kappa, SOFTEST)))

    def draw(self, temperature_K: float, rng: np.random.Generator) -> Array:
        """(atoms, 3) Å: a displacement from Boltzmann's distribution of classical nuclei.

            u = Σ_k ξ_k √(k_B T / κ_k) v_k

        Masses play no part in where classical nuclei are.
        """
        width = np.sqrt(BOLTZMANN * temperature_K) * self.spread
        drawn = self.directions @ (width * rng.standard_normal(len(width)))
        return drawn.reshape(-1, 3)


def clashes(z: NDArray[np.int64], pos: Array) -> bool:
    """Whether two atoms are closer than in any experiment."""
    radii = np.array(COVALENT_RADII)[z]
    d = np.linalg.norm(pos[:, None] - pos[None], axis=-1)
    np.fill_diagonal(d, np.inf)
    return bool((d < CLASH * (radii[:, None] + radii[None])).any())
