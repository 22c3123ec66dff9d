"""One form for all spellings and for the mirror image."""

import os
from itertools import islice

import numpy as np
import pytest
from rdkit import Chem, RDConfig
from rdkit.Chem.EnumerateStereoisomers import EnumerateStereoisomers, StereoEnumerationOptions

from molgeo.chem.bonds import agree, atomic_numbers, has_stereo
from molgeo.chem.conformers.canonical import canonical, has_handedness, mirror_image, with_hydrogens
from molgeo.chem.conformers.conformers import Embedder
from molgeo.chem.molecule import SmilesRow
from molgeo.chem.parsing import rdkit_messages

SHOWN = (
    "C[C@H](N)C(=O)O",
    "C[C@@H]1CC[C@H](C)CC1",
    "C[C@H]1CC[C@H](C)CC1",
    "C1[C@H]2C[C@H]2O1",
    "F/C=C/Cl",
    "[H]/N=C(/C)CC",
    "O[C@H](F)[C@H](F)O",
    "O[C@H](F)[C@@H](F)O",
    "C[C@H](O)/C=C/[C@H](C)O",
    "C[C@H](O)/C=C/[C@@H](C)O",
    "CC(C)(C)[C@H]1CC[C@@H](O)CC1",
    "C[S@](=O)CC",
    "C[N+](=O)[O-]",
    "OC(F)C=CC1CC1",
)


def spellings(mol, n, seed):
    """Other SMILES of a molecule: in any order, Kekulé, with its hydrogens, with atom maps."""
    kekule, mapped = Chem.Mol(mol), Chem.Mol(mol)
    Chem.Kekulize(kekule, clearAromaticFlags=True)
    for atom in mapped.GetAtoms():
        atom.SetAtomMapNum(mol.GetNumAtoms() - atom.GetIdx())
    return [
        *Chem.MolToRandomSmilesVect(mol, n, randomSeed=seed),
        Chem.MolToSmiles(kekule, kekuleSmiles=True),
        Chem.MolToSmiles(Chem.AddHs(mol)),
        Chem.MolToSmiles(mapped),
    ]


@pytest.fixture(scope="module")
def molecules():
    """Three hundred molecules of NCI's open database, half of them with all their stereo."""
    path = os.path.join(RDConfig.RDDataDir, "NCI", "first_5K.smi")
    with open(path, encoding="ascii") as file:
        lines = [line.split()[0] for line in file]
    found = []
    with rdkit_messages():
        for k, smiles in enumerate(lines[::11]):
            mol = Chem.MolFromSmiles(smiles)
            if mol is None or "." in smiles or mol.GetNumAtoms() > 40:
                continue
            if k % 2:
                options = StereoEnumerationOptions(maxIsomers=4, rand=k)
                (mol,) = islice(EnumerateStereoisomers(mol, options=options), 1)
            found.append(Chem.MolFromSmiles(Chem.MolToSmiles(mol)))
    assert len(found) >= 300
    return found[:300]


def test_spellings_and_mirror_images_have_one_form(molecules):
    n_handed = 0
    for k, mol in enumerate(molecules):
        image = mirror_image(mol)
        written = [*spellings(mol, 3, k), *Chem.MolToRandomSmilesVect(image, 2, randomSeed=k)]
        forms = {canonical(Chem.MolFromSmiles(smiles)).smiles for smiles in written}
        assert forms == {canonical(mol).smiles}
        n_handed += Chem.MolToSmiles(image) != Chem.MolToSmiles(mol)
    assert n_handed > 25


