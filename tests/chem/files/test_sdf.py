import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDepictor, rdDistGeom, rdForceFieldHelpers

from molgeo.chem.files.formats import ReadOptions
from molgeo.chem.files.readers import read
from molgeo.chem.molecule import BadRow, Molecule, SmilesRow, check_bonds


def block(smiles, name="", seed=1):
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(mol, randomSeed=seed)
    mol.SetProp("_Name", name)
    return Chem.MolToMolBlock(mol)


def test_sdf_keeps_coordinates_names_bonds_and_charge(tmp_path):
    path = tmp_path / "a.sdf"
    with Chem.SDWriter(str(path)) as writer:
        for smiles in ("CCO", "C[NH3+]"):
            writer.write(Chem.MolFromMolBlock(block(smiles, smiles), removeHs=False))
    ethanol, cation = read(path)
    reference = Chem.MolFromMolBlock(block("CCO"), removeHs=False)
    np.testing.assert_allclose(ethanol.pos, reference.GetConformer().GetPositions(), atol=1e-4)
    assert (ethanol.name, ethanol.smiles, ethanol.formula) == ("CCO", "CCO", "C2H6O")
    assert (ethanol.input, ethanol.geometry) == (f"{path}:1", "given")
    assert (cation.charge, cation.smiles) == (1, "C[NH3+]")


def test_sdf_broken_record_in_the_middle(tmp_path):
    path = tmp_path / "a.sdf"
    good, broken = block("CCO", "good"), block("CCO", "broken").replace("V2000", "V2OOO")
    valence = flat("C", "2D").replace("  1  2  1", "  1  2  3")
    path.write_text("$$$$\n".join([good, broken, valence, good]) + "$$$$\n")
    first, second, third, fourth = read(path)
    assert (first.smiles, fourth.smiles) == ("CCO", "CCO")
    assert second.name == "broken"
    assert second.message.startswith("broken record: ")
    assert "valence" in third.message


