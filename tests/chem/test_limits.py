"""What one row may take."""

import time

import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from molgeo.chem.bonds import agree, has_stereo
from molgeo.chem.building import build
from molgeo.chem.conformers import conformers, embedding, force_field
from molgeo.chem.conformers.conformers import Embedder, embed
from molgeo.chem.limits import Clock, Limits, OutOfTimeError
from molgeo.chem.molecule import SmilesRow


@pytest.fixture
def thread_time(monkeypatch):
    """Processor time by hand: one second each time somebody looks."""
    now = [0.0]

    def tick():
        now[0] += 1.0
        return now[0]

    monkeypatch.setattr(time, "thread_time", tick)
    return now


def test_a_clock_counts_processor_time(thread_time):
    clock = Clock(3.5)
    for _ in range(3):
        clock.check()
    with pytest.raises(OutOfTimeError, match=r"within 3\.5 s: .*--conformers 1.*--max-seconds"):
        clock.check()
    with pytest.raises(OutOfTimeError, match=r"\(--conformers 1\), or give coordinates"):
        Clock(-1.0, is_option=False).check()


def test_a_clock_gives_up_on_a_machine_that_does_not_work(monkeypatch):
    clock = Clock(2.0)
    assert 19 <= clock.left() <= 20
    clock.check()
    later = time.monotonic() + 21.0
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert clock.left() == 1
    with pytest.raises(OutOfTimeError):
        clock.check()


def test_a_clock_without_limit_is_one_that_rdkit_does_not_count():
    assert Clock().left() == 0
    Clock().check()


@pytest.mark.parametrize("smiles", ["CC(C)Cc1ccc(cc1)C(C)C(=O)O", "C12C3C4C1C5C2C3C45"])
@pytest.mark.parametrize("seconds", [1.5, 3.5, 6.5])
def test_a_row_out_of_time_is_a_bad_row(thread_time, smiles, seconds):
    rows = [SmilesRow(smiles, "name", "input")]
    (bad,) = build(rows, 8, 1, limits=Limits(seconds=seconds))
    assert bad.message.startswith(f"no conformers within {seconds} s")
    assert (bad.name, bad.input, bad.smiles) == ("name", "input", smiles)
    assert bad.formula


def test_time_changes_nothing_but_that(thread_time):
    short, long = (Embedder(2, limits=Limits(seconds=s)) for s in (90.0, 1000.0))
    row = SmilesRow("OCCC(F)O")
    for one, other in zip(short.molecules(row), long.molecules(row), strict=True):
        assert (one.pos == other.pos).all()


def test_equal_molecules_run_out_of_time_together(monkeypatch):
    asked = []

    def slow(mol, n, clock):
        asked.append(mol)
        raise OutOfTimeError("late")

    monkeypatch.setattr(conformers, "conformers", slow)
    assert [bad.message for bad in build([SmilesRow("CCO"), SmilesRow("OCC")])] == ["late"] * 2
    assert len(asked) == 1


def test_atoms_are_counted_before_rings_are_looked_for(monkeypatch):
    smiles = "C1CC1" * 40
    sanitised = []
    original = Chem.MolFromSmiles

    def read(text, **words):
        sanitised.append(words.get("sanitize", True))
        return original(text, **words)

    monkeypatch.setattr(Chem, "MolFromSmiles", read)
    bad = Embedder(limits=Limits(atoms=100)).molecules(SmilesRow(smiles))
    assert "up to 100 atoms (--max-atoms)" in bad.message
    assert sanitised == [False]


def test_hydrogens_count_as_atoms():
    limits = Limits(atoms=20)
    assert isinstance(Embedder(limits=limits).molecules(SmilesRow("CCCCCC")), list)
    bad = Embedder(limits=limits).molecules(SmilesRow("CCCCCCC"))
    assert bad.message.startswith("23 atoms with hydrogens: conformers are made up to 20 atoms")
    assert (bad.formula, bad.n_atoms) == ("C7H16", 23)


def test_memory_follows_from_atoms():
    limits = Limits(atoms=10_000, memory=100.0)
    assert limits.too_large(500) is None
    assert limits.too_large(700) == (
        "700 atoms with hydrogens: conformers take some 147 MB, but 100 MB are allowed "
        "(--max-memory); give coordinates (xyz, sdf) instead"
    )
    assert "--" not in Limits(20, are_options=False).too_large(700)
    bad = Embedder(limits=limits).molecules(SmilesRow("C" * 800))
    assert bad.message.startswith("at least 800 atoms with hydrogens: conformers take")


def test_large_molecules_have_a_ladder_of_their_own(monkeypatch):
    monkeypatch.setattr(embedding, "LARGE", 20)
    embedded = []
    original = rdDistGeom.EmbedMolecule

    def watched(mol, settings):
        embedded.append(settings.useRandomCoords)
        return original(mol, settings)

    monkeypatch.setattr(rdDistGeom, "EmbedMolecule", watched)
    smiles = "C[C@H](N)C(=O)N[C@@H](C)C(=O)N[C@@H](C)C(=O)O"
    (molecule,) = embed(SmilesRow(smiles))
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert agree(mol, molecule.pos)
    assert has_stereo(mol, molecule.pos)
    assert embedded == [True]


def test_steps_of_the_force_field_are_bounded_by_the_work(monkeypatch):
    taken = []
    original = force_field.rdForceFieldHelpers.MMFFOptimizeMoleculeConfs

    def counted(mol, numThreads, maxIters):
        taken.append(maxIters)
        return original(mol, numThreads=numThreads, maxIters=maxIters)

    monkeypatch.setattr(force_field.rdForceFieldHelpers, "MMFFOptimizeMoleculeConfs", counted)
    embed(SmilesRow("OCCCO"))
    assert taken == [force_field.MINIMISER_STEPS]
    taken.clear()
    monkeypatch.setattr(force_field, "PAIR_STEPS", 3 * 13**2)
    embed(SmilesRow("OCCCO"))
    assert taken == [3, 3]
