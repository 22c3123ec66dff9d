import gzip
import io

import pytest
from rdkit import Chem

from molgeo.chem.files import text as text_files
from molgeo.chem.files.readers import read
from molgeo.chem.files.text import Lines, TextLines, is_cut, open_text
from molgeo.chem.molecule import BadRow


def test_lines_are_looked_at_and_given_back():
    lines = Lines(["a\n", "b\n", "c\n"])
    assert lines.peek(2) == ["a\n", "b\n"]
    assert (next(lines), next(lines), lines.number) == ("a\n", "b\n", 2)
    lines.give_back(["a\n", "b\n"])
    assert lines.number == 0
    assert lines.peek(9) == list(lines) == ["a\n", "b\n", "c\n"]
    assert lines.number == 3
    assert lines.peek(1) == []


def test_looking_ahead_is_bounded(monkeypatch):
    monkeypatch.setattr(text_files, "MAX_LINE", 10)
    assert len(Lines(["12345"] * 100).peek(50)) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("zipped", [False, True])
def test_text_is_decoded(tmp_path, encoding, zipped):
    data = "CCO éthanol\r\nCCN ä\n".encode(encoding)
    path = tmp_path / "a.smi"
    path.write_bytes(gzip.compress(data) if zipped else data)
    with open_text(path) as file:
        assert list(file) == ["CCO éthanol\r\n", "CCN ä\n"]


def test_a_character_that_the_first_look_cuts_is_no_other_encoding(tmp_path):
    path = tmp_path / "a.smi"
    path.write_bytes(b"C" * (text_files._HEAD - 1) + "é\n".encode())
    with open_text(path) as file:
        assert next(file).endswith("Cé\n")


def test_long_lines_are_cut(monkeypatch, tmp_path):
    monkeypatch.setattr(text_files, "MAX_LINE", 100)
    path = tmp_path / "a.smi"
    path.write_text("C" * 99 + "\n" + "N" * 1234 + "\nO\n")
    with open_text(path) as file:
        first, second, third = file
    assert (len(first), is_cut(first)) == (100, False)
    assert (second, is_cut(second)) == ("N" * 100, True)
    assert third == "O\n"


@pytest.mark.parametrize(("ending", "head"), [(".smi", ""), (".csv", "smiles\n")])
def test_a_long_line_is_one_bad_row(monkeypatch, tmp_path, ending, head):
    for module in ("text", "smiles_lines", "tables"):
        monkeypatch.setattr(f"molgeo.chem.files.{module}.MAX_LINE", 100)
    path = tmp_path / f"a{ending}"
    path.write_text(f"{head}CCO\n{'N' * 1234}\nO\n")
    first, second, third = read(path)
    assert (first.smiles, third.smiles) == ("CCO", "O")
    assert second.message == "this line has more than 100 characters"


def test_a_bomb_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr(text_files, "BOMB_SIZE", 20_000)
    path = tmp_path / "a.smi.gz"
    path.write_bytes(gzip.compress(b"C\n" * 200_000))
    *good, last = read(path)
    assert 10_000 < len(good) < 100_000
    assert isinstance(last, BadRow)
    assert "it is compressed" in last.message
    assert "unpack it first" in last.message


def test_a_bomb_of_one_line_needs_no_memory(monkeypatch):
    import tracemalloc

    monkeypatch.setattr(text_files, "MAX_LINE", 10_000)
    data = gzip.compress(b"C" * 15_000_000)
    tracemalloc.start()
    (line,) = TextLines(io.BytesIO(data))
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    tracemalloc.stop()
    assert is_cut(line)


def test_what_is_no_gzip_is_text(tmp_path):
    path = tmp_path / "a.smi.gz"
    path.write_text("CCO\n")
    assert [row.smiles for row in read(path)] == ["CCO"]


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        (".sdf", "title\n" + "x\n" * 500 + "$$$$\n{mol}"),
        (".xyz", "999999\ncomment\n" + "C 0 0 0\n" * 500 + "1\n\nHe 0 0 0\n"),
    ],
)
def test_a_record_without_end_is_one_bad_row(monkeypatch, tmp_path, ending, text):
    monkeypatch.setattr(text_files, "MAX_RECORD", 10_000)
    path = tmp_path / f"a{ending}"
    path.write_text(text.format(mol=Chem.MolToMolBlock(Chem.MolFromSmiles("CCO"))))
    bad, good = read(path)
    assert "too long: it has 50" in bad.message
    assert not isinstance(good, BadRow)


def test_a_number_of_any_length_is_no_number_of_atoms(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("9" * 5000 + "\n\nC 0 0 0\n1\n\nHe 0 0 0\n")
    bad, good = read(path)
    assert "expected the number of atoms, got '999" in bad.message
    assert good.formula == "He"
