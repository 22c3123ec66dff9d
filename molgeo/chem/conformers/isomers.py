"""What a SMILES leaves open: the handedness of centres, E and Z of double bonds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from molgeo.chem.conformers.canonical import (
    Canonical,
    canonical,
    canonical_smiles,
    has_handedness,
    mirror_image,
)
from molgeo.chem.stereo import is_set, with_stereo


class OpenStereo(NamedTuple):
    """Indices of the centres and of the double bonds that may be the one way or the other."""

    atoms: tuple[int, ...]
    bonds: tuple[int, ...]

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.atoms or self.bonds)


def open_stereo(mol: Chem.Mol) -> OpenStereo:
    """What a molecule leaves open.

    Args:
        mol: hydrogens implicit. A bond to =NH whose hydrogen is not written is left out: how it
            points is a matter of conformers.
    """
    unset = [
        element
        for element in Chem.FindPotentialStereo(mol)
        if element.specified != Chem.StereoSpecified.Specified
    ]
    of_atom, of_bond = Chem.StereoType.Atom_Tetrahedral, Chem.StereoType.Bond_Double
    bonds = [element.centeredOn for element in unset if element.type == of_bond]
    return OpenStereo(
        tuple(element.centeredOn for element in unset if element.type == of_atom),
        tuple(index for index in bonds if all(map(_holds, _ends(mol.GetBondWithIdx(index))))),
    )


def may_strain(mol: Chem.Mol, free: OpenStereo) -> bool:
    """Whether some isomers of a molecule may be much higher in energy than others.

    Args:
        mol: the molecule.
        free: what it leaves open: centres that two rings share and double bonds of rings may strain
            it, such as the two of bicyclopentane and that of cyclooctene.
    """
    rings = mol.GetRingInfo()
    return any(rings.NumAtomRings(k) > 1 for k in free.atoms) or any(
        rings.NumBondRings(k) > 0 for k in free.bonds
    )


def opened_to_e(mol: Chem.Mol) -> Chem.Mol:
    """A copy of a molecule whose open double bonds are E, mostly the more stable one.

    Args:
        mol: hydrogens implicit. Bonds of rings stay open: not every ring bears both.
    """
    copy = Chem.Mol(mol)
    free = [k for k in open_stereo(copy).bonds if not copy.GetBondWithIdx(k).IsInRing()]
    Chem.FindPotentialStereoBonds(copy)
    for k in free:
        bond = copy.GetBondWithIdx(k)
        if len(bond.GetStereoAtoms()) == 2:
            bond.SetStereo(Chem.BondStereo.STEREOTRANS)
    Chem.SetDoubleBondNeighborDirections(copy)
    Chem.AssignStereochemistry(copy, cleanIt=True, force=True)
    return copy


def settled(mol: Chem.Mol, pos: NDArray[np.float64]) -> tuple[Canonical, int]:
    """The isomer that coordinates show of a molecule whose stereo is partly open.

    Args:
        mol: the molecule, hydrogens implicit.
        pos: (atoms, 3) Å, of a conformer of ``Chem.AddHs(mol)``.

    Returns:
        Its form; and how much of the stereo was open: nothing if the molecule, such as adamantane,
        has no other isomer.
    """
    isomer, n_open = _isomer(mol, pos)
    made = canonical(isomer)
    if not has_handedness(mol):  # nothing says that the isomer is not its own mirror image
        made = made._replace(mirrored=False)
    return made, n_open


def told(made: Canonical, n_open: int) -> str:
    """How much was open and which isomer was made, in words; "" if nothing was."""
    if not n_open:
        return ""
    shown = canonical_smiles(mirror_image(made.mol)) if made.mirrored else made.smiles
    return f"{n_open} open, predicted {shown}"


def _isomer(mol: Chem.Mol, pos: NDArray[np.float64]) -> tuple[Chem.Mol, int]:
    """A molecule with what coordinates show of its open stereo, and how much of it they do."""
    free = open_stereo(mol)
    isomer = with_stereo(Chem.AddHs(mol), pos)
    for atom in isomer.GetAtoms():
        k = atom.GetIdx()
        if k not in free.atoms and not (k < mol.GetNumAtoms() and is_set(mol.GetAtomWithIdx(k))):
            atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    for bond in isomer.GetBonds():
        k = bond.GetIdx()
        if k not in free.bonds and not (k < mol.GetNumBonds() and is_set(mol.GetBondWithIdx(k))):
            bond.SetStereo(Chem.BondStereo.STEREONONE)
    isomer = Chem.RemoveHs(isomer)
    if isomer.GetNumAtoms() != mol.GetNumAtoms():
        return mol, 0
    Chem.AssignStereochemistry(isomer, cleanIt=True, force=True)
    return isomer, sum(
        [is_set(isomer.GetAtomWithIdx(k)) for k in free.atoms]
        + [is_set(isomer.GetBondWithIdx(k)) for k in free.bonds]
    )


def _ends(bond: Chem.Bond) -> tuple[Chem.Atom, Chem.Atom]:
    return bond.GetBeginAtom(), bond.GetEndAtom()


def _holds(atom: Chem.Atom) -> bool:
    """Whether the end of a double bond holds what is bonded to it to one side.

    Not =NH, whose hydrogen is implicit, nor the middle of an allene.
    """
    n_double = sum(bond.GetBondType() == Chem.BondType.DOUBLE for bond in atom.GetBonds())
    return n_double == 1 and atom.GetDegree() > 1
