import gzip
import io
import sys

import pytest

from molgeo.chem.files.readers import read
from molgeo.chem.molecule import BadRow, SmilesRow
from molgeo.runtime.errors import InputError


def rows(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return list(read(path))


def test_smi_has_a_smiles_and_an_optional_name(tmp_path):
    path = tmp_path / "a.smi"
    text = "CCO ethanol\nO\twater from a well\n\n# comment\n  C  \r\nC1CC ring\n"
    assert rows(path, text) == [
        SmilesRow("CCO", "ethanol", f"{path}:1"),
        SmilesRow("O", "water from a well", f"{path}:2"),
        SmilesRow("C", "", f"{path}:5"),
        SmilesRow("C1CC", "ring", f"{path}:6"),
    ]


def test_smi_title_line_is_no_row(tmp_path):
    assert [row.smiles for row in rows(tmp_path / "a.smi", "SMILES Name\nCCO a\n")] == ["CCO"]


def test_smi_with_a_byte_order_mark_and_odd_bytes(tmp_path):
    path = tmp_path / "a.smi"
    path.write_bytes(b"\xef\xbb\xbfCCO caf\xe9\n")
    assert list(read(path)) == [SmilesRow("CCO", "caf\ufffd", f"{path}:1")]


def test_smi_gz(tmp_path):
    path = tmp_path / "a.smi.gz"
    path.write_bytes(gzip.compress(b"CCO ethanol\nO\n"))
    assert [row.smiles for row in read(path)] == ["CCO", "O"]


def test_truncated_gz_keeps_what_came_before(tmp_path):
    path = tmp_path / "a.smi.gz"
    whole = gzip.compress(b"".join(b"%s molecule-%d\n" % (b"C" * (i % 90), i) for i in range(9999)))
    path.write_bytes(whole[: len(whole) // 2])
    *good, last = read(path)
    assert len(good) > 100
    assert isinstance(last, BadRow)
    assert f"reading stopped after {len(good)} rows" in last.message


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("CCO ethanol\nO\n"))
    assert list(read("-")) == [
        SmilesRow("CCO", "ethanol", "stdin:1"),
        SmilesRow("O", "", "stdin:2"),
    ]


def test_odd_bytes_on_standard_input(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(b"C\xff\nO\n"), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", stream)
    assert [row.smiles for row in read("-")] == ["C\ufffd", "O"]


def test_empty_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n\n"))
    with pytest.raises(InputError, match="standard input is empty"):
        list(read("-"))


def test_lines_are_read_one_by_one(tmp_path):
    path = tmp_path / "a.smi"
    path.write_text("C\n" * 100_000)
    stream = read(path)
    next(stream)
    stream.close()
    with pytest.raises(StopIteration):
        next(stream)


def test_atoms_with_coordinates_are_no_smiles(tmp_path):
    """The end of an input for Gaussian, say, which is not told by its first lines."""
    found = rows(tmp_path / "a.smi", "#p\n\nCCO ethanol\nC 0 0 0\nH\t0.63  -.6e0 6.3D-01\nC 12 3\n")
    assert [row.smiles for row in found if isinstance(row, SmilesRow)] == ["CCO", "C"]
    messages = [row.message for row in found if isinstance(row, BadRow)]
    assert len(messages) == 2
    assert "'C 0 0 0' is an atom with its coordinates" in messages[0]