def test_sdf_truncated_at_the_end(tmp_path):
    path = tmp_path / "a.sdf"
    text = block("CCO")
    path.write_text(text + "$$$$\n" + text[: len(text) // 2])
    first, second = read(path)
    assert isinstance(first, Molecule)
    assert isinstance(second, BadRow)


def test_drawings_are_embedded_anew(tmp_path):
    path = tmp_path / "a.mol"
    mol = Chem.MolFromSmiles("C[C@H](N)C(=O)O")
    rdDepictor.Compute2DCoords(mol)
    mol.SetProp("_Name", "alanine")
    path.write_text(Chem.MolToMolBlock(mol))
    (row,) = read(path)
    assert row == SmilesRow("C[C@H](N)C(=O)O", "alanine", f"{path}:1")


def test_missing_hydrogens_are_named(tmp_path):
    path = tmp_path / "a.sdf"
    mol = Chem.RemoveHs(Chem.MolFromMolBlock(block("CCO"), removeHs=False))
    path.write_text(Chem.MolToMolBlock(mol))
    (bad,) = read(path)
    assert bad.message == (
        "6 hydrogens are missing from the 3D coordinates: add them, or give the SMILES"
    )


@pytest.mark.parametrize(
    ("smiles", "message"),
    [
        ("CCO.O", "the molecule has 2 fragments: predict each on its own"),
        ("[2H]O[2H]", "isotope 2H: the models know the common isotopes only"),
        ("[13CH4]", "isotope 13C: the models know the common isotopes only"),
    ],
)
def test_fragments_and_isotopes_with_coordinates_are_refused(tmp_path, smiles, message):
    path = tmp_path / "a.sdf"
    path.write_text(block(smiles))
    for source in (path, Chem.MolFromMolBlock(block(smiles), removeHs=False)):
        (bad,) = read(source)
        assert isinstance(bad, BadRow)
        assert bad.message.startswith(message)


def test_a_mol_without_bonds_keeps_its_coordinates():
    mol = Chem.MolFromXYZBlock("3\n\nO 0 0 0.1\nH 0 0.76 -0.47\nH 0 -0.76 -0.47\n")
    for atom in mol.GetAtoms():
        atom.SetNoImplicit(True)
    (water,) = read(mol)
    assert (water.formula, water.geometry) == ("H2O", "given")


def flat(smiles, tag, scale=1.0, hydrogens=True, wedge=False):
    """A mol block of RDKit's drawing, or of a planar molecule, with a dimension of its own."""
    mol = Chem.MolFromSmiles(smiles)
    mol = Chem.AddHs(mol) if hydrogens else mol
    rdDepictor.Compute2DCoords(mol)
    conformer = mol.GetConformer()
    conformer.SetPositions(scale * conformer.GetPositions())
    if wedge:
        Chem.WedgeMolBonds(mol, conformer)
    text = Chem.MolToMolBlock(mol)
    assert text.splitlines()[1][20:22] == "2D"
    return text.replace("RDKit          2D", f"RDKit          {tag}", 1)


def read_block(text, tmp_path):
    path = tmp_path / "a.mol"
    path.write_text(text)
    (row,) = read(path)
    return row


@pytest.mark.parametrize("tag", ["2D", "3D", "  "])
@pytest.mark.parametrize("scale", [1.0, 0.55, 1.0 / 1.5, 10.0])
@pytest.mark.parametrize(
    "smiles",
    ["C=O", "c1ccccc1", "CCO", "O=C=O", "C#N", "O", "N#N", "FC(F)=C(F)F", "C[C@H](F)Cl", "F/C=C/F"],
)
@pytest.mark.parametrize("hydrogens", [True, False])
def test_a_drawing_is_no_geometry_whatever_it_says(tmp_path, tag, scale, smiles, hydrogens):
    row = read_block(flat(smiles, tag, scale, hydrogens, wedge=True), tmp_path)
    if smiles == "O" and not hydrogens and tag == "3D":
        assert "2 hydrogens are missing" in row.message  # of one atom only the file can say
        return
    if scale == 1.0 / 1.5 and smiles in ("O", "N#N"):
        pytest.skip("bonds of 1 Å may be those of a geometry")
    assert row == SmilesRow(Chem.CanonSmiles(smiles), "", row.input)


@pytest.mark.parametrize("tag", ["2D", "3D"])
@pytest.mark.parametrize(
    "smiles", ["C=O", "c1ccccc1", "C=C", "OC=O", "c1ccoc1", "C=CC=C", "FC(F)=C(F)F", "NC=O", "O"]
)
def test_a_planar_molecule_is_no_drawing(tmp_path, tag, smiles):
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    rdForceFieldHelpers.MMFFOptimizeMolecule(mol)
    conformer = mol.GetConformer()
    centred = conformer.GetPositions() - conformer.GetPositions().mean(0)
    pos = centred @ np.linalg.svd(centred)[2].T
    assert np.ptp(pos[:, 2]) < 0.1
    conformer.SetPositions(np.where([True, True, False], pos, 0.0))
    block = Chem.MolToMolBlock(mol)
    said = block.splitlines()[1][20:22]
    molecule = read_block(
        block.replace(f"RDKit          {said}", f"RDKit          {tag}"), tmp_path
    )
    assert isinstance(molecule, Molecule)
    assert Chem.CanonSmiles(molecule.smiles) == Chem.CanonSmiles(smiles)


def test_coordinates_with_depth_are_a_geometry_even_if_they_say_2d(tmp_path):
    text = block("C[C@H](F)Cl").replace("3D", "2D", 1)
    molecule = read_block(text, tmp_path)
    assert molecule.geometry == "given"
    assert molecule.smiles in ("C[C@H](F)Cl", "C[C@@H](F)Cl")


@pytest.mark.parametrize("smiles", ["C[C@H](F)Cl", "C[C@@H](F)Cl", "C[C@H](O)[C@@H](N)C#N"])
@pytest.mark.parametrize("tag", ["2D", "3D"])
def test_the_wedges_of_a_drawing_are_its_stereo(tmp_path, smiles, tag):
    row = read_block(flat(smiles, tag, hydrogens=False, wedge=True), tmp_path)
    assert row.smiles == Chem.CanonSmiles(smiles)


def test_bonds_that_are_no_molecule_leave_the_coordinates(tmp_path):
    """As Open Babel writes some of QM9's molecules."""
    text = block("CCO").replace("  1  2  1", "  1  2  3")
    molecule = read_block(text, tmp_path)
    assert (molecule.formula, molecule.smiles, molecule.geometry) == ("C2H6O", None, "given")
    assert check_bonds(molecule) is None
    drawn = read_block(flat("CC", "3D").replace("  1  2  1", "  1  2  3"), tmp_path)
    assert "valence" in drawn.message


def test_a_double_bond_that_was_missed_is_no_missing_hydrogen(tmp_path):
    text = block("C=CC=O").replace("  1  2  2", "  1  2  1")
    molecule = read_block(text, tmp_path)
    assert (molecule.formula, molecule.smiles) == ("C3H4O", None)


def several(smiles="CCCO", n=4):
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMultipleConfs(mol, n, randomSeed=7)
    return mol


def test_all_conformers_of_a_mol_are_one_row():
    mol = several()
    (row,) = read(mol)
    expected = [conformer.GetPositions() for conformer in mol.GetConformers()]
    assert len(row.further) == 3
    for molecule, pos in zip(row.conformers(), expected, strict=True):
        np.testing.assert_array_equal(molecule.pos, pos)
        assert (molecule.smiles, molecule.further) == ("CCCO", ())


def test_a_row_for_each_conformer():
    mol = several()
    rows = list(read(mol, ReadOptions(each_conformer=True)))
    assert len(rows) == 4
    np.testing.assert_array_equal(rows[2].pos, mol.GetConformer(2).GetPositions())


def test_a_conformer_that_is_a_drawing_spoils_the_row():
    mol = several()
    mol.GetConformer(2).SetPositions(np.zeros((mol.GetNumAtoms(), 3)))
    (row,) = read(mol)
    assert isinstance(row, SmilesRow)


@pytest.mark.parametrize("smiles", ["O", "C", "N", "F"])
def test_a_drawing_of_one_atom(tmp_path, smiles):
    mol = Chem.MolFromSmiles(smiles)
    rdDepictor.Compute2DCoords(mol)
    block = Chem.MolToMolBlock(mol)
    for tag, drawn in (("2D", True), ("  ", True), ("3D", False)):
        path = tmp_path / "one.mol"
        path.write_text(block.replace("2D", tag, 1))
        (row,) = read(path)
        assert isinstance(row, SmilesRow) == drawn
    assert "missing" in row.message
