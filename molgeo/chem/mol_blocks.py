"""Molecules as they were predicted, for files of structures."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Final

import ase.io
import numpy as np
from ase import Atoms
from rdkit import Chem

from molgeo.chem import bonds
from molgeo.chem.molecule import Molecule
from molgeo.chem.parsing import mol_from_smiles, rdkit_messages

NO_ATOMS: Final = "\n     molgeo\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n"
"""The mol block of nothing."""


def mol_block(molecule: Molecule) -> str:
    """A molecule's atoms in their order, its coordinates and its bonds.

    Bonds are those of the SMILES; without one, those that the coordinates show; if they show no
    neutral molecule, there are none.
    """
    with rdkit_messages():
        mol = _with_bonds(molecule)
        mol.RemoveAllConformers()
        mol.AddConformer(bonds.conformer(molecule.pos), assignId=True)
        try:
            Chem.AssignStereochemistryFrom3D(mol)
            return Chem.MolToMolBlock(mol)
        except (ValueError, RuntimeError):  # RDKit cannot draw its bonds: atoms are what is left
            return Chem.MolToMolBlock(_atoms(molecule), kekulize=False)


def _with_bonds(molecule: Molecule) -> Chem.Mol:
    shown = _of_smiles(molecule) if molecule.smiles else None
    if shown is None and not molecule.charge and np.isfinite(molecule.pos).all():
        shown = bonds.from_coordinates(molecule.z, molecule.pos)
    return _atoms(molecule) if shown is None else shown


def _of_smiles(molecule: Molecule) -> Chem.Mol | None:
    """The SMILES's molecule with its atoms in the order of the coordinates."""
    parsed = mol_from_smiles(molecule.smiles or "")
    if parsed is None:
        return None
    mol = Chem.AddHs(parsed)
    for atom in mol.GetAtoms():
        atom.SetAtomMapNum(0)
    if np.array_equal(bonds.atomic_numbers(mol), molecule.z) and bonds.agree(mol, molecule.pos):
        return mol
    order = bonds.assign(mol, molecule.z, molecule.pos)
    return None if order is None else Chem.RenumberAtoms(mol, np.argsort(order).tolist())


def _atoms(molecule: Molecule) -> Chem.Mol:
    mol = Chem.RWMol()
    for number in molecule.z.tolist():
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        mol.AddAtom(atom)
    mol.AddConformer(bonds.conformer(molecule.pos))
    return mol.GetMol()


def sdf_record(block: str, name: str, fields: Mapping[str, str]) -> str:
    """One record of an SDF: a mol block, its name and its fields; empty ones are left out."""
    title = _line(name)
    lines = [
        f">  <{_line(field).translate(_BRACKETS)}>\n{_line(value)}\n\n"
        for field, value in fields.items()
        if value.strip()
    ]
    return title + block[block.index("\n") :] + "".join(lines) + "$$$$\n"


def _line(text: str) -> str:
    """One line, which does not end the record."""
    line = " ".join(str(text).split())
    return f" {line}" if line.startswith("$$$$") else line


_BRACKETS: Final = str.maketrans("<>", "()")


def extxyz_frame(molecule: Molecule, fields: Mapping[str, str | float | int]) -> str:
    """One frame of an extxyz file, with fields in its comment."""
    atoms = Atoms(molecule.z, molecule.pos, info=dict(fields))
    file = io.StringIO()
    ase.io.write(file, atoms, format="extxyz")
    return file.getvalue()
