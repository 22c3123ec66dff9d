"""Bonds and coordinates of one molecule: which atom is which, and do they still agree.

A data set may have its coordinates in one order of atoms and its SMILES in another. No threshold
tells a bond from a close contact in strained cages (bonds of 1.7 Å, contacts of 1.85 Å across a
ring), but the SMILES says how many bonds there are: the *n* pairs that are shortest in units of
their covalent radii are the bonds wherever any threshold would find them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdDetermineBonds

_MAX_MATCHES: Final = 1000
_MAX_STRETCH: Final = 1.35
"""A bond longer than this many sums of covalent radii is broken: C–C beyond 2.05 Å."""

Pairs = NDArray[np.int64]


def assign(smiles_mol: Chem.Mol, z: NDArray[np.int64], pos: NDArray[np.float64]) -> Pairs | None:
    """Which atom of given coordinates is which atom of a SMILES.

    Among assignments that differ in their bond orders, such as the two ends of C=C–C, the one with
    the shortest double bonds is taken. Stereo is not looked at: force fields do not ask for it.

    Args:
        smiles_mol: with explicit hydrogens.
        z: (atoms,) atomic numbers, in the coordinates' order.
        pos: (atoms, 3) Å.

    Returns:
        (atoms,) ``order``, so that ``pos[order]`` has the SMILES's order; None where the
        connectivity is not the SMILES's.
    """
    wanted = atomic_numbers(smiles_mol)
    if sorted(wanted.tolist()) != sorted(z.tolist()) or not (z > 1).any():
        return None
    bonds = np.array(_heavy_bonds(smiles_mol), dtype=np.int64).reshape(-1, 2)
    parent, parent_there = _parents_in(smiles_mol), _parents(z, pos)
    query, heavy = _skeleton(wanted, bonds, parent)
    target, heavy_there = _skeleton(z, shortest_pairs(z, pos, len(bonds)), parent_there)
    matches = target.GetSubstructMatches(query, uniquify=False, maxMatches=_MAX_MATCHES)
    if not matches:
        return None
    orders = np.array(
        [smiles_mol.GetBondBetweenAtoms(a, b).GetBondTypeAsDouble() for a, b in bonds.tolist()]
    )
    order = np.full(len(z), -1)

    def weighted_length(match: Iterable[int]) -> float:
        order[heavy] = heavy_there[list(match)]
        ends = pos[order[bonds]]
        return round(float(orders @ np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)), 6)

    order[heavy] = heavy_there[list(min(matches, key=weighted_length))]
    for atom in heavy.tolist():
        order[parent == atom] = np.flatnonzero(parent_there == order[atom])
    return order


def from_coordinates(z: NDArray[np.int64], pos: NDArray[np.float64]) -> Chem.Mol | None:
    """A neutral molecule whose bonds are perceived from its coordinates alone.

    Args:
        z: (atoms,) atomic numbers.
        pos: (atoms, 3) Å.

    Returns:
        The molecule in the order of the coordinates, or None where no bonds make sense.
    """
    mol = Chem.RWMol()
    for number in z.tolist():
        mol.AddAtom(Chem.Atom(number))
    mol.AddConformer(conformer(pos))
    try:
        rdDetermineBonds.DetermineBonds(mol, charge=0, maxIterations=1000)
        Chem.SanitizeMol(mol)
    except (ValueError, RuntimeError):
        return None
    if len(z) > 1 and any(atom.GetDegree() == 0 for atom in mol.GetAtoms()):
        return None  # scattered atoms come back as ions
    return mol.GetMol()


def agree(mol: Chem.Mol, pos: NDArray[np.float64]) -> bool:
    """Whether coordinates still have a molecule's bonds, no more and no less.

    Args:
        mol: with explicit hydrogens.
        pos: (atoms, 3) Å, in its order.
    """
    z = atomic_numbers(mol)
    if not np.isfinite(pos).all():
        return False
    pairs = np.array([sorted(b) for b in _all_bonds(mol)], dtype=np.int64).reshape(-1, 2)
    if (_stretch(z, pos, pairs) > _MAX_STRETCH).any():
        return False
    if not (z > 1).any():
        return True
    heavy = {tuple(pair) for pair in pairs.tolist() if (z[pair] > 1).all()}
    if heavy != {tuple(pair) for pair in shortest_pairs(z, pos, len(heavy)).tolist()}:
        return False
    return bool((_parents_in(mol) == _parents(z, pos)).all())


def conformer(pos: NDArray[np.float64]) -> Chem.Conformer:
    """RDKit's form of (atoms, 3) coordinates in Å."""
    made = Chem.Conformer(len(pos))
    made.SetPositions(np.ascontiguousarray(pos))
    return made


