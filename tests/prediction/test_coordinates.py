"""Coordinates of all origins, as they reach a model or do not."""

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule as g2
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from torch_geometric.data import Data

from molgeo.prediction import predict
from molgeo.prediction.conformer_average import conformer_average


def failures(table):
    return table.message[table.status == "error"].tolist()


def test_conformers_of_a_mol_are_averaged(model):
    mol = Chem.AddHs(Chem.MolFromSmiles("CCCO"))
    rdDistGeom.EmbedMultipleConfs(mol, 3, randomSeed=7)
    each = predict(mol, model, each_conformer=True)
    table = predict([mol, "C"], model, conformers=2)
    assert table.geometry.tolist() == ["given", "etkdg+mmff"]
    energies = each.u0_eV.to_numpy()
    values = each[["gap_eV", "mu_debye"]].to_numpy()
    average = conformer_average(values, energies)
    found = table.loc[0, ["gap_eV", "mu_debye"]].to_numpy(float)
    np.testing.assert_allclose(found, average.value, rtol=1e-5)
    assert table.gap_eV_conformer_std[0] == pytest.approx(average.std[0], rel=1e-4)
    minimised = predict(mol, model, geometry="mmff")
    assert minimised.geometry.tolist() == ["given+mmff"]
    assert len(predict(mol, model, geometry="smiles")) == 1


def test_one_bad_conformer_is_a_bad_row(model):
    mol = Chem.AddHs(Chem.MolFromSmiles("CCCO"))
    rdDistGeom.EmbedMultipleConfs(mol, 3, randomSeed=7)
    conformer = mol.GetConformer(1)
    conformer.SetPositions(conformer.GetPositions() / 0.529177)
    bad, *others = reversed(predict(mol, model, each_conformer=True).status.tolist()[:2])
    assert (bad, others) == ("error", ["ok"])
    for geometry in ("auto", "mmff"):
        (message,) = failures(predict(mol, model, geometry=geometry))
        assert "look like bohr" in message


@pytest.mark.parametrize("geometry", ["auto", "mmff", "smiles"])
def test_coordinates_that_are_no_molecule_have_a_reason(model, tmp_path, geometry):
    """The same for files, ASE, PyG and arrays."""
    water, benzene = g2("H2O"), g2("C6H6")
    bohr = Atoms(water.numbers, water.positions / 0.529177)
    pair = water + water
    pair.positions[3:] += [0.0, 0.0, 3.0]
    ase.io.write(tmp_path / "a.xyz", [bohr, benzene[benzene.numbers == 6], pair, water])
    ase.io.write(tmp_path / "a.traj", [bohr, benzene[benzene.numbers == 6], pair, water])
    expected = ["look like bohr", "6 hydrogens are missing", "2 separate fragments (H2O, H2O)"]
    for name in ("a.xyz", "a.traj"):
        table = predict(tmp_path / name, model, geometry=geometry)
        assert table.status.tolist() == ["error"] * 3 + ["ok"]
        for message, part in zip(failures(table), expected, strict=True):
            assert part in message
    data = Data(z=torch.tensor(bohr.numbers), pos=torch.tensor(bohr.positions))
    for source in (bohr, data, (bohr.numbers, bohr.positions)):
        (message,) = failures(predict([source], model, geometry=geometry))
        assert "look like bohr" in message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("charge", float("inf")),
        ("charge", float("nan")),
        ("charge", 10**400),
        ("charge", torch.tensor([0, 1])),
        ("charge", torch.tensor([])),
        ("charge", "much"),
        ("charge", 0.5),
        ("spin", np.array([1, 2])),
        ("spin", torch.tensor([3])),
        ("multiplicity", 10**400),
        ("spin", "up"),
    ],
)
def test_a_charge_or_spin_that_cannot_be_is_one_bad_row(model, field, value):
    atoms = g2("H2O")
    data = Data(z=torch.tensor(atoms.numbers), pos=torch.tensor(atoms.positions))
    data[field] = value
    atoms.info[field] = value
    table = predict(["C", atoms, data, "C"], model)
    assert table.status.tolist() == ["ok", "error", "error", "ok"]
    for message in failures(table):
        assert field in message
        assert len(message) < 150


def test_charges_of_one_element_are_read(model):
    atoms = g2("H2O")
    data = Data(z=torch.tensor(atoms.numbers), pos=torch.tensor(atoms.positions))
    data.charge = torch.tensor([0])
    atoms.info.update(charge=np.array([0.0]), spin=np.array([1]))
    assert predict([atoms, data], model).status.tolist() == ["ok", "ok"]
