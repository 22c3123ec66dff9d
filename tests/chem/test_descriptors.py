"""Descriptors of bonds, of SMILES and of coordinates."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import Crippen, Descriptors

from molgeo.chem import descriptors
from molgeo.chem.building import build
from molgeo.chem.descriptors import (
    IONS_BONDS,
    LARGEST,
    NO_SMILES,
    UNKNOWN_BONDS,
    bonds_refusal,
    names,
    of_rows,
    substructures,
)
from molgeo.chem.molecule import Molecule, SmilesRow
from molgeo.runtime.errors import InputError


def test_they_are_those_of_rdkit():
    rows = [SmilesRow("CCO"), SmilesRow("c1ccccc1Cl"), SmilesRow("CCO")]
    found = of_rows(rows, ("MolLogP", "TPSA", "RingCount"))
    mols = [Chem.MolFromSmiles(row.smiles) for row in rows]
    expected = [[Crippen.MolLogP(m), Descriptors.TPSA(m), Descriptors.RingCount(m)] for m in mols]
    np.testing.assert_allclose(found, expected)
    assert of_rows([], ("TPSA",)).shape == (0, 1)


def test_substructures_are_counted():
    ethane, propane = of_rows([SmilesRow("CC"), SmilesRow("CCC")], substructures())
    assert np.expm1(ethane).max() == pytest.approx(2.0)  # two methyl groups
    assert np.expm1(propane).sum() > np.expm1(ethane).sum()
    some = of_rows([SmilesRow("CCC")], ("TPSA", substructures()[int(propane.argmax())]))
    np.testing.assert_allclose(some, [[0.0, propane.max()]])


def test_all_of_them_are_finite_for_ions_metals_and_large_molecules():
    smiles = ["[Na+].[Cl-]", "C" * 150, "[H][H]", "[Pt](Cl)(Cl)(N)N", "O=S(=O)([O-])[O-]"]
    found = of_rows([SmilesRow(one) for one in smiles], names())
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= LARGEST
    assert len(names()) > 150


def test_those_of_coordinates_are_those_of_their_bonds():
    ((made,),) = build([SmilesRow("CC(=O)NC1CC1")], workers=1)
    given = Molecule(made.z, made.pos)
    assert bonds_refusal(given) is None
    wanted = ("MolLogP", "TPSA", "NumHDonors", "RingCount", "FractionCSP3")
    np.testing.assert_allclose(
        of_rows([given], wanted), of_rows([SmilesRow("CC(=O)NC1CC1")], wanted)
    )


def test_coordinates_without_bonds_are_refused():
    apart = Molecule(np.array([6, 6]), np.array([[0.0, 0, 0], [0, 0, 5.0]]), input="a.xyz:1")
    assert bonds_refusal(apart) == UNKNOWN_BONDS
    with pytest.raises(InputError, match=r"a\.xyz:1: the model takes descriptors"):
        of_rows([apart], ("TPSA",))


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
        descriptors.check(["TPSA", "Morgan_7", "NoSuchThing"])
