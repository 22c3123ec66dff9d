"""What a SMILES leaves open."""

import pytest
from rdkit import Chem

from molgeo.chem.bonds import has_stereo
from molgeo.chem.conformers.canonical import open_stereo, opened_to_e
from molgeo.chem.conformers.conformers import embed
from molgeo.chem.conformers.enumeration import with_isomers
from molgeo.chem.molecule import SmilesRow


def stereo(smiles):
    (molecule,) = embed(SmilesRow(smiles))
    return molecule.stereo


@pytest.mark.parametrize(
    ("smiles", "n_atoms", "n_bonds"),
    [
        ("CCO", 0, 0),
        ("OC(=O)C=CC(=O)O", 0, 1),
        ("OC(=O)/C=C/C(=O)O", 0, 0),
        ("CC(N)C(=O)O", 1, 0),
        ("C[C@H](O)C(O)C", 1, 0),
        ("CC(O)C=CC(C)O", 2, 1),
        ("CC1CCC(C)CC1", 2, 0),
        ("C1CC=CCC1", 0, 0),
        ("CN=NC", 0, 1),
        ("CC=NO", 0, 1),
        ("NC(=N)NCC", 0, 0),
        ("CC=C=CC", 0, 0),
    ],
)
def test_what_is_open(smiles, n_atoms, n_bonds):
    free = open_stereo(Chem.MolFromSmiles(smiles))
    assert (len(free.atoms), len(free.bonds)) == (n_atoms, n_bonds)
    assert bool(free) == bool(n_atoms or n_bonds)


@pytest.mark.parametrize(
    ("smiles", "wanted"),
    [
        ("CC=CC", "C/C=C/C"),
        ("CC=CC=CC", "C/C=C/C=C/C"),
        (r"C/C=C\C=CC", r"C/C=C\C=C\C"),
        ("OC(=O)C=CC(=O)O", "O=C(O)/C=C/C(=O)O"),
        ("FC(Cl)=C(Br)C", "C/C(Br)=C(/F)Cl"),
        ("C1CCC=CCCC1", "C1=CCCCCCC1"),
    ],
)
def test_double_bonds_outside_rings_are_e(smiles, wanted):
    assert Chem.MolToSmiles(opened_to_e(Chem.MolFromSmiles(smiles))) == wanted


@pytest.mark.parametrize(
    ("smiles", "told"),
    [
        ("OC(=O)C=CC(=O)O", "1 open, predicted O=C(O)/C=C/C(=O)O"),
        ("OC(=O)/C=C\\C(=O)O", ""),
        ("CC=NO", "1 open, predicted C/C=N/O"),
        ("CC(N)C(=O)O", "1 open, predicted C[C@@H](N)C(=O)O"),
        ("C1C2CC3CC1CC(C2)C3", ""),  # adamantane
        ("C12C3C4C1C5C2C3C45", ""),  # cubane
        ("CCO", ""),
    ],
)
def test_what_is_told_of_open_stereo(smiles, told):
    assert stereo(smiles) == told


@pytest.mark.parametrize("smiles", ["OC(=O)C=CC(=O)O", "CC(O)C(O)C", "CC1CCC(C)CC1", "CC(Cl)C=NC"])
def test_an_open_molecule_is_the_isomer_that_is_told(smiles):
    (molecule,) = embed(SmilesRow(smiles))
    isomer = molecule.stereo.rpartition(" ")[2]
    (same,) = embed(SmilesRow(isomer))
    assert same.stereo == ""
    assert same.frame.smiles == molecule.frame.smiles
    assert not open_stereo(Chem.MolFromSmiles(isomer))


@pytest.mark.parametrize("smiles", ["C[C@H](O)C(O)C", "C[C@@H](O)C(O)C", "CC(F)/C=C\\[C@H](C)O"])
def test_given_stereo_is_kept_beside_open_one(smiles):
    (molecule,) = embed(SmilesRow(smiles))
    assert has_stereo(Chem.AddHs(Chem.MolFromSmiles(smiles)), molecule.pos)
    isomer = Chem.AddHs(Chem.MolFromSmiles(molecule.stereo.rpartition(" ")[2]))
    query = Chem.MolFromSmiles(smiles)
    assert isomer.HasSubstructMatch(query, useChirality=True)


def test_a_crash_of_rdkit_while_stereo_is_looked_for_is_a_bad_row(monkeypatch):
    def crash(_):
        raise RuntimeError("Invariant\n\tViolation")

    monkeypatch.setattr(Chem, "FindPotentialStereo", crash)
    bad = embed(SmilesRow("CC=CC"))
    assert bad.message == "no conformer: RDKit failed with Invariant Violation"
    assert bad.formula == "C4H8"
    assert list(with_isomers([SmilesRow("CC=CC")])) == [SmilesRow("CC=CC")]
