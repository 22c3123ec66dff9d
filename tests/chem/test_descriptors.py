"""Descriptors of bonds, of SMILES and of coordinates."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import Crippen
from rdkit.Chem import Descriptors as Rdkit

from molgeo.chem import descriptors
from molgeo.chem.bonds import from_coordinates
from molgeo.chem.building import build
from molgeo.chem.descriptors import (
    IONS_BONDS,
    LARGEST,
    NO_SMILES,
    UNKNOWN_BONDS,
    Descriptors,
    bonds_refusal,
    names,
    substructures,
)
from molgeo.chem.molecule import Molecule, SmilesRow
from molgeo.runtime.errors import InputError


def test_they_are_those_of_rdkit():
    rows = [SmilesRow("CCO"), SmilesRow("c1ccccc1Cl"), SmilesRow("CCO")]
    found = Descriptors(("MolLogP", "TPSA", "RingCount")).of_rows(rows)
    mols = [Chem.MolFromSmiles(row.smiles) for row in rows]
    expected = [[Crippen.MolLogP(m), Rdkit.TPSA(m), Rdkit.RingCount(m)] for m in mols]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert Descriptors(("TPSA",)).of_rows([]).shape == (0, 1)


def test_substructures_are_counted():
    ethane, propane = Descriptors(substructures()).of_rows([SmilesRow("CC"), SmilesRow("CCC")])
    assert np.expm1(ethane).max() == pytest.approx(2.0)  # two methyl groups
    assert np.expm1(propane).sum() > np.expm1(ethane).sum()
    two = Descriptors(("TPSA", substructures()[int(propane.argmax())]))
    some = two.of_rows([SmilesRow("CCC")])
    np.testing.assert_allclose(some, [[0.0, propane.max()]])


def test_all_of_them_are_finite_for_ions_metals_and_large_molecules():
    smiles = ["[Na+].[Cl-]", "C" * 150, "[H][H]", "[Pt](Cl)(Cl)(N)N", "O=S(=O)([O-])[O-]"]
    found = Descriptors(names()).of_rows([SmilesRow(one) for one in smiles])
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= LARGEST
    assert len(names()) > 150


def test_those_of_coordinates_are_those_of_their_bonds():
    ((made,),) = build([SmilesRow("CC(=O)NC1CC1")], workers=1)
    given = Molecule(made.z, made.pos)
    assert bonds_refusal(given) is None
    some = Descriptors(("MolLogP", "TPSA", "NumHDonors", "RingCount", "FractionCSP3"))
    of_smiles = some.of_rows([SmilesRow("CC(=O)NC1CC1")])
    np.testing.assert_allclose(some.of_rows([given]), of_smiles)


def test_bonds_are_read_once_from_coordinates(monkeypatch):
    read = []

    def counted(z, pos):
        read.append(len(z))
        return from_coordinates(z, pos)

    monkeypatch.setattr(descriptors, "from_coordinates", counted)
    ((made,),) = build([SmilesRow("CCOC1CC1")], workers=1)
    given = Molecule(made.z, made.pos)
    assert bonds_refusal(given) is None
    Descriptors(("TPSA",)).of_rows([given])
    assert read == [made.n_atoms]


def test_coordinates_without_bonds_are_refused():
    apart = Molecule(np.array([6, 6]), np.array([[0.0, 0, 0], [0, 0, 5.0]]), input="a.xyz:1")
    assert bonds_refusal(apart) == UNKNOWN_BONDS
    with pytest.raises(InputError, match=r"a\.xyz:1: the model takes descriptors"):
        Descriptors(("TPSA",)).of_rows([apart])


@pytest.mark.parametrize("z", [[11], [6], [8], [17], [1]])
def test_bare_atoms_are_given_no_hydrogens(z):
    assert bonds_refusal(Molecule(np.array(z), np.zeros((1, 3)))) == UNKNOWN_BONDS


def test_the_reason_is_that_of_the_row():
    ion = Molecule(np.array([8, 1]), np.array([[0.0, 0, 0], [0, 0, 0.96]]), charge=-1)
    assert bonds_refusal(ion) == IONS_BONDS
    assert bonds_refusal(SmilesRow("C1CC")) == NO_SMILES
    assert bonds_refusal(SmilesRow("CC(=O)[O-]")) is None


def test_a_descriptor_of_another_version_is_named(monkeypatch):
    with pytest.raises(InputError, match="takes 'NoSuchThing', which this version of RDKit"):
        Descriptors(["TPSA", "Morgan_7", "NoSuchThing"])
