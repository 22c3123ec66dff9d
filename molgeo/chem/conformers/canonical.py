"""One form for all spellings of a molecule and for its mirror image.

Conformers are made from this form, so that what is predicted depends on the molecule alone, not on
the order in which its atoms were written. A mirror image has the same properties: of two
enantiomers the one with the smaller SMILES is made, and turned over for whoever sees coordinates.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

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
    """The canonical form of a molecule.

    Args:
        mol: sound, hydrogens implicit; numbers of atom maps count for nothing.

    Returns:
        Its form; the molecule itself if RDKit cannot read what it writes of it.
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
    n = len(order)
    counts = np.array([atom.GetTotalNumHs() for atom in made.GetAtoms()], dtype=np.int64)
    first = n + np.concatenate([[0], counts.cumsum()])
    own = [
        range(first[order[atom.GetIdx()]], first[order[atom.GetIdx()] + 1])
        for atom in given.GetAtoms()
    ]
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
