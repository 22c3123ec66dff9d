"""Descriptors of bonds, of SMILES and of coordinates."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import Crippen
from rdkit.Chem import Descriptors as Rdkit
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

from molgeo.chem import descriptors
from molgeo.chem.bonds import from_coordinates
from molgeo.chem.building import build
from molgeo.chem.descriptors import (
    CHARGED,
    COUNTED,
    IONS_BONDS,
    LARGEST,
    NO_SMILES,
    UNKNOWN_BONDS,
    Descriptors,
    bonds_refusal,
    groups,
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
    ethane, propane, benzene = map(Chem.MolFromSmiles, ("CC", "CCC", "c1ccccc1"))
    own = substructures([ethane, propane], least=1, most=99)
    (found,) = Descriptors(own).of_rows([SmilesRow("CC")])
    assert np.expm1(found).max() == pytest.approx(2.0)  # two methyl groups
    wanted = ("TPSA", *own, "RingCount")
    found = Descriptors(wanted).of_rows([SmilesRow("CCC"), SmilesRow("c1ccccc1")])
    counts = GetMorganGenerator(radius=2).GetSparseCountFingerprint(propane).GetNonzeroElements()
    expected = [counts.get(int(name.removeprefix(COUNTED)), 0) for name in own]
    np.testing.assert_allclose(np.expm1(found[0, 1:-1]), expected, rtol=1e-6)
    assert not found[1, 1:-1].any()
    assert found[:, -1].tolist() == [0.0, 1.0]
    shared = substructures([ethane, propane, benzene], least=2, most=99)
    assert set(shared) < set(own)
    assert substructures([ethane, propane, benzene], least=1, most=len(shared)) == shared


def test_substructures_of_older_files_share_places():
    smiles = "CC(=O)Nc1ccc(O)cc1CCN(C)C(=O)c1ccncc1"
    names = [f"Morgan_{k}" for k in range(1024)]
    (found,) = Descriptors(names).of_rows([SmilesRow(smiles)])
    folded = GetMorganGenerator(radius=2, fpSize=1024).GetCountFingerprintAsNumPy(
        Chem.MolFromSmiles(smiles)
    )
    np.testing.assert_allclose(np.expm1(found), folded, rtol=1e-6)


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("CC(=O)O", {"carboxylic_acid": 1}),
        ("CC(=O)OC", {}),
        ("CS(=O)(=O)O", {"other_oxoacid": 1}),
        ("OP(=O)(O)OC", {"other_oxoacid": 2}),
        ("Cc1nnn[nH]1", {"tetrazole": 1, "azole": 3}),
        ("Cc1nn[nH]n1", {"tetrazole": 1, "azole": 3}),
        ("CS(=O)(=O)NC(C)=O", {"acyl_sulfonamide": 1}),
        ("CS(=O)(=O)Nc1ccccc1", {"aryl_sulfonamide": 1}),
        ("Oc1ccccc1O", {"phenol": 2}),
        ("NCCCN", {"primary_amine": 2}),
        ("C1CCNCC1", {"secondary_amine": 1}),
        ("CN1CCCCC1", {"tertiary_amine": 1}),
        ("CN1CCCCC1=O", {}),  # an amide is no base
        ("CC#N", {}),
        ("CC(N)=N", {"amidine": 1}),
        ("NC(N)=N", {"guanidine": 1}),
        ("c1ccccc1Nc1ccccc1", {"aniline": 1}),
        ("c1ccncc1", {"pyridine": 1}),
        ("Cn1ccnc1", {"azole": 1}),
        ("Nc1ccccc1", {"aniline": 1}),
        ("C[N+](C)(C)C.[Cl-]", {"cation": 1, "anion": 1}),
        ("C[N+](=O)[O-]", {}),  # its charges are a way to draw it
    ],
)
def test_groups_that_are_charged_in_water(smiles, expected):
    (found,) = Descriptors(groups()).of_rows([SmilesRow(smiles)])
    counted = {name.removeprefix(CHARGED): n for name, n in zip(groups(), found, strict=True) if n}
    assert counted == expected


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
