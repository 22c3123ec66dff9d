import ase.io
import numpy as np
import pytest
from ase.build import molecule as g2
from rdkit import Chem

from molgeo.chem.conformers.conformers import embed
from molgeo.chem.mol_blocks import NO_ATOMS, extxyz_frame, mol_block, sdf_record
from molgeo.chem.molecule import Molecule, SmilesRow, from_arrays

SMILES = [
    "C[C@H](N)C(=O)O",
    "C[C@@H](N)C(=O)O",
    "F/C=C/F",
    "F/C=C\\F",
    "O[C@H]1CC[C@@H](C)CC1",
    "c1ccncc1",
    "C[N+](=O)[O-]",
    "N#CC=O",
    "[NH3+]CC(=O)[O-]",
]


def read(block):
    return Chem.MolFromMolBlock(block, removeHs=False)


def canonical(mol):
    return Chem.MolToSmiles(Chem.RemoveHs(mol))


@pytest.mark.parametrize("smiles", SMILES)
def test_a_conformer_is_the_molecule_of_its_smiles(smiles):
    """In its order of atoms and with its handedness."""
    (molecule,) = embed(SmilesRow(smiles), 1)
    shown = read(mol_block(molecule))
    assert canonical(shown) == Chem.CanonSmiles(smiles)
    assert [a.GetAtomicNum() for a in shown.GetAtoms()] == molecule.z.tolist()
    heavy = [a.GetAtomicNum() for a in Chem.MolFromSmiles(smiles).GetAtoms()]
    assert molecule.z[: len(heavy)].tolist() == heavy
    np.testing.assert_allclose(shown.GetConformer().GetPositions(), molecule.pos, atol=1e-4)


def test_given_coordinates_keep_their_order():
    (made,) = embed(SmilesRow("C[C@H](N)C(=O)O"), 1)
    order = np.random.default_rng(0).permutation(made.n_atoms)
    for smiles in ("C[C@H](N)C(=O)O", None):
        given = Molecule(made.z[order], made.pos[order], smiles=smiles)
        shown = read(mol_block(given))
        assert [a.GetAtomicNum() for a in shown.GetAtoms()] == given.z.tolist()
        assert canonical(shown) == "C[C@H](N)C(=O)O"


def test_without_bonds_atoms_are_what_is_left():
    scattered = from_arrays([6, 1, 1], [[0, 0, 0], [9, 0, 0], [0, 9, 0]])
    shown = Chem.MolFromMolBlock(mol_block(scattered), removeHs=False, sanitize=False)
    assert shown.GetNumAtoms() == 3
    assert shown.GetNumBonds() == 0
    other = Molecule(g2("H2O").numbers, g2("H2O").positions, smiles="CC")
    assert read(mol_block(other)).GetNumBonds() == 2


def test_a_record_of_sdf_survives_its_fields():
    fields = {"a>b": "x\n\ny", "empty": "", "$$$$": "1.5", "back": "$$$$"}
    text = sdf_record(NO_ATOMS, "na\nme\x0b", fields) + sdf_record(NO_ATOMS, "", {"a": "b"})
    supplier = Chem.SDMolSupplier()
    supplier.SetData(text)
    first, second = list(supplier)
    assert first.GetProp("_Name") == "na me"
    assert first.GetProp("a)b") == "x y"
    assert first.GetProp("back").strip() == "$$$$"
    assert not first.HasProp("empty")
    assert second.GetProp("a") == "b"


def test_frames_of_extxyz(tmp_path):
    atoms = g2("CH3OH")
    path = tmp_path / "a.extxyz"
    made = Molecule(atoms.numbers.astype(np.int64), atoms.positions)
    path.write_text(extxyz_frame(made, {"name": 'a "b" c', "gap_eV": "1.50"}) * 2)
    first, second = ase.io.read(path, ":")
    assert first.get_chemical_formula() == second.get_chemical_formula() == "CH4O"
    assert first.info["name"] == 'a "b" c'
    np.testing.assert_allclose(first.positions, atoms.positions, atol=1e-7)


@pytest.mark.parametrize("smiles", ["=N→CN=CCC(=é→C][😀→O(日1CNN=éé→CéCC", "O" * 100_000, "O wat"])
def test_a_smiles_that_is_none_is_no_hindrance(smiles):
    water = g2("H2O")
    block = mol_block(Molecule(water.numbers, water.positions, smiles=smiles))
    assert Chem.MolFromMolBlock(block, removeHs=False).GetNumBonds() == 2
