import random
import re
import threading
from contextlib import nullcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem, rdBase

from molgeo.chem.building import build
from molgeo.chem.conformers.conformers import generate
from molgeo.chem.molecule import BadRow, SmilesRow
from molgeo.chem.parsing import (
    MAX_LENGTH,
    MAX_LINES,
    MAX_SMILES_LENGTH,
    in_ascii,
    mol_from_smiles,
    rdkit_messages,
    smiles_fault,
    why_none,
    without_surrogates,
)

ODD = "é→日😀\u00a0\u2212\u200b\ufeff\ud800\udce9\x00\x1b\x7f\t\n"


def mutated(generator, n):
    """SMILES with characters put in, taken out and repeated."""
    seeds = ["CCO", "c1ccccc1O", "C[C@H](N)C(=O)O", "F/C=C/F", "C1CC2CC1CC2", "[Na+].[Cl-]"]
    for _ in range(n):
        text = list(generator.choice(seeds) * generator.randint(1, 4))
        for _ in range(generator.randint(1, 6)):
            place = generator.randrange(len(text) + 1)
            text[place : place + generator.randint(0, 1)] = generator.choice(
                [*ODD, *"CNO()[]=#%123.@+-", "é" * 30, "(" * 50, "C1" * 40]
            )
        yield "".join(text)


def test_mutated_smiles_give_a_molecule_or_none():
    refused = 0
    for smiles in mutated(random.Random(1), 2000):
        with rdkit_messages():
            mol = mol_from_smiles(smiles)
        assert mol is None or smiles.isascii()
        refused += mol is None
    assert 500 < refused < 2000


def test_mutated_smiles_are_one_row_each_in_order():
    texts = list(mutated(random.Random(2), 300))
    rows = [SmilesRow(text, input=str(k)) for k, text in enumerate(texts)]
    with rdkit_messages():
        faulty = [row for row in rows if mol_from_smiles(row.smiles) is None]
    built = list(build(faulty, workers=2))
    assert len(built) > 100
    assert [one.input for one in built] == [row.input for row in faulty]
    assert all(isinstance(one, BadRow) and one.message for one in built)


@pytest.mark.parametrize(
    ("smiles", "found"),
    [
        ("CCé", r"'é' \(U\+00E9, LATIN SMALL LETTER E WITH ACUTE\) at position 3"),
        ("C\u2212C", r"\(U\+2212, MINUS SIGN\) at position 2"),
        ("C\x00C", r"character \(U\+0000\) at position 2"),
        ("C\udce9", r"byte 0xE9, which is no UTF-8, at position 2"),
        ("C\ud800", r"character \(U\+D800\) at position 2"),
        ("\ufeffC", r"character \(U\+FEFF, ZERO WIDTH NO-BREAK SPACE\) at position 1"),
        ("CCO CCC", "white space in the SMILES.*printf 'CCO ethanol"),
        ("CCO\u00a0CCC", "white space in the SMILES"),
    ],
)
def test_what_is_no_smiles_is_named(smiles, found):
    bad = generate(SmilesRow(smiles, "name", "a:1"))
    assert isinstance(bad, BadRow)
    assert (bad.input, bad.name, bad.smiles) == ("a:1", "name", smiles)
    assert re.search(found, bad.message)
    assert mol_from_smiles(smiles) is None


def test_a_smiles_has_a_length():
    assert smiles_fault("C" * 5000, MAX_SMILES_LENGTH) is None
    fault = smiles_fault("C" * 5001, MAX_SMILES_LENGTH)
    assert fault == (
        "the SMILES has 5,001 characters: at most 5,000 are read (--max-smiles-length)"
    )


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.text(max_size=30))
def test_mol_blocks_of_any_characters(text):
    block = Chem.MolToMolBlock(Chem.MolFromSmiles("CCO")).split("\n")
    block[0] = text.replace("\n", " ").replace("\r", " ")
    with rdkit_messages():
        assert Chem.MolFromMolBlock(in_ascii("\n".join(block)), removeHs=False).GetNumAtoms() == 3
        block[5] = f"{text:60}"
        Chem.MolFromMolBlock(in_ascii("\n".join(block)), removeHs=False)


def test_messages_are_bounded():
    with rdkit_messages() as messages:
        assert Chem.MolFromSmiles("C" + "(C" * 2000) is None
    assert len(messages) == MAX_LINES
    assert max(map(len, messages)) <= MAX_LENGTH


def test_threads_have_messages_of_their_own():
    found = {}

    def parse(smiles):
        with rdkit_messages() as messages:
            for _ in range(50):
                mol_from_smiles(smiles)
        found[smiles] = messages

    threads = [threading.Thread(target=parse, args=(s,)) for s in ("C1CC", "C(C", "é", "CC")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "unclosed ring" in found["C1CC"][0]
    assert "parenthes" in found["C(C"][0]
    assert found["é"] == found["CC"] == []


def test_surrogates_are_replaced():
    assert without_surrogates("caf\udce9/é\ud800") == "caf\ufffd/é\ufffd"
    assert without_surrogates("CCO") == "CCO"


def test_whatever_a_row_meets_it_stays_a_row(monkeypatch):
    def breaks(embedder, row):
        raise SystemError("returned a result with an exception set")

    monkeypatch.setattr("molgeo.chem.building.Embedder.molecules", breaks)
    (bad,) = build([SmilesRow("CCO", "ethanol", "a:1")], workers=1)
    assert bad == BadRow(
        "a:1",
        "ethanol",
        "CCO",
        "this row cannot be read: SystemError: returned a result with an exception set",
    )


@pytest.mark.parametrize("smiles", ["CCO", "C1CC"])
def test_what_the_input_says_besides_is_kept(smiles):
    (built,) = build([SmilesRow(smiles, extra={"pIC50": "6.1"}, stripped="Cl")], workers=1)
    (one,) = built if isinstance(built, list) else [built]
    assert (one.extra, one.stripped) == ({"pIC50": "6.1"}, "Cl")


@pytest.mark.parametrize(("seconds", "readings"), [(0.0, 500), (0.05, 10)])
def test_the_reason_is_not_lost_while_another_thread_silences_rdkit(seconds, readings):
    stop = threading.Event()
    before = [line.split(":") for line in rdBase.LogStatus().split()]

    def silence():
        with rdkit_messages() if seconds else nullcontext():  # which this thread does not end
            while not stop.wait(seconds / 2):
                with rdBase.BlockLogs():  # as RDKit does where it looks for stereo
                    stop.wait(seconds)  # as long as a thread may wait for a processor

    thread = threading.Thread(target=silence)
    thread.start()
    try:
        found = set()
        for _ in range(readings):
            stop.wait(seconds / 3)
            found.add(tuple(why_none(lambda: Chem.MolFromSmiles("C1CC"))))
    finally:
        stop.set()
        thread.join()
        for name, state in before:  # what was found may have been the silence
            (rdBase.EnableLog if state == "enabled" else rdBase.DisableLog)(name)
    assert found == {("SMILES Parse Error: unclosed ring for input: 'C1CC'",)}
