import io
import sqlite3

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule as g2
from ase.db import connect
from rdkit import Chem
from rdkit.Chem import rdDepictor, rdDistGeom

from molgeo.chem.geometry_files import xyz_frames
from molgeo.chem.molecule import BadRow, InputError, Molecule, SmilesRow, check_geometry
from molgeo.chem.readers import read

WATER = "O 0.0 0.0 0.1\nH 0.0 0.76 -0.47\nH 0.0 -0.76 -0.47\n"
FRAME = f"3\nwater\n{WATER}"


def xyz(text):
    return list(xyz_frames(io.StringIO(text), "a.xyz"))


def block(smiles, name="", seed=1):
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(mol, randomSeed=seed)
    mol.SetProp("_Name", name)
    return Chem.MolToMolBlock(mol)


def test_xyz_frame():
    (water,) = xyz(FRAME)
    assert water.z.tolist() == [8, 1, 1]
    np.testing.assert_array_equal(water.pos[1], [0.0, 0.76, -0.47])
    assert (water.name, water.input, water.geometry) == ("water", "a.xyz:1", "given")
    assert water.smiles is None


def test_xyz_takes_numbers_any_case_and_extra_columns():
    (water,) = xyz("3\n\n8 0 0 0.1 -0.8\nh 0 0.76 -0.47 0.4\nH 0 -0.76 -4.7e-1 0.4\n")
    assert water.z.tolist() == [8, 1, 1]
    assert water.pos[2, 2] == -0.47


@pytest.mark.parametrize(
    ("comment", "charge"),
    [("charge=-1", -1), ("x Charge: +2", 2), ("total_charge=2", 2), ("recharge=2", 0), ("x", 0)],
)
def test_xyz_charge_in_the_comment(comment, charge):
    (water,) = xyz(FRAME.replace("water", comment))
    assert water.charge == charge


def test_xyz_truncated_at_the_end_keeps_good_frames():
    first, second, last = xyz(FRAME + FRAME + "\n".join(FRAME.splitlines()[:4]))
    assert isinstance(first, Molecule)
    assert isinstance(second, Molecule)
    assert last == BadRow(
        "a.xyz:3",
        message="line 11: truncated frame, expected 3 atoms, the file ends after 2",
    )


def test_xyz_truncated_in_the_middle_goes_on_with_the_next_frame():
    cut = "3\ncut\nO 0 0 0\n"
    first, second, third = xyz(FRAME + cut + FRAME)
    assert isinstance(first, Molecule)
    assert "the next frame begins after 1" in second.message
    assert third.z.tolist() == [8, 1, 1]
    assert third.input == "a.xyz:3"


def test_xyz_with_more_atoms_than_announced_is_no_smaller_molecule():
    first, second = xyz(FRAME.replace("3", "2", 1) + FRAME)
    assert "more atoms follow than the 2" in first.message
    assert isinstance(second, Molecule)


@pytest.mark.parametrize("line", ["three", "3.0", "-3"])
def test_xyz_without_a_count(line):
    first, second = xyz(FRAME.replace("3", line, 1) + FRAME)
    assert f"line 1: expected the number of atoms, got '{line}'" == first.message
    assert isinstance(second, Molecule)


@pytest.mark.parametrize("line", ["Qq 0 0 0", "H 0 zero 0", "H 0 0"])
def test_xyz_malformed_atom_names_its_line(line):
    lines = FRAME.splitlines()
    lines[3] = line
    bad, good = xyz("\n".join(lines) + "\n" + FRAME)
    assert bad.message == f"line 4: expected 'element x y z', got {line!r}"
    assert isinstance(good, Molecule)


def test_xyz_zero_atoms_is_a_molecule_without_atoms():
    first, second = xyz("0\nnothing\n" + FRAME)
    assert first.n_atoms == 0
    assert second.n_atoms == 3


METHANE = """5
gdb 1\t157.7118\t157.70997\t157.70699\t0.\t13.21\t-0.3877\t0.1171\t
C\t-0.0126981359\t 1.0858041578\t 0.0080009958\t-0.535689
H\t 2.1997*^-6\t-0.0060313176\t 0.0019761204\t 0.133921
H\t 1.0117308433\t 1.4637511618\t 2.765*^-4\t 0.133922
H\t-0.5408150690\t 1.4475266138\t-0.8766437152\t 0.133923
H\t-0.5238136345\t 1.4379326443\t 0.9063972942\t 1.3392*^-6
1341\t1341.3284\t1341.365\t1562.6731
C\tC\t
InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4
"""


@pytest.mark.parametrize("copies", [1, 3])
def test_xyz_of_qm9(copies):
    molecules = xyz(METHANE * copies)
    assert [m.formula for m in molecules] == ["CH4"] * copies
    assert [m.input for m in molecules] == [f"a.xyz:{k + 1}" for k in range(copies)]
    assert molecules[0].name == "gdb 1 157.7118 157.70997 157.70699 0. 13.21 -0.3877 0.1171"
    assert molecules[-1].pos[1, 0] == 2.1997e-6
    assert molecules[-1].pos[2, 2] == 2.765e-4


