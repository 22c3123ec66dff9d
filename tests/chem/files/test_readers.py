import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule as g2
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from torch_geometric.data import Batch, Data

from molgeo.chem.files.formats import ReadOptions
from molgeo.chem.files.readers import check_sources, is_single, read, read_all
from molgeo.chem.molecule import BadRow, Molecule, SmilesRow
from molgeo.data.molecules import Batch as Flat
from molgeo.runtime.errors import InputError

WATER = ([8, 1, 1], [[0.0, 0.0, 0.1], [0.0, 0.76, -0.47], [0.0, -0.76, -0.47]])


def test_a_string_is_a_smiles():
    assert list(read(" CCO ")) == [SmilesRow("CCO", input=" CCO ")]


def test_a_name_on_disk_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("CCO.smi").write_text("N\n")
    assert list(read("CCO.smi")) == [SmilesRow("N", "", "CCO.smi:1")]


def test_a_folder_called_like_a_smiles_is_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("CCO").mkdir()
    assert list(read("CCO")) == [SmilesRow("CCO", input="CCO")]


@pytest.mark.parametrize("name", ["no.smi", "no.csv", "no.XYZ", "no.sdf", "no.db", "no.xyz.gz"])
def test_a_file_that_is_not_there_is_no_smiles(name):
    with pytest.raises(InputError, match="there is no such file"):
        list(read(name))


def test_a_path_that_is_not_there():
    with pytest.raises(InputError, match="there is no such file"):
        list(read(Path("CCO")))


@pytest.mark.parametrize(
    ("suffix", "text"), [(".smi", "CCO\nO\n"), (".csv", "name,smiles\na,CCO\nb,O\n")]
)
def test_a_named_pipe_is_a_file(tmp_path, suffix, text):
    path = tmp_path / f"pipe{suffix}"
    os.mkfifo(path)
    check_sources([str(path)])
    writer = threading.Thread(target=path.write_text, args=(text,))
    writer.start()
    assert [row.smiles for row in read(str(path))] == ["CCO", "O"]
    writer.join()


def test_a_pipe_without_an_ending_is_no_smiles(tmp_path):
    os.mkfifo(tmp_path / "C")
    with pytest.raises(InputError, match="unknown ending"):
        list(read(str(tmp_path / "C")))


def test_a_folder_with_an_ending(tmp_path):
    (tmp_path / "a.xyz").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        list(read(tmp_path / "a.xyz"))


def test_unknown_ending(tmp_path):
    (tmp_path / "a.log").write_text("x")
    with pytest.raises(InputError, match=r"unknown ending: expected one of \.smi"):
        list(read(str(tmp_path / "a.log")))


