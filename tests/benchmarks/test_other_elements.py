"""Molecules with Si, P, S and Cl: their parts, their heats, their free atoms, and what trains."""

import sys
from pathlib import Path

import ase
import numpy as np
import pandas as pd
import pytest
import torch
from ase.build import molecule

pytest.importorskip("rdkit")

from rdkit import Chem

from molgeo.data.qm9.dataset import atom_references
from molgeo.predictor.checkpoint import DEFAULT_ELEMENTS, load

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "other_elements"
NAMES = ("data", "draw", "labelled", "thermal", "train")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(FOLDER)
    yield FOLDER
    for name in NAMES:
        sys.modules.pop(name, None)


def test_no_scaffold_and_no_skeleton_is_in_two_parts(folder) -> None:
    import draw

    table = pd.read_csv(folder / "molecules.csv", keep_default_na=False)
    table = table[table["set"] != "qm9"]
    mols = [Chem.MolFromSmiles(smiles) if smiles else None for smiles in table["smiles"]]
    groups = [draw.group(mol, name) for mol, name in zip(mols, table["name"], strict=True)]
    assert table.assign(group=groups).groupby("group")["part"].nunique().max() == 1
    assert table["part"].value_counts().to_dict() == {"train": 399, "test": 141, "validation": 103}


@pytest.mark.parametrize(
    ("name", "number"),
    [("H2O", 2), ("CO2", 2), ("HCl", 1), ("CH4", 12), ("C6H6", 12), ("CH3Cl", 3), ("H2CO", 2)],
)
def test_symmetry_numbers(folder, name, number) -> None:
    from thermal import symmetry_number

    assert symmetry_number(molecule(name)) == number


def test_heats_of_water(folder) -> None:
    """Frequencies of B3LYP's water, and NIST-JANAF's entropy and heat capacity of the gas."""
    from thermal import CAL_MOL_K, thermal

    found = thermal(molecule("H2O"), [1652.0, 3812.0, 3916.0])
    assert found["zpve"] == pytest.approx((1652 + 3812 + 3916) / 2 * 1.23984e-4, rel=1e-4)
    entropy = (found["h298"] - found["g298"]) / 298.15 / CAL_MOL_K
    assert entropy == pytest.approx(45.1, abs=0.2)
    assert found["cv"] == pytest.approx(6.0, abs=0.05)
    assert thermal(molecule("H2O"), [1652.0, 3812.0]) is None
    assert thermal(molecule("H2O"), [-100.0, 3812.0, 3916.0]) is None


@pytest.mark.parametrize(("element", "multiplicity"), [(1, 2), (6, 3), (7, 4), (8, 3), (9, 2)])
def test_the_gas_of_free_atoms_is_qm9s(folder, element, multiplicity) -> None:
    from train import of_free_atom

    known = {name: table[element] for name, table in atom_references().items()}
    made = of_free_atom(element, known["u0"], multiplicity)
    for name, energy in known.items():
        assert made[name] == pytest.approx(energy, abs=2e-4)


def test_the_shipped_model_has_the_free_atoms(folder) -> None:
    from train import FREE_ATOMS, free_atom

    shipped = load(DEFAULT_ELEMENTS)
    for element in FREE_ATOMS:
        for name, energy in free_atom(element).items():
            own = shipped.atom_reference[shipped.property_names.index(name), element]
            assert float(own) == pytest.approx(energy, abs=1e-6)


def test_labels_are_whole_energies_with_the_vibrations_of_the_molecule(folder) -> None:
    import data

    table = data.molecules()
    assert len(table) > 400
    assert (table["gap"] - (table["lumo"] - table["homo"])).abs().max() < 1e-5
    known = table[table["zpve"].notna()]
    added = known["u0"] - known["energy"]
    assert np.allclose(added, known["zpve"])
    assert ((known["h298"] - known["u298"]) - 0.025693).abs().max() < 1e-5
    low, high = data.factors()
    assert 1.0 < low < 1.02
    assert 1.0 < high < 1.02
    whole = data.molecule_set(table[:5])
    assert whole.ptr[-1] == sum(len(atoms) for atoms in table["atoms"][:5])


def test_the_beginning_is_both_shipped_nets_and_the_baseline_takes_up_the_rest(folder) -> None:
    import train

    import data

    table = data.molecules()
    some = data.molecule_set(table[table["part"] == "train"][:40])
    net = train.started()
    before = train.measured(net, some)
    train.fit_baseline(net, some, data.molecule_set(table[table["set"] == "qm9"]))
    after = train.measured(net, some)
    assert before["u0"] > 1000
    assert after["u0"] < 0.5
    assert after["r2"] < 5 < before["r2"]
    ethane = ase.Atoms("CCHHHHHH", molecule("C2H6").positions)
    z, pos = torch.tensor(ethane.numbers), torch.tensor(ethane.positions)
    with torch.inference_mode():
        both = [one.eval()(z, pos)["gap"] for one in (net, load(train.START))]
    assert float(both[0]) == pytest.approx(float(both[1]), abs=1e-4)
