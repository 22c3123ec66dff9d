"""Bonds, stereo and coordinates of one molecule: which atom is which, do they still agree.

A data set may have its coordinates in one order of atoms and its SMILES in another. No threshold
tells a bond from a close contact in strained cages (bonds of 1.7 Å, contacts of 1.85 Å across a
ring), but the SMILES says how many bonds there are: the *n* pairs that are shortest in units of
their covalent radii are the bonds wherever any threshold would find them.

RDKit takes the handedness of a centre from three of its bonds. In a strained cage these may lie in
a plane with the centre, or all four on one side of it. The volume of the tetrahedron of the four
neighbours keeps its sign there: none of them passes through the plane of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdDetermineBonds

from molgeo.chem.parsing import mol_from_smiles, rdkit_messages
from molgeo.elements import COVALENT_RADII

_MAX_MATCHES: Final = 1000
_MAX_STRETCH: Final = 1.35
"""A bond longer than this many sums of covalent radii is broken: C–C beyond 2.05 Å."""

_BONDED: Final = 1.25
"""Pairs closer than this many sums of covalent radii are bonded, if nothing else tells bonds."""

_RADII: Final = np.array(COVALENT_RADII)

_TAGS = (Chem.ChiralType.CHI_TETRAHEDRAL_CW, Chem.ChiralType.CHI_TETRAHEDRAL_CCW)
_OPEN = (Chem.BondStereo.STEREONONE, Chem.BondStereo.STEREOANY)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def assign(smiles_mol: Chem.Mol, z: Ints, pos: Floats) -> Ints | None:
    """Which atom of given coordinates is which atom of a SMILES.

    Among assignments that differ in their bond orders, such as the two ends of C=C–C, the one with
    the shortest double bonds is taken. Stereo is not looked at: force fields do not ask for it.

    Args:
        smiles_mol: with explicit hydrogens.
        z: (atoms,) atomic numbers, in the coordinates' order.
        pos: (atoms, 3) Å.

    Returns:
        (atoms,) ``order``, so that ``pos[order]`` has the SMILES's order; None if the connectivity
        is not the SMILES's.
    """
    wanted = atomic_numbers(smiles_mol)
    if sorted(wanted.tolist()) != sorted(z.tolist()) or not (z > 1).any():
        return None
    bonds = [(a, b) for a, b in _bonds(smiles_mol).tolist() if wanted[a] > 1 and wanted[b] > 1]
    ends = np.array(bonds, dtype=np.int64).reshape(-1, 2)
    parent, parent_there = _parents_in(smiles_mol), _parents(z, pos)
    query, heavy = _skeleton(wanted, ends, parent)
    target, heavy_there = _skeleton(z, shortest_pairs(z, pos, len(ends)), parent_there)
    matches = target.GetSubstructMatches(query, uniquify=False, maxMatches=_MAX_MATCHES)
    if not matches:
        return None
    orders = np.array([smiles_mol.GetBondBetweenAtoms(*b).GetBondTypeAsDouble() for b in bonds])
    order = np.full(len(z), -1)

    def weighted_length(match: Iterable[int]) -> float:
        order[heavy] = heavy_there[list(match)]
        vectors = pos[order[ends[:, 0]]] - pos[order[ends[:, 1]]]
        return round(float(orders @ np.linalg.norm(vectors, axis=1)), 6)

    order[heavy] = heavy_there[list(min(matches, key=weighted_length))]
    for atom in heavy.tolist():
        order[parent == atom] = np.flatnonzero(parent_there == order[atom])
    return order


def placed(smiles: str, z: Ints, pos: Floats) -> tuple[Chem.Mol, Ints] | None:
    """The molecule of a SMILES, with hydrogens, and how `assign` finds it; None if it does not."""
    parsed = mol_from_smiles(smiles)
    if parsed is None:
        return None
    mol = Chem.AddHs(parsed)
    order = assign(mol, z, pos)
    return None if order is None else (mol, order)


def from_coordinates(z: Ints, pos: Floats) -> Chem.Mol | None:
    """A neutral molecule whose bonds are perceived from its coordinates; None if none make sense.

    Args:
        z: (atoms,) atomic numbers.
        pos: (atoms, 3) Å, whose order the molecule has.
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