def test_the_way_back_is_an_isomorphism(molecules):
    """Element, hydrogens, bonds and, where nothing was mirrored, the stereo are the given ones."""
    for mol in molecules:
        form = canonical(mol)
        back = Chem.RenumberAtoms(form.mol, form.order.tolist())
        given = mirror_image(mol) if form.mirrored else mol
        for one, other in zip(back.GetAtoms(), given.GetAtoms(), strict=True):
            assert one.GetSymbol() == other.GetSymbol()
            assert one.GetTotalNumHs() == other.GetTotalNumHs()
        there, here = (
            {frozenset((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in m.GetBonds()}
            for m in (back, given)
        )
        assert there == here
        assert Chem.MolToSmiles(back) == Chem.MolToSmiles(given)


def test_other_isomers_have_other_forms():
    for one, other in (SHOWN[1:3], SHOWN[6:8], SHOWN[8:10], ("F/C=C/Cl", "F/C=C\\Cl")):
        forms = [canonical(Chem.MolFromSmiles(smiles)).smiles for smiles in (one, other)]
        assert forms[0] != forms[1]


def test_a_form_is_its_own_form(molecules):
    for mol in molecules:
        form = canonical(mol)
        again = canonical(form.mol)
        assert (again.smiles, again.mirrored) == (form.smiles, False)


def test_a_mirror_image_twice_is_the_molecule():
    mol = Chem.MolFromSmiles("C[C@H](N)C(=O)O")
    assert has_handedness(mol)
    assert not has_handedness(Chem.MolFromSmiles("F/C=C/Cl"))
    assert Chem.MolToSmiles(mirror_image(mol)) == "C[C@@H](N)C(=O)O"
    assert Chem.MolToSmiles(mirror_image(mirror_image(mol))) == Chem.MolToSmiles(mol)


def test_what_rdkit_cannot_read_again_stays_as_it_is(monkeypatch):
    mol = Chem.MolFromSmiles("OCC")
    monkeypatch.setattr(Chem, "MolFromSmiles", lambda _: None)
    form = canonical(mol)
    assert form.order.tolist() == [0, 1, 2]
    assert form.mol.GetNumAtoms() == 3


def test_of_smiles_that_take_turns_the_smallest_is_the_form(monkeypatch):
    mol, turns = Chem.MolFromSmiles("CCO"), {"CCO": "OCC", "OCC": "CCO"}
    written = Chem.MolToSmiles

    def taking_turns(other):
        written(other, canonical=False)
        return turns[written(other, canonical=False)]

    monkeypatch.setattr(Chem, "MolToSmiles", taking_turns)
    assert canonical(mol).smiles == "CCO"


@pytest.mark.parametrize("smiles", SHOWN)
def test_conformers_are_the_same_numbers_for_every_spelling(smiles):
    mol = Chem.MolFromSmiles(smiles)
    (first,) = Embedder().molecules(SmilesRow(smiles))
    for other in [*spellings(mol, 3, 7), Chem.MolToSmiles(mirror_image(mol), doRandom=True)]:
        (molecule,) = Embedder().molecules(SmilesRow(other))
        assert molecule.frame.smiles == first.frame.smiles
        for one, same in zip(molecule.canonical(), first.canonical(), strict=True):
            np.testing.assert_array_equal(one, same)


@pytest.mark.parametrize("smiles", SHOWN)
def test_coordinates_are_in_the_order_and_the_handedness_of_the_smiles(smiles):
    mol = Chem.MolFromSmiles(smiles)
    embedder = Embedder()
    for written in [*spellings(mol, 3, 8), Chem.MolToSmiles(mirror_image(mol), doRandom=True)]:
        (molecule,) = embedder.molecules(SmilesRow(written))
        own = Chem.AddHs(Chem.MolFromSmiles(written))
        np.testing.assert_array_equal(molecule.z, atomic_numbers(own))
        assert agree(own, molecule.pos)
        assert has_stereo(own, molecule.pos)


def test_hydrogens_follow_their_atoms():
    given, made = Chem.MolFromSmiles("OCC"), Chem.MolFromSmiles("CCO")
    order = with_hydrogens(np.array([2, 1, 0]), given, made)
    assert order.tolist() == [2, 1, 0, 8, 6, 7, 3, 4, 5]
