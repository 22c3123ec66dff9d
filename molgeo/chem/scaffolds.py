"""What family a molecule is of: its Bemis–Murcko scaffold, or its functional groups without a ring.

Molecules of one family are alike, so that a model is asked about families that it never saw.

Source:
    G. W. Bemis, M. A. Murcko, J. Med. Chem. 39, 2887 (1996), as RDKit has it.

Deviation:
    A molecule without a ring has no scaffold. Its family is the set of its functional groups: its
    heteroatoms with their hydrogens, and carbons with a double or triple bond. So members of a
    homologous series are one family; of all ring-free molecules it would be far too large.
"""

from __future__ import annotations

from typing import Final

from rdkit import Chem
from rdkit.Chem.Scaffolds import MurckoScaffold

from molgeo.chem.parsing import mol_from_smiles, rdkit_messages

NO_RING: Final = "no ring: "
"""Begins the family of a molecule without a ring; its functional groups follow."""


def scaffold(smiles: str) -> str:
    """The family of a molecule; the same for all its spellings and all its stereo.

    Args:
        smiles: of the molecule. Of several fragments the one with most heavy atoms counts, of
            those with rings if there are any.

    Returns:
        The SMILES of the scaffold, or `NO_RING` and functional groups; "" for a SMILES that RDKit
        cannot read.
    """
    with rdkit_messages():
        mol = mol_from_smiles(smiles) if smiles else None
        if mol is None or not mol.GetNumAtoms():
            return ""
        Chem.RemoveStereochemistry(mol)
        mol = max(
            Chem.GetMolFrags(mol, asMols=True),
            key=lambda one: (
                one.GetRingInfo().NumRings() > 0,
                one.GetNumHeavyAtoms(),
                Chem.MolToSmiles(one),
            ),
        )
        if mol.GetRingInfo().NumRings():
            return str(Chem.MolToSmiles(MurckoScaffold.GetScaffoldForMol(mol)))
        return NO_RING + _functional_groups(mol)


def _functional_groups(mol: Chem.Mol) -> str:
    """The kinds of functional groups of a molecule without a ring, sorted."""
    groups = [
        atom.GetIdx()
        for atom in mol.GetAtoms()
        if atom.GetAtomicNum() not in (1, 6)
        or any(bond.GetBondType() != Chem.BondType.SINGLE for bond in atom.GetBonds())
    ]
    if not groups:
        return "no functional group"
    symbols = [f"[{atom.GetSymbol()}{_hydrogens(atom)}{_charge(atom)}]" for atom in mol.GetAtoms()]
    text = Chem.MolFragmentToSmiles(mol, atomsToUse=groups, atomSymbols=symbols)
    return ".".join(sorted(set(text.split("."))))


def _hydrogens(atom: Chem.Atom) -> str:
    """Hydrogens of a heteroatom; a carbon's say how a chain goes on, not what group it is."""
    n = atom.GetTotalNumHs() if atom.GetAtomicNum() != 6 else 0
    return "" if not n else "H" if n == 1 else f"H{n}"


def _charge(atom: Chem.Atom) -> str:
    charge = atom.GetFormalCharge()
    return f"{charge:+d}" if charge else ""