def agree(mol: Chem.Mol, pos: Floats) -> bool:
    """Whether (atoms, 3) Å have all bonds of a molecule with explicit hydrogens, and no others."""
    z, pairs = atomic_numbers(mol), np.sort(_bonds(mol), axis=1)
    if not np.isfinite(pos).all() or (_stretch(z, pos, pairs) > _MAX_STRETCH).any():
        return False
    if not (z > 1).any():
        return True
    heavy = pairs[(z[pairs] > 1).all(axis=1)].tolist()
    if sorted(heavy) != sorted(shortest_pairs(z, pos, len(heavy)).tolist()):
        return False
    return bool((_parents_in(mol) == _parents(z, pos)).all())


def same_bonds(z: Ints, before: Floats, after: Floats) -> bool:
    """Whether atoms have moved from one place to another without a bond broken or made.

    Args:
        z: (atoms,) atomic numbers.
        before: (atoms, 3) Å, of one whole molecule.
        after: (atoms, 3) Å, in the same order.
    """
    if not (z > 1).any():
        return True
    a, b = np.triu_indices(len(z), 1)
    near = _stretch(z, before, np.stack([a, b], axis=1)) < _BONDED
    n = int((near & (z[a] > 1) & (z[b] > 1)).sum())
    pairs, parent = shortest_pairs(z, before, n), _parents(z, before)
    hydrogen = np.flatnonzero(z == 1)
    ends = np.concatenate([pairs, np.stack([hydrogen, parent[hydrogen]], axis=1)])
    return (
        bool((_stretch(z, after, ends) <= _MAX_STRETCH).all())
        and sorted(pairs.tolist()) == sorted(shortest_pairs(z, after, n).tolist())
        and bool((parent == _parents(z, after)).all())
    )


def conformer(pos: Floats) -> Chem.Conformer:
    """RDKit's form of (atoms, 3) coordinates in Å."""
    made = Chem.Conformer(len(pos))
    made.SetPositions(np.ascontiguousarray(pos))
    return made


def atomic_numbers(mol: Chem.Mol) -> Ints:
    """(atoms,) atomic numbers of an RDKit molecule."""
    return np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=np.int64)


def shortest_pairs(z: Ints, pos: Floats, n: int) -> Ints:
    """The (n, 2) pairs of heavy atoms that are shortest in units of their covalent radii."""
    heavy = np.flatnonzero(z > 1)
    a, b = np.triu_indices(len(heavy), 1)
    pairs = np.stack([heavy[a], heavy[b]], axis=1)
    return pairs[np.argsort(_stretch(z, pos, pairs), kind="stable")[:n]]


def _stretch(z: Ints, pos: Floats, pairs: Ints) -> Floats:
    """(pairs,) distances over the sums of covalent radii; of unknown elements the last radius."""
    distance = np.linalg.norm(pos[pairs[:, 0]] - pos[pairs[:, 1]], axis=1)
    return distance / _RADII.take(z[pairs], mode="clip").sum(axis=1)


def _parents(z: Ints, pos: Floats) -> Ints:
    """(atoms,) the heavy atom nearest to each hydrogen; -1 for heavy atoms."""
    heavy, hydrogen = np.flatnonzero(z > 1), np.flatnonzero(z == 1)
    parent = np.full(len(z), -1)
    distance = np.linalg.norm(pos[hydrogen, None] - pos[None, heavy], axis=-1)
    radii = _RADII.take(z[heavy], mode="clip") + _RADII[1]
    parent[hydrogen] = heavy[np.argmin(distance / radii, axis=1)]
    return parent


def _parents_in(mol: Chem.Mol) -> Ints:
    """(atoms,) the heavy atom to which each hydrogen is bonded; -1 for heavy atoms."""
    parent = np.full(mol.GetNumAtoms(), -1)
    for atom in mol.GetAtoms():
        if atom.GetAtomicNum() == 1:
            parent[atom.GetIdx()] = atom.GetNeighbors()[0].GetIdx()
    return parent


def _bonds(mol: Chem.Mol) -> Ints:
    """(bonds, 2) the ends of all bonds."""
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds()]
    return np.array(ends, dtype=np.int64).reshape(-1, 2)


