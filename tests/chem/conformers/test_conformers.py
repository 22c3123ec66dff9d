import threading

import numpy as np
import pytest
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from molgeo.chem.bonds import agree, has_stereo
from molgeo.chem.building import build
from molgeo.chem.conformers.conformers import embed, generate
from molgeo.chem.conformers.embedding import ATTEMPTS
from molgeo.chem.limits import MAX_ATOMS
from molgeo.chem.molecule import BadRow, SmilesRow
from molgeo.chem.parsing import rdkit_messages

IBUPROFEN = "CC(C)Cc1ccc(cc1)C(C)C(=O)O"


def bad(smiles):
    row = embed(SmilesRow(smiles, "name", "input"))
    assert isinstance(row, BadRow)
    assert (row.smiles, row.name, row.input) == (smiles, "name", "input")
    return row.message


def test_embedding_is_deterministic():
    (first,), (second,) = embed(SmilesRow(IBUPROFEN)), embed(SmilesRow(IBUPROFEN))
    np.testing.assert_array_equal(first.pos, second.pos)
    assert first.geometry == "etkdg+mmff"


def mmff(molecule):
    """Energy in kcal/mol and largest component of the gradient in kcal/mol/Å."""
    mol = Chem.AddHs(Chem.MolFromSmiles(molecule.smiles))
    mol.AddConformer(_conformer(molecule.pos))
    field = rdForceFieldHelpers.MMFFGetMoleculeForceField(
        mol, rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
    )
    return field.CalcEnergy(), np.abs(field.CalcGrad()).max()


def test_geometry_is_a_minimum_of_mmff():
    (molecule,) = embed(SmilesRow("CCO"))
    assert mmff(molecule)[1] < 0.01


def test_conformers_that_run_out_of_steps_get_more(monkeypatch):
    monkeypatch.setattr("molgeo.chem.conformers.force_field.MINIMISER_STEPS", 2)
    molecules = embed(SmilesRow("OCCCO"), n=3)
    energies, gradients = zip(*map(mmff, molecules), strict=True)
    assert max(gradients) < 0.01
    assert list(energies) == sorted(energies)
    monkeypatch.setattr("molgeo.chem.conformers.force_field.MORE_STEPS", 2)
    assert max(mmff(molecule)[1] for molecule in embed(SmilesRow("OCCCO"), n=3)) > 0.1


def test_conformers_come_by_energy():
    molecules = embed(SmilesRow("OCCCO"), n=6)
    mol = Chem.AddHs(Chem.MolFromSmiles("OCCCO"))
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
    energies = []
    for molecule in molecules:
        mol.RemoveAllConformers()
        mol.AddConformer(_conformer(molecule.pos))
        field = rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, properties)
        energies.append(field.CalcEnergy())
    assert len(energies) == 6
    assert energies == sorted(energies)
    assert energies[-1] - energies[0] > 0.1


def test_uff_cleans_up_what_mmff_does_not_know():
    (molecule,) = embed(SmilesRow("B1CC1"))
    assert molecule.geometry == "etkdg+uff"


def test_atoms_of_no_force_field_stay_as_embedded():
    (molecule,) = embed(SmilesRow("O=[Xe]=O"))
    assert molecule.geometry == "etkdg"


@pytest.mark.parametrize("smiles", ["[CH3:1][OH:2]", "[H]C([H])([H])O[H]", "OC"])
def test_maps_and_explicit_hydrogens_are_ordinary_atoms(smiles):
    (molecule,) = embed(SmilesRow(smiles))
    assert molecule.formula == "CH4O"
    assert molecule.smiles == smiles


@pytest.mark.parametrize("smiles", ["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "F/C=C/Cl", "F/C=C\\Cl"])
def test_stereo_is_kept(smiles):
    (molecule,) = embed(SmilesRow(smiles))
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    wanted = Chem.MolToSmiles(Chem.RemoveHs(mol))
    Chem.RemoveStereochemistry(mol)
    mol.AddConformer(_conformer(molecule.pos))
    Chem.AssignStereochemistryFrom3D(mol)
    assert Chem.MolToSmiles(Chem.RemoveHs(mol)) == wanted


def test_a_strained_cage_and_a_long_chain_embed():
    (cubane,) = embed(SmilesRow("C12C3C4C1C5C2C3C45"))
    (chain,) = embed(SmilesRow("C" * 30))
    assert cubane.formula == "C8H8"
    assert chain.n_atoms == 92


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("C1CC", "unclosed ring"),
        ("CCX", "syntax error (at position 3)"),
        ("C(C)(C)(C)(C)C", "Explicit valence for atom # 0 C, 5"),
        ("c1cccc1", "Can't kekulize"),
    ],
)
def test_unparsable_smiles_give_rdkits_reason(smiles, reason):
    message = bad(smiles)
    assert message.startswith("not a valid SMILES: ")
    assert reason in message


def test_empty_smiles():
    assert "no atoms" in bad("")


def test_wildcard():
    assert "wildcard" in bad("*C")


