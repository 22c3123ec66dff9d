"""Molecules with elements that QM9 lacks go to a model that knows them."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from molgeo import predict
from molgeo.chem.conformers.conformers import embed
from molgeo.chem.molecule import SmilesRow
from molgeo.predictor.checkpoint import (
    DEFAULT_MODEL,
    DEFAULT_OUTSIDE,
    DEFAULT_SMILES_MODEL,
    load,
)

SULFIDE, CHLORIDE = "CSC", "CCCl"


def test_each_row_goes_to_the_model_that_knows_its_elements():
    table = predict(["CCO", SULFIDE, molecule("CH3Cl"), molecule("H2O")], properties="gap,u0")
    assert table.status.tolist() == ["ok"] * 4
    assert table.model.tolist()[1:3] == [DEFAULT_OUTSIDE] * 2
    assert {table.model[0], table.model[3]} <= {DEFAULT_MODEL, DEFAULT_OUTSIDE}
    named = predict([SULFIDE, molecule("CH3Cl")], DEFAULT_OUTSIDE, properties="gap,u0")
    for column in ("gap_eV", "gap_eV_std", "u0_eV"):
        assert table[column][1:3].to_numpy(float) == pytest.approx(named[column].to_numpy(float))


@pytest.mark.parametrize("fast", [False, True])
def test_all_twelve_have_intervals(fast):
    table = predict([SULFIDE, CHLORIDE], conformers=2, fast=fast)
    assert table.geometry.str.startswith("etkdg+mmff").all()
    assert table.geometry.str.count(r"\+").tolist() == [1 if fast else 2] * 2
    of_intervals = [name for name in table if name.endswith(("_low90", "_high90"))]
    assert len(of_intervals) == 2 * (12 + 4)
    assert np.isfinite(table[of_intervals].to_numpy(dtype=float)).all()


def test_minimised_coordinates_and_those_that_are_taken_as_given():
    for geometry in ("given", "mmff"):
        table = predict(molecule("CH3Cl"), properties="gap", geometry=geometry)
        assert table.model.tolist() == [DEFAULT_OUTSIDE]
        assert table.geometry[0].startswith("given")


def test_an_element_that_no_model_knows_is_refused_with_all_that_are_known():
    (message,) = predict("CCI").message
    assert "element I is outside" in message
    assert all(symbol in message for symbol in ("Si", "P", "S", "Cl"))


def test_a_model_that_is_named_stays_the_only_one():
    table = predict(["CCO", SULFIDE], DEFAULT_SMILES_MODEL, properties="gap", conformers=1)
    assert table.status.tolist() == ["ok", "error"]
    assert "H, C, N, O, F only" in table.message[1]


def test_the_orbital_of_a_thiol_lies_on_sulfur_whatever_the_chain():
    """B3LYP's own are at −6.330 eV with four carbons, −6.317 with ten (`benchmarks`)."""
    chains = ["C" * n + "S" for n in (4, 10, 16)]
    table = predict(chains, properties="homo", fast=True, conformers=1)
    homo = table.homo_eV.to_numpy(float)
    assert homo == pytest.approx([-6.33, -6.32, -6.32], abs=0.15)


@pytest.mark.parametrize("fast", [False, True])
def test_what_the_model_of_a_smiles_does_not_know_is_taken_over(fast):
    """The orbital of an amine lies on nitrogen: a mean over all atoms is 0.8 eV off."""
    table = predict(["CCCCN", "C" * 12 + "N"], properties="homo", fast=fast, conformers=1)
    assert table.model[1] == DEFAULT_OUTSIDE
    short, long = table.homo_eV.to_numpy(float)
    assert long == pytest.approx(short, abs=0.2)


def test_distorted_coordinates_stay_with_the_model_that_fails_least():
    chain = predict("C" * 12, properties="gap", conformers=1)
    assert chain.model.tolist() == [DEFAULT_OUTSIDE]
    (made,) = embed(SmilesRow("C" * 12))
    atoms = Atoms(made.z, made.pos)
    atoms.rattle(0.05, seed=0)
    table = predict(atoms, properties="gap")
    assert table.geometry[0] == "given (distorted)"
    assert table.model.tolist() == [DEFAULT_SMILES_MODEL]
    assert table.in_domain.tolist() == [False]


def test_free_atoms_are_those_of_the_level():
    """Sulfur's energy per atom is that of a calculation (benchmarks/other_elements)."""
    free = load(DEFAULT_OUTSIDE).atom_reference
    kept = load(DEFAULT_MODEL).atom_reference
    old = kept.isfinite()
    assert (free[old] == kept[old]).all()
    assert free[:, [14, 15, 16, 17]][old.any(1)].isfinite().all()
