import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule as g2
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from molgeo.chem.conformers.conformers import embed
from molgeo.chem.electrons import open_shell_reason
from molgeo.chem.molecule import (
    BadRow,
    Molecule,
    SmilesRow,
    check_bonds,
    check_geometry,
    from_arrays,
)

WATER = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])


@pytest.mark.parametrize(
    "smiles", ["CCO", "O", "[H][H]", "FC(F)C#N", "[NH4+]", "[O-]S(=O)(=O)[O-]"]
)
def test_formula_and_count_agree_with_rdkit(smiles):
    (molecule,) = embed(SmilesRow(smiles))
    reference = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert molecule.formula == CalcMolFormula(reference)
    assert molecule.n_atoms == reference.GetNumAtoms()
    assert molecule.charge == Chem.GetFormalCharge(reference)


def test_from_arrays_copies():
    z, pos = np.array([8, 1, 1]), WATER.copy()
    molecule = from_arrays(z, pos)
    z[0], pos[0, 0] = 6, 9.0
    assert molecule.z.tolist() == [8, 1, 1]
    assert molecule.pos[0, 0] == 0.0


def test_from_arrays_takes_tensors_that_require_gradients():
    molecule = from_arrays(torch.tensor([8, 1, 1]), torch.tensor(WATER, requires_grad=True))
    np.testing.assert_array_equal(molecule.pos, WATER)
    assert molecule.pos.dtype == np.float64


@pytest.mark.parametrize(
    ("z", "pos", "expected"),
    [
        ([8, 1], WATER, r"z \(2,\), pos \(3, 3\)"),
        ([8, 1, 1], WATER[:, :2], r"pos \(3, 2\)"),
        ([8, 1, 0], WATER, "atomic numbers, 1 to 100; got 0"),
        ([8, 1, 1.5], WATER, "got 1.5"),
        ([8, 1, 200], WATER, "got 200"),
        ([8, 1, np.nan], WATER, "got nan"),
        (["O", "H", "H"], WATER, "arrays of numbers"),
        ([[8, 1, 1]], WATER, "z must be"),
    ],
)
def test_bad_arrays_are_named(z, pos, expected):
    bad = from_arrays(z, pos)
    assert isinstance(bad, BadRow)
    assert re.search(expected, bad.message)


def test_zero_atoms_have_a_reason():
    molecule = from_arrays([], [])
    assert "no atoms" in check_geometry(molecule)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_coordinates_that_are_not_finite_name_the_atom(value):
    pos = WATER.copy()
    pos[1, 2] = value
    assert check_geometry(Molecule(np.array([8, 1, 1]), pos)) == (
        "coordinates of atom 2 (H) are not finite numbers"
    )


def test_coincident_atoms_are_named():
    pos = WATER.copy()
    pos[2] = pos[1] + 0.01
    message = check_geometry(Molecule(np.array([8, 1, 1]), pos))
    assert message.startswith("atoms 2 (H), 3 (H) are 0.017 Å apart")


def test_odd_number_of_electrons_is_a_radical_or_a_forgotten_charge():
    z, pos = np.array([8, 1]), WATER[:2]
    assert "odd number of electrons" in check_geometry(Molecule(z, pos))
    assert check_geometry(Molecule(z, pos, charge=-1)) is None


def given(atoms, **more):
    return from_arrays(atoms.numbers, atoms.positions, **more)


def test_coordinates_in_another_unit_are_no_molecule():
    water = g2("H2O")
    assert check_bonds(given(water)) is None
    water.positions /= 0.529177
    assert check_geometry(given(water)) is None
    assert "multiply them by 0.5292, or say units=bohr" in check_bonds(given(water))
    water.positions *= 0.0529177
    assert "multiply them by 10" in check_geometry(given(water))


def test_molecules_side_by_side_are_fragments():
    pair = g2("H2O") + g2("CH4")
    pair.positions[3:] += [0.0, 0.0, 3.0]
    assert check_geometry(given(pair)) is None
    assert check_bonds(given(pair)) == ("2 separate fragments (CH4, H2O): predict each on its own")


def test_hydrogens_that_were_left_out():
    benzene = g2("C6H6")
    assert check_bonds(given(benzene[benzene.numbers == 6])) == (
        "6 hydrogens are missing from the 3D coordinates: add them, or give the SMILES"
    )


def test_what_a_force_field_made_is_not_looked_at():
    benzene = g2("C6H6")
    assert check_bonds(given(benzene[benzene.numbers == 6], geometry="etkdg+mmff")) is None


def test_an_open_shell_is_refused():
    molecule = replace(given(g2("O2")), open_shell="triplet")
    assert check_geometry(molecule) == "open shell: triplet"


@pytest.mark.parametrize(
    ("formula", "charge", "is_triplet"),
    [("O2", 0, True), ("SO", 0, True), ("S2", 0, True), ("O2", -2, False), ("CO", 0, False)],
)
def test_a_ground_state_with_unpaired_electrons_is_refused(formula, charge, is_triplet):
    reason = check_geometry(given(g2(formula), charge=charge))
    assert (reason or "").startswith("O2, SO and S2 are triplets") == is_triplet
    atoms = Atoms(g2(formula).numbers, g2(formula).positions, info={"charge": charge})
    assert bool(open_shell_reason(atoms)) == is_triplet


@pytest.mark.parametrize(
    ("number", "lacks"), [(6, "4 hydrogens are"), (8, "2 hydrogens are"), (10, "")]
)
def test_hydrogens_of_a_single_atom(number, lacks):
    reason = check_bonds(from_arrays([number], [[0.0, 0.0, 0.0]]))
    assert (reason or "").startswith(lacks)
    assert bool(reason) == bool(lacks)