def test_xyz_of_qm9_with_an_atom_too_many():
    (bad,) = xyz(METHANE.replace("5", "4", 1))
    assert "more atoms follow than the 4" in bad.message


def test_xyz_with_other_text_after_a_frame_is_an_error():
    good, bad = xyz(FRAME + "some text\n")
    assert isinstance(good, Molecule)
    assert bad.message == "line 6: expected the number of atoms, got 'some text'"


def test_extxyz_keeps_what_ase_reads(tmp_path):
    path = tmp_path / "a.extxyz"
    frames = [g2("H2O"), g2("CH3OH"), g2("NH3")]
    for k, atoms in enumerate(frames):
        atoms.info.update(name=f"frame {k}", charge=k - 1, smiles="X")
        atoms.arrays["forces"] = np.ones((len(atoms), 3))
    ase.io.write(path, frames)
    for k, (molecule, atoms) in enumerate(zip(read(path), frames, strict=True)):
        np.testing.assert_array_equal(molecule.z, atoms.numbers)
        np.testing.assert_allclose(molecule.pos, atoms.positions, atol=1e-8)
        assert (molecule.name, molecule.charge, molecule.smiles) == (f"frame {k}", k - 1, "X")


def test_extxyz_broken_frame_in_the_middle(tmp_path):
    path = tmp_path / "a.extxyz"
    ase.io.write(path, [g2("H2O")] * 3)
    lines = path.read_text().splitlines()
    lines[7] = lines[7].replace("0.0", "oops", 1)
    path.write_text("\n".join(lines) + "\n")
    first, second, third = read(path)
    assert isinstance(first, Molecule)
    assert second.message.startswith("line 6: malformed extxyz frame: ")
    assert isinstance(third, Molecule)


def test_periodic_structures_keep_their_lattice(tmp_path):
    """Simulations know what to do with it; prediction refuses it."""
    path = tmp_path / "a.extxyz"
    ase.io.write(path, Atoms("He", cell=[3, 3, 4], pbc=[True, True, False]))
    (helium,) = read(path)
    np.testing.assert_array_equal(helium.cell, np.diag([3.0, 3.0, 4.0]))
    assert helium.pbc == (True, True, False)
    assert "periodic structure" in check_geometry(helium)
    (boxed,) = read(Atoms("He", cell=[3, 3, 4]))
    assert boxed.pbc == (False, False, False)
    assert check_geometry(boxed) is None
    (bare,) = read(Atoms("He", pbc=True))
    assert bare.pbc == (True, True, True)
    assert not bare.cell.any()


def test_spin_is_taken_along():
    (oxygen,) = read(g2("O2"))
    assert "initial_magnetic_moments" in oxygen.open_shell
    assert check_geometry(oxygen) == f"open shell: {oxygen.open_shell}"
    (water,) = read(g2("H2O"))
    assert water.open_shell == ""


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
    valence = block("C", "valence").replace("  1  2  1", "  1  2  3")
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
    mol = Chem.MolFromXYZBlock(FRAME)
    for atom in mol.GetAtoms():
        atom.SetNoImplicit(True)
    (water,) = read(mol)
    assert (water.formula, water.geometry) == ("H2O", "given")


def test_a_planar_molecule_that_says_3d_is_no_drawing(tmp_path):
    path = tmp_path / "a.mol"
    mol = Chem.AddHs(Chem.MolFromSmiles("C=O"))
    rdDepictor.Compute2DCoords(mol)
    text = Chem.MolToMolBlock(mol)
    path.write_text(text)
    assert isinstance(next(read(path)), SmilesRow)
    assert text.count("2D") == 1
    path.write_text(text.replace("2D", "3D"))
    assert isinstance(next(read(path)), Molecule)


def test_ase_database(tmp_path):
    path = tmp_path / "a.db"
    with connect(path, use_lock_file=False) as database:
        database.write(g2("H2O"), name="water", smiles="O")
        database.write(g2("CH4"), total_charge=1)
    water, methane = read(path)
    assert (water.name, water.smiles, water.formula) == ("water", "O", "H2O")
    assert (methane.charge, methane.input) == (1, f"{path}:2")


def test_a_database_of_another_kind(tmp_path):
    path = tmp_path / "a.db"
    connection = sqlite3.connect(path)
    connection.execute("create table x (y)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(InputError, match="ASE database"):
        list(read(path))
    assert path.read_bytes() == before


def test_ase_trajectory(tmp_path):
    path = tmp_path / "a.traj"
    ase.io.write(path, [g2("H2O"), g2("CH4")])
    assert [molecule.formula for molecule in read(path)] == ["H2O", "CH4"]


@pytest.mark.parametrize("suffix", [".traj", ".db"])
def test_noise_is_neither_trajectory_nor_database(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"noise" * 100)
    with pytest.raises(InputError, match="cannot be read as an ASE"):
        list(read(path))
