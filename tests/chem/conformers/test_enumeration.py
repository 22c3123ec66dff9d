"""A row per isomer."""

import pytest
from rdkit import Chem
from rdkit.Chem.EnumerateStereoisomers import EnumerateStereoisomers

from molgeo.chem.conformers.canonical import canonical, open_stereo
from molgeo.chem.conformers.conformers import embed
from molgeo.chem.conformers.enumeration import (
    MAX_ISOMERS,
    TooManyIsomersError,
    isomers,
    with_isomers,
)
from molgeo.chem.molecule import BadRow, SmilesRow, from_arrays


@pytest.mark.parametrize(
    ("smiles", "n"),
    [
        ("OC(=O)C=CC(=O)O", 2),
        ("CC(N)C(=O)O", 1),
        ("CC(O)C(O)C", 2),  # meso, and one of a pair
        ("OC(C(O)C(=O)O)C(=O)O", 2),
        ("C[C@H](O)C(O)C", 2),
        ("CC1CCC(C)CC1", 2),
        ("OC1C(O)C(O)C(O)C(O)C1O", 8),  # the inositols but one enantiomer
        ("CC=CC=CC=CC", 6),
        ("CC=CC(O)C=CC", 3),
        ("C1CCC=CCCC1", 2),
        ("CC1(C)C2CCC1(C)C(=O)C2", 1),  # camphor's bridge is on one side
        ("C12C3C4C1C5C2C3C45", 1),
        ("CC=C=CC", 1),
        ("CN=NC", 2),
    ],
)
def test_number_of_isomers(smiles, n):
    found = isomers(Chem.MolFromSmiles(smiles))
    assert len(found) == n
    assert len({canonical(Chem.MolFromSmiles(one)).smiles for one in found}) == n


@pytest.mark.parametrize(
    "smiles", ["CC(F)C(O)C=CC", "OCC1OC(O)C(O)C(O)C1O", "CC=CC(C)C=NO", "C[C@H](F)C(F)C(F)C=CF"]
)
def test_isomers_are_rdkits(smiles):
    """Of each of RDKit's isomers the form is there, and no other."""
    mol = Chem.MolFromSmiles(smiles)
    theirs = {
        canonical(Chem.MolFromSmiles(Chem.MolToSmiles(one))).smiles
        for one in EnumerateStereoisomers(mol)
    }
    ours = [canonical(Chem.MolFromSmiles(one)).smiles for one in isomers(mol)]
    assert sorted(ours) == sorted(theirs)


def test_given_stereo_stays_as_it_is():
    query = Chem.MolFromSmiles("C[C@H](O)C(F)C=CC")
    found = [Chem.MolFromSmiles(one) for one in isomers(query)]
    assert len(found) == 4
    for mol in found:
        assert mol.HasSubstructMatch(query, useChirality=True)
        assert not open_stereo(mol)


def test_e_comes_first():
    assert isomers(Chem.MolFromSmiles("CC=CC")) == ["C/C=C/C", "C/C=C\\C"]


@pytest.mark.parametrize("smiles", ["CC(F)" * 7 + "C", "CC(F)" * 40 + "C"])
def test_too_many_isomers(smiles):
    with pytest.raises(TooManyIsomersError, match=f"more than {MAX_ISOMERS} isomers"):
        isomers(Chem.MolFromSmiles(smiles))


def test_what_is_predicted_of_an_open_molecule_is_one_of_its_isomers():
    for smiles in ("CC(O)C(O)C", "OC(=O)C=CC(=O)O", "CC1CCC(C)CC1", "CC(Cl)C=NC"):
        (molecule,) = embed(SmilesRow(smiles))
        forms = [canonical(Chem.MolFromSmiles(one)).smiles for one in isomers(molecule_of(smiles))]
        assert molecule.frame.smiles in forms


def molecule_of(smiles):
    return Chem.MolFromSmiles(smiles)


def test_rows_of_isomers_stand_in_the_place_of_theirs():
    water = from_arrays([8, 1, 1], [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    bad = BadRow("x", message="why")
    others = [SmilesRow("CCO"), water, bad, SmilesRow("X"), SmilesRow("CC=CC.O"), SmilesRow("C C")]
    rows = [others[0], SmilesRow("CC=CC", "butene", "f:2", {"key": 1}), *others[1:]]
    found = list(with_isomers(rows))
    assert found[:1] + found[3:] == others
    assert found[1:3] == [
        SmilesRow(one, "butene", "f:2", {"key": 1}) for one in ("C/C=C/C", "C/C=C\\C")
    ]


def test_too_many_isomers_are_a_bad_row():
    (bad,) = with_isomers([SmilesRow("CC(F)" * 7 + "C", "name", "input")])
    assert isinstance(bad, BadRow)
    assert bad.message.startswith("7 centres and double bonds are open")
    assert (bad.name, bad.input) == ("name", "input")


def test_large_molecules_are_not_looked_at(monkeypatch):
    monkeypatch.setattr("molgeo.chem.conformers.enumeration.isomers", None)
    assert list(with_isomers([SmilesRow("CC(F)O" * 20)], max_atoms=30)) == [
        SmilesRow("CC(F)O" * 20)
    ]
