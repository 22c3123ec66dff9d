"""Stereo of coordinates."""

import numpy as np
import pytest
from rdkit import Chem

from molgeo.chem import bonds
from molgeo.chem.bonds import flat_smiles, has_stereo, isomeric_smiles, stereo_smiles, with_stereo
from molgeo.chem.conformers.conformers import embed
from molgeo.chem.molecule import SmilesRow

CHIRAL = ["C[C@H](N)C(=O)O", "F/C=C/Cl", "C[C@H]1CC[C@@H](C)CC1", "C1[C@H]2C[C@H]2O1"]


@pytest.fixture(params=CHIRAL)
def made(request):
    """A molecule and a conformer with the stereo of its SMILES."""
    (molecule,) = embed(SmilesRow(request.param))
    return Chem.AddHs(Chem.MolFromSmiles(request.param)), molecule.pos


def test_stereo_of_a_conformer_is_its_smiles(made):
    mol, pos = made
    assert has_stereo(mol, pos)
    assert isomeric_smiles(mol, pos) == Chem.MolToSmiles(Chem.RemoveHs(mol))


def test_stereo_does_not_move_with_the_molecule(made):
    mol, pos = made
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    assert isomeric_smiles(mol, pos @ turn.T + 3.0) == isomeric_smiles(mol, pos)


def test_a_mirror_image_is_the_enantiomer():
    mol = Chem.AddHs(Chem.MolFromSmiles("C[C@H](N)C(=O)O"))
    (molecule,) = embed(SmilesRow("C[C@H](N)C(=O)O"))
    assert not has_stereo(mol, -molecule.pos)
    assert isomeric_smiles(mol, -molecule.pos) == "C[C@@H](N)C(=O)O"


def test_what_a_smiles_leaves_open_may_be_any():
    (molecule,) = embed(SmilesRow("C[C@H](N)C(=O)O"))
    mol = Chem.AddHs(Chem.MolFromSmiles("CC(N)C(=O)O"))
    assert has_stereo(mol, molecule.pos)
    assert has_stereo(mol, -molecule.pos)


def test_centres_of_a_ring_may_both_be_inverted():
    """The para centres of a ring have no R or S of their own, only cis and trans."""
    cis, trans = "C[C@H]1CC[C@@H](C)CC1", "C[C@H]1CC[C@H](C)CC1"
    (molecule,) = embed(SmilesRow(cis))
    assert has_stereo(Chem.AddHs(Chem.MolFromSmiles(cis)), -molecule.pos)
    assert not has_stereo(Chem.AddHs(Chem.MolFromSmiles(trans)), molecule.pos)


def test_an_inverted_centre_keeps_its_handedness():
    """All four neighbours on one side, as in a propellane: still the same corner of the cage."""
    mol = Chem.AddHs(Chem.MolFromSmiles("FC(Cl)(Br)I"))
    corners = np.array([[1.0, 0, 0], [0, 1, 0], [-1, -1, 0], [0.3, 0.2, 1.0]])
    labels = set()
    for centre in ([0.1, 0.05, 0.3], [0.1, 0.05, -0.3]):
        pos = np.insert(corners, 1, centre, axis=0)
        found = with_stereo(mol, pos)
        labels.add(str(found.GetAtomWithIdx(1).GetChiralTag()))
    assert len(labels) == 1


def test_every_molecule_of_the_fixture_gets_its_stereo(samples):
    marked = 0
    for smiles, z, pos in samples.values():
        isomeric = stereo_smiles(smiles, z, pos)
        mol = Chem.AddHs(Chem.MolFromSmiles(isomeric))
        assert flat_smiles(isomeric) == Chem.CanonSmiles(smiles)
        assert has_stereo(mol, pos[bonds.assign(mol, z, pos)])
        marked += "@" in isomeric
    assert marked >= 10


def test_what_cannot_be_matched_stays_as_it_is(samples):
    _, z, pos = samples["CCO"]
    assert stereo_smiles("OC1CC1", z, pos) == "OC1CC1"
    assert stereo_smiles("C1CC", z, pos) == "C1CC"
    assert flat_smiles("C1C@C") == "C1C@C"
    assert flat_smiles("OCC") == "OCC"