@pytest.mark.parametrize("content", ["", "\n \n"])
@pytest.mark.parametrize("suffix", [".smi", ".csv", ".xyz", ".extxyz", ".sdf", ".mol"])
def test_empty_file(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_text(content)
    with pytest.raises(InputError, match="is empty"):
        list(read(path))
    with pytest.raises(InputError, match="is empty"):
        check_sources(["CCO", path])


@pytest.mark.parametrize("suffix", [".db", ".traj"])
def test_empty_binary_file(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.touch()
    with pytest.raises(InputError):
        list(read(path))


def test_check_sources_leaves_objects_and_smiles_alone():
    check_sources(["CCO", "-", "C1CC", g2("H2O"), WATER, None])


def test_check_sources_finds_the_missing_file_before_any_work(tmp_path):
    with pytest.raises(InputError, match=r"gone\.smi"):
        check_sources(["CCO", str(tmp_path / "gone.smi")])


@pytest.mark.parametrize(
    "source",
    [
        WATER,
        (np.array(WATER[0]), np.array(WATER[1])),
        (torch.tensor(WATER[0]), torch.tensor(WATER[1], dtype=torch.float64)),
        Data(z=torch.tensor(WATER[0]), pos=torch.tensor(WATER[1], dtype=torch.float64)),
        Molecule(np.array(WATER[0]), np.array(WATER[1])),
    ],
    ids=["lists", "arrays", "tensors", "data", "molecule"],
)
def test_coordinates_as_objects(source):
    assert is_single(source)
    (water,) = read(source)
    assert water.formula == "H2O"
    np.testing.assert_array_equal(water.pos, WATER[1])


def test_ase_atoms_are_copied():
    atoms = g2("H2O")
    atoms.info.update(name="water", charge=1)
    before = atoms.copy()
    assert is_single(atoms)
    (water,) = read(atoms)
    water.pos[:] = 0.0
    assert atoms == before
    assert (water.name, water.charge, water.input) == ("water", 1, "Atoms")


def test_charge_of_ase_atoms_from_initial_charges():
    atoms = g2("H2O")
    atoms.set_initial_charges([0.4, 0.3, 0.3])
    assert next(read(atoms)).charge == 1


def test_charge_that_is_no_number():
    atoms = g2("H2O")
    atoms.info["charge"] = "neutral"
    assert "got 'neutral'" in next(read(atoms)).message


def test_pyg_batch_is_many_rows():
    one = Data(z=torch.tensor(WATER[0]), pos=torch.tensor(WATER[1]), smiles="O", name="w", charge=0)
    rows = list(read(Batch.from_data_list([one, one])))
    assert [(row.formula, row.smiles, row.name) for row in rows] == [("H2O", "O", "w")] * 2


def test_a_batch_of_molgeo_is_many_rows():
    z, pos = torch.tensor(2 * WATER[0]), torch.tensor(2 * WATER[1])
    ptr, batch, cell = torch.tensor([0, 3, 6]), torch.tensor([0] * 3 + [1] * 3), 9 * torch.eye(3)
    one = Flat(z, pos, batch, ptr, torch.zeros(2, 0), torch.arange(2))
    assert is_single(one)
    assert [row.formula for row in read(one)] == ["H2O", "H2O"]
    pbc = torch.tensor([[True, True, True], [False, False, False]])
    first, second = read(one._replace(cell=cell.repeat(2, 1, 1), pbc=pbc))
    assert (first.pbc, second.pbc) == ((True,) * 3, (False,) * 3)
    np.testing.assert_array_equal(first.cell, 9 * np.eye(3))


def test_pyg_data_without_positions():
    (bad,) = read(Data(z=torch.tensor(WATER[0])))
    assert bad.message.startswith("Data has no pos")


def test_rdkit_mol_with_coordinates_is_left_alone():
    mol = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    before = mol.GetConformer().GetPositions()
    (ethanol,) = read(mol)
    np.testing.assert_array_equal(ethanol.pos, before)
    ethanol.pos[:] = 0.0
    np.testing.assert_array_equal(mol.GetConformer().GetPositions(), before)
    assert (ethanol.smiles, ethanol.geometry) == ("CCO", "given")


def test_rdkit_mol_without_coordinates_is_its_smiles():
    assert list(read(Chem.MolFromSmiles("OCC"))) == [SmilesRow("CCO", "", "Mol")]


def test_unsanitized_mol():
    (row,) = read(Chem.MolFromSmiles("C[N+](=O)[O-]", sanitize=False))
    assert row.smiles == "C[N+](=O)[O-]"


@pytest.mark.parametrize("source", [None, 3, float("nan"), b"CCO", {"smiles": "CCO"}])
def test_unknown_objects_are_bad_rows(source):
    (bad,) = read(source)
    assert isinstance(bad, BadRow)
    assert bad.message.startswith(f"cannot read a {type(source).__name__}: expected")


def test_read_all_takes_one_or_many():
    assert [row.smiles for row in read_all("CCO")] == ["CCO"]
    assert [row.smiles for row in read_all(("CCO", "O"))] == ["CCO", "O"]
    assert [type(row) for row in read_all([g2("H2O"), "C", WATER])] == [
        Molecule,
        SmilesRow,
        Molecule,
    ]
    assert len(list(read_all((g2("H2O"), g2("CH4"))))) == 2
    assert len(list(read_all((WATER, WATER)))) == 2


def test_read_all_consumes_a_generator_as_needed():
    consumed = []

    def lines():
        for k in range(100_000):
            consumed.append(k)
            yield "C"

    rows = read_all(lines())
    next(rows)
    assert len(consumed) == 1


@pytest.mark.parametrize("source", [{"smiles": ["CCO"]}, b"CCO", {}])
def test_dictionaries_and_bytes_are_one_input_that_cannot_be_read(source):
    (row,) = read_all(source)
    assert f"cannot read a {type(source).__name__}" in row.message
    assert ("pandas.DataFrame" in row.message) == isinstance(source, dict)


def test_data_with_a_smiles_and_no_coordinates_is_a_row_of_the_smiles():
    data = Data(x=torch.zeros(3, 9), edge_index=torch.zeros(2, 4), smiles="CCO", y=torch.ones(1, 1))
    (row,) = read(data, ReadOptions(keep_columns=True))
    assert isinstance(row, SmilesRow)
    assert (row.smiles, row.extra["y"]) == ("CCO", 1.0)
    (row,) = read([data])
    assert row.extra == {}
