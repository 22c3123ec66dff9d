"""One form for all spellings of a molecule and for its mirror image, and what a SMILES leaves open.

Conformers are made from this form, so that what is predicted depends on the molecule alone, not on
the order in which its atoms were written. A mirror image has the same properties: of two
enantiomers the one with the smaller SMILES is made, and turned over for whoever sees coordinates.
The handedness of centres and E and Z of double bonds that the SMILES leaves open are settled first.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from molgeo.chem.bonds import keep_stereo, said_stereo, with_stereo

_ROUNDS: Final = 10
"""Most times that a SMILES is read and written; once is enough for all but a few molecules."""

Order = NDArray[np.int64]


class Canonical(NamedTuple):
    """The canonical form of a molecule, and the way back.

    Attributes:
        smiles: isomeric, canonical; equal for all spellings and for the mirror image.
        mol: as read from ``smiles``, hydrogens implicit.
        order: (atoms,) the atom of ``mol`` that each atom of the given molecule is.
        mirrored: ``mol`` is the mirror image of the given molecule.
    """

    smiles: str
    mol: Chem.Mol
    order: Order
    mirrored: bool

    def of(self, given: Canonical) -> Canonical:
        """This form, of ``given.mol``, with the way back to the molecule that that is a form of."""
        return self._replace(
            order=self.order[given.order], mirrored=self.mirrored != given.mirrored
        )


def canonical(mol: Chem.Mol) -> Canonical:
    """The canonical form of a molecule; the molecule itself if RDKit cannot read what it writes.

    Args:
        mol: sound, hydrogens implicit; numbers of atom maps count for nothing.
    """
    bare = Chem.Mol(mol)
    for atom in bare.GetAtoms():
        atom.SetAtomMapNum(0)
    own = _stable(bare)
    other = _stable(mirror_image(bare)) if has_handedness(bare) else own
    mirrored = other.smiles < own.smiles
    return (other if mirrored else own)._replace(mirrored=mirrored)


def canonical_smiles(mol: Chem.Mol) -> str:
    """The SMILES of a molecule, which all its spellings share; not that of its mirror image."""
    return _stable(mol).smiles


def mirror_image(mol: Chem.Mol) -> Chem.Mol:
    """A copy of a molecule with all its centres inverted."""
    copy = Chem.Mol(mol)
    for atom in copy.GetAtoms():
        atom.InvertChirality()
    Chem.AssignStereochemistry(copy, cleanIt=True, force=True)
    return copy


def has_handedness(mol: Chem.Mol) -> bool:
    """Whether a centre has a handedness; double bonds look the same in a mirror."""
    unspecified = Chem.ChiralType.CHI_UNSPECIFIED
    return any(atom.GetChiralTag() != unspecified for atom in mol.GetAtoms())


def with_hydrogens(order: Order, given: Chem.Mol, made: Chem.Mol) -> Order:
    """The order of all atoms, hydrogens included, from that of the atoms before they were added.

    Args:
        order: (atoms,) as in `Canonical`.
        given: the given molecule, hydrogens implicit.
        made: the canonical one, hydrogens implicit.

    Returns:
        (atoms with hydrogens,) the atom of ``Chem.AddHs(made)`` that each atom of
        ``Chem.AddHs(given)`` is: RDKit appends hydrogens in the order of their atoms.
    """
    counts = [atom.GetTotalNumHs() for atom in made.GetAtoms()]
    first = len(order) + np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    places = order[[atom.GetIdx() for atom in given.GetAtoms()]]
    own = [range(first[place], first[place + 1]) for place in places]
    return np.concatenate([order, *own]).astype(np.int64)


def _stable(mol: Chem.Mol) -> Canonical:
    """Write the SMILES of a molecule and read it again, until one comes twice.

    RDKit may write another SMILES of what it has read from its own, and two may even take turns:
    then the smallest of those that take turns is the form.
    """
    order = np.arange(mol.GetNumAtoms())
    forms: list[Canonical] = []
    for _ in range(_ROUNDS):
        smiles = Chem.MolToSmiles(mol)
        order = _places(mol)[order]
        again = [k for k, form in enumerate(forms) if form.smiles == smiles]
        if again:
            return min(forms[again[0] :], key=lambda form: form.smiles)
        read = Chem.MolFromSmiles(smiles)
        if read is None or read.GetNumAtoms() != len(order):
            break
        mol = read
        forms.append(Canonical(smiles, mol, order, mirrored=False))
    return forms[-1] if forms else Canonical(smiles, mol, np.arange(len(order)), mirrored=False)


def _places(mol: Chem.Mol) -> Order:
    """(atoms,) the place of each atom in the SMILES that was written last."""
    written = list(mol.GetPropsAsDict(True, True)["_smilesAtomOutputOrder"])
    return np.argsort(np.array(written, dtype=np.int64))


class OpenStereo(NamedTuple):
    """Indices of the centres and of the double bonds that may be the one way or the other."""

    atoms: tuple[int, ...]
    bonds: tuple[int, ...]

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.atoms or self.bonds)


def open_stereo(mol: Chem.Mol) -> OpenStereo:
    """What a molecule without explicit hydrogens leaves open.

    Not a bond to =NH whose hydrogen is not written: how it points is a matter of conformers.
    """
    unset = [
        element
        for element in Chem.FindPotentialStereo(mol)
        if element.specified != Chem.StereoSpecified.Specified
    ]
    of_atom, of_bond = Chem.StereoType.Atom_Tetrahedral, Chem.StereoType.Bond_Double
    bonds = [mol.GetBondWithIdx(one.centeredOn) for one in unset if one.type == of_bond]
    return OpenStereo(
        tuple(element.centeredOn for element in unset if element.type == of_atom),
        tuple(b.GetIdx() for b in bonds if _holds(b.GetBeginAtom()) and _holds(b.GetEndAtom())),
    )


def _holds(atom: Chem.Atom) -> bool:
    """Whether the end of a double bond holds what is bonded to it to one side.

    Not =NH, whose hydrogen is implicit, nor the middle of an allene.
    """
    n_double = sum(bond.GetBondType() == Chem.BondType.DOUBLE for bond in atom.GetBonds())
    return n_double == 1 and atom.GetDegree() > 1


def may_strain(mol: Chem.Mol, free: OpenStereo) -> bool:
    """Whether some isomers of a molecule may be much higher in energy than others.

    Centres that two rings share and double bonds of rings may strain it, such as the two of
    bicyclopentane and that of cyclooctene.
    """
    rings = mol.GetRingInfo()
    return any(rings.NumAtomRings(k) > 1 for k in free.atoms) or any(
        rings.NumBondRings(k) > 0 for k in free.bonds
    )


def opened_to_e(mol: Chem.Mol) -> Chem.Mol:
    """A copy of a molecule whose open double bonds are E, mostly the more stable one.

    Bonds of rings stay open: not every ring bears both.
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
    atoms, bonds = said_stereo(mol)
    keep_stereo(isomer, atoms.union(free.atoms), bonds.union(free.bonds))
    isomer = Chem.RemoveHs(isomer)
    if isomer.GetNumAtoms() != mol.GetNumAtoms():
        return mol, 0
    Chem.AssignStereochemistry(isomer, cleanIt=True, force=True)
    atoms, bonds = said_stereo(isomer)
    return isomer, len(atoms.intersection(free.atoms)) + len(bonds.intersection(free.bonds))