@pytest.mark.parametrize(("smiles", "isotope"), [("[2H]O[2H]", "2H"), ("[13CH4]", "13C")])
def test_labelled_isotopes_are_refused(smiles, isotope):
    assert bad(smiles).startswith(f"isotope {isotope}: the models know the common isotopes only")


def test_fragments_are_to_be_predicted_apart():
    assert bad("CCO.O") == ("the SMILES has 2 fragments: give each on its own, without the '.'")


@pytest.mark.parametrize("smiles", ["[CH3]", "[O][O]", "[H]"])
def test_radicals(smiles):
    assert bad(smiles).startswith("radical: ")


def test_a_charge_is_for_the_domain_to_judge():
    (molecule,) = embed(SmilesRow("[NH4+]"))
    assert molecule.charge == 1


def test_too_many_atoms_are_refused_at_once():
    message = bad("C" * 100)
    assert message.startswith("302 atoms with hydrogens")
    assert str(MAX_ATOMS) in message


def test_no_conformer_of_an_impossible_molecule():
    row = embed(SmilesRow("[C@@H]12C[C@H]1C2"))
    assert row.message.startswith("no conformer")
    assert (row.formula, row.n_atoms) == ("C4H6", 10)


def no_bounds(monkeypatch):
    """Take the last attempt away."""
    monkeypatch.setattr("molgeo.chem.conformers.embedding.BOUNDS_TRIES", 0)


@pytest.mark.parametrize("smiles", ["OCCCN", "C[C@H](N)C(=O)O", "CC(C)C1CC1=O", "c1ccccc1O"])
def test_conformers_made_in_one_call_are_those_made_one_by_one(smiles, monkeypatch):
    calls = []
    embed_all = rdDistGeom.EmbedMultipleConfs

    def all_at_once(*arguments):
        calls.append(arguments[1])
        return embed_all(*arguments)

    monkeypatch.setattr(rdDistGeom, "EmbedMultipleConfs", all_at_once)
    together = generate(SmilesRow(smiles), 6)
    assert calls == [6]
    for fewer in (lambda *_: [0] * 5, crashing):  # what is missing, nobody knows
        monkeypatch.setattr(rdDistGeom, "EmbedMultipleConfs", fewer)
        alone = generate(SmilesRow(smiles), 6)
        assert np.array_equal(together.pos, alone.pos)
        assert together.number.tolist() == alone.number.tolist()


def crashing(*_):
    raise RuntimeError("Invariant Violation")


def test_no_conformer_where_every_attempt_fails(monkeypatch):
    attempts = []

    def fail(mol, settings):
        attempts.append((settings.useRandomCoords, settings.enforceChirality))
        return -1

    monkeypatch.setattr(rdDistGeom, "EmbedMolecule", fail)
    no_bounds(monkeypatch)
    assert bad("CCO").startswith("no conformer")
    assert attempts == [(False, True), (False, False), (True, False), (True, True)]
    assert len(attempts) + 1 == ATTEMPTS


def test_distances_alone_will_do(monkeypatch):
    monkeypatch.setattr(rdDistGeom, "EmbedMolecule", lambda *_: -1)
    for smiles in ("C", "CCO", "C[C@H](N)C(=O)O", "F/C=C/Cl", "c1ccccc1O"):
        molecules = embed(SmilesRow(smiles), n=2)
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        assert len(molecules) == 2
        for molecule in molecules:
            assert agree(mol, molecule.pos)
            assert has_stereo(mol, molecule.pos)


@pytest.mark.parametrize("wrong", ["C[C@@H](N)[C@H](O)F", "C[C@@H](N)[C@@H](O)F"])
def test_what_is_not_enforced_is_compared(monkeypatch, wrong):
    """The enantiomer is turned into its mirror image, a diastereomer is refused."""
    embedding = rdDistGeom.EmbedMolecule

    def make_another(mol, settings):
        if settings.enforceChirality:
            return -1
        other = Chem.AddHs(Chem.MolFromSmiles(wrong))
        embedding(other, rdDistGeom.ETKDGv3())
        return mol.AddConformer(other.GetConformer(), assignId=True)

    monkeypatch.setattr(rdDistGeom, "EmbedMolecule", make_another)
    no_bounds(monkeypatch)
    smiles = "C[C@H](N)[C@@H](O)F"
    made = embed(SmilesRow(smiles))
    enantiomer = Chem.CanonSmiles(wrong) == Chem.CanonSmiles("C[C@@H](N)[C@H](O)F")
    assert isinstance(made, BadRow) != enantiomer
    if enantiomer:
        assert has_stereo(Chem.AddHs(Chem.MolFromSmiles(smiles)), made[0].pos)


def test_a_force_field_that_breaks_a_bond_is_no_result(monkeypatch):
    def explode(mol, clock):
        for conformer in mol.GetConformers():
            conformer.SetAtomPosition(0, (9.0, 9.0, 9.0))
        return [0.0] * mol.GetNumConformers(), "mmff"

    monkeypatch.setattr(rdDistGeom, "EmbedMolecule", lambda *_: -1)
    monkeypatch.setattr("molgeo.chem.conformers.embedding.minimise", explode)
    assert bad("CCO").startswith("no conformer")