def atomic_numbers(mol: Chem.Mol) -> NDArray[np.int64]:
    """(atoms,) atomic numbers of an RDKit molecule."""
    return np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=np.int64)


def shortest_pairs(z: NDArray[np.int64], pos: NDArray[np.float64], n: int) -> Pairs:
    """The (n, 2) pairs of heavy atoms that are shortest in units of their covalent radii."""
    heavy = np.flatnonzero(z > 1)
    a, b = np.triu_indices(len(heavy), 1)
    pairs = np.stack([heavy[a], heavy[b]], axis=1)
    return pairs[np.argsort(_stretch(z, pos, pairs), kind="stable")[:n]]


def _stretch(z: NDArray[np.int64], pos: NDArray[np.float64], pairs: Pairs) -> NDArray[np.float64]:
    """Distances of pairs over the sums of their covalent radii."""
    radius = _RADII[z]
    distance = np.linalg.norm(pos[pairs[:, 0]] - pos[pairs[:, 1]], axis=1)
    return distance / (radius[pairs[:, 0]] + radius[pairs[:, 1]])


_RADII: Final = np.array([Chem.GetPeriodicTable().GetRcovalent(n) for n in range(119)])


def _parents(z: NDArray[np.int64], pos: NDArray[np.float64]) -> Pairs:
    """(atoms,) the heavy atom nearest to each hydrogen; -1 for heavy atoms."""
    heavy, hydrogen = np.flatnonzero(z > 1), np.flatnonzero(z == 1)
    parent = np.full(len(z), -1)
    distance = np.linalg.norm(pos[hydrogen, None] - pos[None, heavy], axis=-1)
    parent[hydrogen] = heavy[np.argmin(distance / (_RADII[z[heavy]] + _RADII[1]), axis=1)]
    return parent


def _parents_in(mol: Chem.Mol) -> Pairs:
    """(atoms,) the heavy atom to which each hydrogen is bonded; -1 for heavy atoms."""
    parent = np.full(mol.GetNumAtoms(), -1)
    for atom in mol.GetAtoms():
        if atom.GetAtomicNum() == 1:
            parent[atom.GetIdx()] = atom.GetNeighbors()[0].GetIdx()
    return parent


def _all_bonds(mol: Chem.Mol) -> list[tuple[int, int]]:
    return [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()]


def _heavy_bonds(mol: Chem.Mol) -> list[tuple[int, int]]:
    def is_heavy(atom: int) -> bool:
        return bool(mol.GetAtomWithIdx(atom).GetAtomicNum() > 1)

    return [(a, b) for a, b in _all_bonds(mol) if is_heavy(a) and is_heavy(b)]


def _skeleton(
    z: NDArray[np.int64], bonds: Iterable[Iterable[int]], parent: Pairs
) -> tuple[Chem.Mol, Pairs]:
    """Heavy atoms and single bonds, and the atoms' numbers.

    The number of its hydrogens is an atom's isotope, which RDKit's matching compares.
    """
    heavy = np.flatnonzero(z > 1)
    number = {atom: k for k, atom in enumerate(heavy.tolist())}
    mol = Chem.RWMol()
    for k in heavy.tolist():
        atom = Chem.Atom(int(z[k]))
        atom.SetIsotope(1 + int((parent == k).sum()))
        atom.SetNoImplicit(True)
        mol.AddAtom(atom)
    for a, b in bonds:
        mol.AddBond(number[int(a)], number[int(b)], Chem.BondType.SINGLE)
    return mol.GetMol(), heavy
