"""The cheap force fields: which one is taken, and that bonds are as long as bonds are."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from molgeo.chem.conformers.force_field import minimise


def minimised(smiles: str) -> tuple[Chem.Mol, str | None]:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=1) == 0
    return mol, minimise(mol)[1]


def lengths(mol: Chem.Mol) -> list[float]:
    pos = mol.GetConformer().GetPositions()
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds()]
    return [float(np.linalg.norm(pos[a] - pos[b])) for a, b in ends]


@pytest.mark.parametrize(
    ("smiles", "length"), [("O=C=O", 1.163), ("N#N", 1.098), ("[N-]=[N+]=O", 1.13)]
)
def test_multiple_bonds_without_parameters_are_not_taken_for_single_ones(smiles, length):
    mol, how = minimised(smiles)
    assert rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol)  # so RDKit says
    assert how == "uff"
    assert lengths(mol)[0] == pytest.approx(length, abs=0.11)


@pytest.mark.parametrize(
    "smiles", ["CCO", "C=C=O", "C#N", "CN=[N+]=[N-]", "NC=[NH+]C[C-](C#N)C#N", "O=C=C=C=O"]
)
def test_mmff_is_taken_where_it_has_all_parameters(smiles):
    mol, how = minimised(smiles)
    assert how == "mmff"
    assert max(lengths(mol)) < 1.6
