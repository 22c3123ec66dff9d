"""Stereo centres and double bonds, as coordinates have them.

RDKit takes the handedness of a centre from three of its bonds. In a strained cage these may lie in
a plane with the centre, or all four on one side of it. The volume of the tetrahedron of the four
neighbours keeps its sign there: none of them passes through the plane of the others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from molgeo.chem import bonds
from molgeo.chem.parsing import mol_from_smiles, rdkit_messages

_TAGS = (Chem.ChiralType.CHI_TETRAHEDRAL_CW, Chem.ChiralType.CHI_TETRAHEDRAL_CCW)
_OPEN = (Chem.BondStereo.STEREONONE, Chem.BondStereo.STEREOANY)


def is_set(element: Chem.Atom | Chem.Bond) -> bool:
    """Whether an atom has a handedness, or a double bond its E or Z."""
    if isinstance(element, Chem.Atom):
        return element.GetChiralTag() in _TAGS
    return element.GetStereo() not in _OPEN


def with_stereo(mol: Chem.Mol, pos: NDArray[np.float64]) -> Chem.Mol:
    """A copy of a molecule with the stereo of coordinates, whatever it had before.

    Args:
        mol: with explicit hydrogens.
        pos: (atoms, 3) Å, in its order.
    """
    copy = Chem.Mol(mol)
    copy.RemoveAllConformers()
    copy.AddConformer(bonds.conformer(pos))
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


def has_stereo(mol: Chem.Mol, pos: NDArray[np.float64]) -> bool:
    """Whether coordinates have the stereo that a molecule asks for; what it leaves open may be any.

    Args:
        mol: with explicit hydrogens.
        pos: (atoms, 3) Å, in its order.
    """
    open_atoms = [a.GetIdx() for a in mol.GetAtoms() if not is_set(a)]
    open_bonds = [b.GetIdx() for b in mol.GetBonds() if not is_set(b)]
    if len(open_atoms) == mol.GetNumAtoms() and len(open_bonds) == mol.GetNumBonds():
        return True
    found = with_stereo(mol, pos)
    for atom in open_atoms:
        found.GetAtomWithIdx(atom).SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    for bond in open_bonds:
        found.GetBondWithIdx(bond).SetStereo(Chem.BondStereo.STEREONONE)
    # Two centres of a ring may both be inverted and the molecule the same: only SMILES compare it.
    return bool(_smiles(found) == _smiles(mol))


def isomeric_smiles(mol: Chem.Mol, pos: NDArray[np.float64]) -> str:
    """SMILES of a molecule with explicit hydrogens, with the stereo of its (atoms, 3) pos in Å."""
    return _smiles(with_stereo(mol, pos))


def _smiles(mol: Chem.Mol) -> str:
    return str(Chem.MolToSmiles(Chem.RemoveHs(mol)))


def stereo_smiles(smiles: str, z: NDArray[np.int64], pos: NDArray[np.float64]) -> str:
    """A SMILES with the stereo of coordinates in any order of atoms.

    Args:
        smiles: of the molecule; what stereo it has counts for nothing.
        z: (atoms,) atomic numbers.
        pos: (atoms, 3) Å.

    Returns:
        The canonical SMILES; or the one given, if RDKit cannot read it or the bonds are not
        found in the coordinates.
    """
    with rdkit_messages():
        mol = mol_from_smiles(smiles)
        if mol is None:
            return smiles
        mol = Chem.AddHs(mol)
        order = bonds.assign(mol, z, pos)
        return smiles if order is None else isomeric_smiles(mol, pos[order])


def flat_smiles(smiles: str) -> str:
    """A SMILES without its stereo; the one given if it has none."""
    if not set("@/\\") & set(smiles):
        return smiles
    with rdkit_messages():
        mol = mol_from_smiles(smiles)
        if mol is None:
            return smiles
        Chem.RemoveStereochemistry(mol)
        return _smiles(mol)
