"""Rows with values: which columns, which geometry, what is set aside."""

import math

import ase.io
import numpy as np
import pytest
from ase.build import molecule

from molgeo.generate.table import given_geometries, read_table
from molgeo.runtime.errors import InputError, SettingError


@pytest.fixture
def write(tmp_path):
    def of(text, name="x.csv"):
        (tmp_path / name).write_text(text)
        return [tmp_path / name]

    return of


def test_values_groups_and_reasons(write):
    table = read_table(
        write("smiles,y\nCCO,1\nOCC,2.5\nC,\nCC,nan\nCCC,many\nqq,1\nCO,-1e3\n"), [["y"]]
    )
    assert [row.smiles for row in table.rows] == ["CCO", "OCC", "qq", "CO"]
    assert table.values[:, 0].tolist() == [1.0, 2.5, 1.0, -1000.0]
    assert table.groups.tolist() == [0, 0, -1, 1], "one molecule, however it is written"
    assert table.geometry == "smiles"
    assert table.numbers.tolist() == [0, 1, 5, 6]
    assert [row.smiles for row in table.aside] == ["C", "CC", "CCC"], "in the order of the file"
    reasons = {row.smiles: row.message for row in table.aside}
    assert reasons["C"] == reasons["CC"] == "no value of y"
    assert reasons["CCC"] == "y: expected a number, got 'many'"


def test_mirror_images_and_open_stereo_are_one_molecule(write):
    smiles = ["C[C@H](F)Cl", "C[C@@H](F)Cl", "CC(F)Cl", "F/C=C/F", "F/C=C\\F", "FCC(F)F"]
    table = read_table(write("smiles,y\n" + "".join(f"{one},1\n" for one in smiles)), [["y"]])
    assert table.groups.tolist() == [0, 0, 0, 1, 1, 2]


def test_rattled_copies_without_a_smiles_are_one_molecule(tmp_path):
    images = []
    for seed, name in enumerate(["CH4", "CH3CH2OH", "CH4", "CH3OCH3", "CH3CH2OH", "CH4"]):
        atoms = molecule(name)
        atoms.rattle(0.05, seed=seed)
        atoms.info = {"y": 1.0}
        images.append(atoms[::-1] if seed == 2 else atoms)
    images[0].info["smiles"] = "C"
    ase.io.write(tmp_path / "x.extxyz", images)
    table = read_table([tmp_path / "x.extxyz"], [["y"]])
    assert table.geometry == "given"
    assert table.groups.tolist() == [0, 1, 0, 2, 1, 0], "by atoms and bonds: ethanol is no ether"


@pytest.mark.parametrize("cell", ["inf", "-inf", "1,5", "True", "1 eV", "<3"])
def test_no_number(write, cell):
    with pytest.raises(InputError, match=r"x\.csv: no row can be used; the first: y: expected a n"):
        read_table(write(f"smiles;y\nCCO;{cell}\n"), [["y"]])


@pytest.mark.parametrize("title", ["Log S (exp.)", "log_s_exp", "LOGSEXP"])
def test_a_title_may_be_spelt_otherwise(write, title):
    table = read_table(write("smiles,Log S (exp.)\nCCO,1\n"), [["other", title]])
    assert table.values.tolist() == [[1.0]]


def test_a_column_that_is_not_there(write):
    files = write("smiles,activity\nCCO,1\n")
    message = r"no column 'activty'; did you mean 'activity'\?; beside .* there are 'activity'"
    with pytest.raises(SettingError, match=message):
        read_table(files, [["activty"]])
    with pytest.raises(FileNotFoundError, match="expected a file of molecules"):
        read_table(["nowhere.csv"], [["y"]])


def test_one_column_may_be_enough(write):
    table = read_table(write("smiles,y\nCCO,1\n"), [["x"], ["y"]], needs_all=False)
    np.testing.assert_array_equal(table.values, [[np.nan, 1.0]])
    message = r"expected a column of what the model predicts \(x, y\), got 'z'; another model"
    with pytest.raises(SettingError, match=message):
        read_table(write("smiles,z\nCCO,1\n"), [["x"], ["y"]], needs_all=False)


@pytest.fixture
def structures(tmp_path):
    images = [molecule("H2O"), molecule("CH4"), molecule("CH3"), molecule("NH3"), molecule("H2O")]
    for k, atoms in enumerate(images):
        atoms.info = {"y": k + 0.5, "smiles": "O" if k == 0 else "N"}
    images[1].positions *= 0.5291772
    images[3].info["charge"] = 1
    images[3].info["spin_multiplicity"] = 1
    images[4].cell, images[4].pbc = np.eye(3) * 8, True
    ase.io.write(tmp_path / "x.extxyz", images)
    return [tmp_path / "x.extxyz"]


def test_given_coordinates_are_looked_at(structures):
    table = read_table(structures, [["y"]])
    assert (table.geometry, table.values.tolist()) == ("given", [[0.5]])
    reasons = [row.message for row in table.aside]
    for reason, word in zip(reasons, ("bohr", "open shell", "charge|odd", "periodic"), strict=True):
        assert any(one in reason for one in word.split("|")), reason
    flat = given_geometries(table.rows)
    assert flat.z.tolist() == [8, 1, 1]


def test_conformers_of_the_smiles_instead(structures):
    table = read_table(structures, [["y"]], "smiles")
    assert [row.smiles for row in table.rows] == ["O", "N", "N", "N", "N"]


def test_both_kinds_of_rows(structures, write):
    files = [*structures, *write("smiles,y\nCCO,1\n")]
    with pytest.raises(SettingError, match="geometry: some rows have coordinates and others"):
        read_table(files, [["y"]])
    table = read_table(files, [["y"]], "given")
    assert "a SMILES has no coordinates" in table.aside[-1].message


def test_the_part_of_each_row(write):
    text = "smiles,y,set\nC,1,Train\nCC,2,val\nCCC,3,TEST\nCCCC,4,\nCCCCC,5,?\n"
    table = read_table(write(text), [["y"]], split_column="set")
    assert table.parts.tolist() == [0, 1, 2, -1]
    assert table.aside[0].message == "set: expected train, validation or test, got '?'"
    assert not math.isnan(table.values.sum())
