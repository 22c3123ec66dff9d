import sqlite3

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule as g2
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from rdkit import Chem

from molgeo.chem.files.formats import ReadOptions
from molgeo.chem.files.readers import kept_columns, read
from molgeo.chem.molecule import SmilesRow, check_geometry
from molgeo.runtime.errors import InputError


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


def labelled():
    """Water with all kinds of labels."""
    atoms = g2("H2O")
    atoms.info.update(name="water", logS=-0.5, n=np.int64(3), source="lab", charge=0, many=[1, 2])
    atoms.calc = SinglePointCalculator(atoms, energy=-76.4, forces=np.zeros((3, 3)))
    return atoms


@pytest.mark.parametrize("ending", ["extxyz", "traj", "object"])
def test_single_values_come_along(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    if ending != "object":
        ase.io.write(path, labelled())
    source = labelled() if ending == "object" else path
    expected = {"energy": -76.4, "logS": -0.5, "n": 3, "source": "lab", "charge": 0}
    (water,) = read(source, ReadOptions(keep_columns=True))
    assert (water.name, water.extra) == ("water", expected)
    assert next(read(source)).extra == {}
    if ending != "object":
        assert kept_columns([path], ReadOptions(keep_columns=True)) == list(water.extra)


def test_values_of_a_database_come_along(tmp_path):
    path = tmp_path / "a.db"
    with connect(path, use_lock_file=False) as database:
        database.write(labelled(), name="water", gap=1.5)
    (water,) = read(path, ReadOptions(keep_columns=True))
    assert water.extra == {"energy": -76.4, "gap": 1.5}


def test_properties_of_an_rdkit_molecule_come_along():
    mol = Chem.MolFromSmiles("CCO")
    mol.SetDoubleProp("logS", 1.1)
    (row,) = read(mol, ReadOptions(keep_columns=True))
    assert row == SmilesRow("CCO", "", "Mol", {"logS": 1.1})


def test_numbers_and_texts_of_the_data_of_a_database_come_along(tmp_path):
    path = tmp_path / "a.db"
    with connect(path) as database:
        data = {"logS": -1.5, "vector": [1.0, 2.0], "x": 1.0}
        database.write(g2("H2O"), key_value_pairs={"x": 2.0}, data=data)
    (row,) = read(path, ReadOptions(keep_columns=True))
    assert row.extra == {"logS": -1.5, "x": 2.0}