def test_a_crash_of_rdkit_is_a_bad_row(monkeypatch):
    def crash(*_):
        raise RuntimeError("Invariant\n\tViolation")

    monkeypatch.setattr(rdDistGeom, "EmbedMolecule", crash)
    no_bounds(monkeypatch)
    assert bad("CCO") == "no conformer: RDKit failed with Invariant Violation"


def test_a_crash_of_one_attempt_leaves_the_next(monkeypatch):
    embedding = rdDistGeom.EmbedMolecule

    def crash_at_first(mol, settings):
        if not settings.useRandomCoords:
            raise RuntimeError("bad direction in linearSearch")
        return embedding(mol, settings)

    monkeypatch.setattr(rdDistGeom, "EmbedMolecule", crash_at_first)
    assert len(embed(SmilesRow("CCO"), n=2)) == 2


def test_a_crash_of_another_conformer_leaves_the_first(monkeypatch):
    embedding = rdDistGeom.EmbedMolecule

    def crash_at_second(mol, settings):
        if mol.GetNumConformers() == 1:
            raise RuntimeError("bad direction in linearSearch")
        return embedding(mol, settings)

    (alone,) = embed(SmilesRow("CCO"))
    monkeypatch.setattr(rdDistGeom, "EmbedMolecule", crash_at_second)
    monkeypatch.setattr(rdDistGeom, "EmbedMultipleConfs", crashing)
    (first,) = embed(SmilesRow("CCO"), n=3)
    np.testing.assert_array_equal(first.pos, alone.pos)


@pytest.mark.parametrize("smiles", [IBUPROFEN, "OCCCO", "OC1CC23CC4C2OC134", "C[C@H](N)C(=O)O"])
def test_the_first_conformers_do_not_depend_on_how_many_are_made(smiles):
    few, many = (generate(SmilesRow(smiles), n) for n in (2, 5))
    assert sorted(few.number) == [0, 1]
    assert sorted(many.number) == [0, 1, 2, 3, 4]
    assert list(many.energy) == sorted(many.energy)
    for number in (0, 1):
        a, b = few.number.tolist().index(number), many.number.tolist().index(number)
        np.testing.assert_array_equal(few.pos[a], many.pos[b])
        assert few.energy[a] == many.energy[b]


CAGES = [
    "C1C2CC34CCC23N1C4",
    "OC1CC23CC4C2OC134",
    "CC1CC23COC2C1C3",
    "O=C1OC23CC4C2NC134",
    "C1C2CC3OCC2C13",
    "C1OC2C3C4CC12OC34",
    "C1NC23COC4C2NC134",
    "O=C1CC23COC12CN3",
    "C1C2C3CC4OCC24C13",
    "C1CC23C1N1C2CCC31",
    "O=C1OC23CN(C2)C13",
    "O[C@@]12C3=CC[C@]1(O)[C@@H]2C3",
    "O=C1CC[C@@]23CC[C@@]12N3",
    "[H]/N=C1/C[C@@]23C[C@@]2(CO3)O1",
]
"""Strained cages of QM9, whose carbons are too flat for RDKit's own embedding."""


@pytest.mark.parametrize("smiles", CAGES)
def test_strained_cages_of_qm9_embed(smiles):
    (molecule,) = embed(SmilesRow(smiles))
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert molecule.geometry == "etkdg+mmff"
    assert agree(mol, molecule.pos)
    assert has_stereo(mol, molecule.pos)


def test_long_conjugated_systems_and_zwitterions_embed():
    for smiles in ("C=C" * 12, "C#CC#CC#CC#CC#C", "[NH3+]CC(=O)[O-]", "C[N+](C)(C)CC(=O)[O-]"):
        (molecule,) = embed(SmilesRow(smiles))
        assert agree(Chem.AddHs(Chem.MolFromSmiles(smiles)), molecule.pos)
        assert molecule.charge == 0


def test_rdkit_is_silent_and_its_log_is_left_as_it_was(capfd):
    rdBase.EnableLog("rdApp.error")  # PyTorch Geometric silences it when it reads QM9
    before = rdBase.LogStatus()
    bad("CCX")
    list(build([SmilesRow("C1CC"), SmilesRow("B1CC1"), SmilesRow("CCX")] * 5, workers=4))
    assert capfd.readouterr().err == ""
    assert rdBase.LogStatus() == before
    Chem.MolFromSmiles("C1CC")
    assert "unclosed ring" in capfd.readouterr().err


def test_each_thread_hears_only_its_own_messages():
    barrier = threading.Barrier(2)
    heard = {}

    def parse(smiles):
        with rdkit_messages() as messages:
            barrier.wait()
            Chem.MolFromSmiles(smiles)
            barrier.wait()
        heard[smiles] = " ".join(messages)

    threads = [threading.Thread(target=parse, args=(s,)) for s in ("C1CC", "N(C)(C)(C)(C)C")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "unclosed ring" in heard["C1CC"]
    assert "valence" not in heard["C1CC"]
    assert "valence" in heard["N(C)(C)(C)(C)C"]


def _conformer(pos):
    conformer = Chem.Conformer(len(pos))
    conformer.SetPositions(np.ascontiguousarray(pos))
    return conformer