def _skeleton(z: Ints, bonds: Ints, parent: Ints) -> tuple[Chem.Mol, Ints]:
    """Heavy atoms and single bonds, and the atoms' numbers.

    The number of its hydrogens is an atom's isotope, which RDKit's matching compares.
    """
    heavy = np.flatnonzero(z > 1)
    mol = Chem.RWMol()
    for k in heavy.tolist():
        atom = Chem.Atom(int(z[k]))
        atom.SetIsotope(1 + int((parent == k).sum()))
        atom.SetNoImplicit(True)
        mol.AddAtom(atom)
    for a, b in np.searchsorted(heavy, bonds).tolist():
        mol.AddBond(a, b, Chem.BondType.SINGLE)
    return mol.GetMol(), heavy


def said_stereo(mol: Chem.Mol) -> tuple[set[int], set[int]]:
    """Indices of the atoms that have a handedness, and of the double bonds that are E or Z."""
    return (
        {atom.GetIdx() for atom in mol.GetAtoms() if atom.GetChiralTag() in _TAGS},
        {bond.GetIdx() for bond in mol.GetBonds() if bond.GetStereo() not in _OPEN},
    )


def keep_stereo(mol: Chem.Mol, atoms: Set[int], bonds: Set[int]) -> None:
    """Leave open, in place, what is not at one of these atoms and bonds."""
    for atom in mol.GetAtoms():
        if atom.GetIdx() not in atoms:
            atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    for bond in mol.GetBonds():
        if bond.GetIdx() not in bonds:
            bond.SetStereo(Chem.BondStereo.STEREONONE)


def with_stereo(mol: Chem.Mol, pos: Floats) -> Chem.Mol:
    """A copy of a molecule with explicit hydrogens, and the stereo of coordinates alone.

    Args:
        mol: whatever stereo it has.
        pos: (atoms, 3) Å, in its order.
    """
    copy = Chem.Mol(mol)
    copy.RemoveAllConformers()
    copy.AddConformer(conformer(pos))
    Chem.RemoveStereochemistry(copy)
    Chem.DetectBondStereochemistry(copy)
    Chem.AssignAtomChiralTagsFromStructure(copy)
    for atom in copy.GetAtoms():
        if atom.GetChiralTag() in _TAGS and atom.GetDegree() == 4:
            a, b, c, d = pos[[bond.GetOtherAtomIdx(atom.GetIdx()) for bond in atom.GetBonds()]]
            atom.SetChiralTag(_TAGS[int(np.linalg.det([b - a, c - a, d - a]) < 0)])
    # Only now: RDKit drops a centre that its neighbours' handedness makes one.
    Chem.AssignStereochemistry(copy, cleanIt=True, force=True)
    return copy


def has_stereo(mol: Chem.Mol, pos: Floats) -> bool:
    """Whether coordinates have the stereo that a molecule asks for; what it leaves open may be any.

    Args:
        mol: with explicit hydrogens.
        pos: (atoms, 3) Å, in its order.
    """
    atoms, double_bonds = said_stereo(mol)
    if not atoms and not double_bonds:
        return True
    found = with_stereo(mol, pos)
    keep_stereo(found, atoms, double_bonds)
    # Two centres of a ring may both be inverted and the molecule the same: only SMILES compare it.
    return bool(_smiles(found) == _smiles(mol))


def isomeric_smiles(mol: Chem.Mol, pos: Floats) -> str:
    """SMILES of a molecule with explicit hydrogens, with the stereo of its (atoms, 3) pos in Å."""
    return _smiles(with_stereo(mol, pos))


def _smiles(mol: Chem.Mol) -> str:
    return str(Chem.MolToSmiles(Chem.RemoveHs(mol)))


def stereo_smiles(smiles: str, z: Ints, pos: Floats) -> str:
    """A canonical SMILES with the stereo of coordinates in any order of atoms.

    Args:
        smiles: of the molecule; what stereo it has counts for nothing. It comes back as it is if
            RDKit cannot read it or its bonds are not found in the coordinates.
        z: (atoms,) atomic numbers.
        pos: (atoms, 3) Å.
    """
    with rdkit_messages():
        found = placed(smiles, z, pos)
        return smiles if found is None else isomeric_smiles(found[0], pos[found[1]])


def flat_smiles(smiles: str) -> str:
    """A SMILES without its stereo; the one given if it has none."""
    with rdkit_messages():
        mol = mol_from_smiles(smiles) if set("@/\\") & set(smiles) else None
        if mol is None:
            return smiles
        Chem.RemoveStereochemistry(mol)
        return _smiles(mol)
