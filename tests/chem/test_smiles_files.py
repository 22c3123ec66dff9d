import gzip
import io
import sys

import pytest

from molgeo.chem.molecule import BadRow, InputError, SmilesRow
from molgeo.chem.readers import read


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


@pytest.mark.parametrize("header", ["smiles", "SMILES", "Smiles", "canonical_smiles"])
def test_csv_column_by_name(tmp_path, header):
    path = tmp_path / "a.csv"
    assert rows(path, f"name,x,{header}\nC,1,CCO\nO,2,N\n") == [
        SmilesRow("CCO", "C", f"{path}:2"),
        SmilesRow("N", "O", f"{path}:3"),
    ]


def test_csv_with_byte_order_mark_quotes_and_windows_line_ends(tmp_path):
    path = tmp_path / "a.csv"
    text = '\ufeff"SMILES","Name"\r\n"CCO","ethanol, ""pure"""\r\n"C(=O)O","x"\r\n'
    assert rows(path, text) == [
        SmilesRow("CCO", 'ethanol, "pure"', f"{path}:2"),
        SmilesRow("C(=O)O", "x", f"{path}:3"),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_delimiters(tmp_path, delimiter):
    text = "id|smiles\n7|CCO\n".replace("|", delimiter)
    (row,) = rows(tmp_path / "a.csv", text)
    assert (row.smiles, row.name) == ("CCO", "7")


def test_csv_column_by_its_first_value(tmp_path):
    found = rows(tmp_path / "a.csv", "x,structure\n1,CCO\n2,C1CC\n")
    assert [row.smiles for row in found] == ["CCO", "C1CC"]


def test_csv_without_a_header_loses_no_row(tmp_path):
    found = rows(tmp_path / "a.csv", "1,CCO\n2,CCN\n")
    assert [row.smiles for row in found] == ["CCO", "CCN"]


def test_csv_with_one_row_and_no_header(tmp_path):
    (row,) = rows(tmp_path / "a.csv", "CCO,ethanol\n")
    assert row.smiles == "CCO"


def test_csv_without_smiles_names_its_columns(tmp_path):
    with pytest.raises(InputError, match=r"no column is called 'smiles'.*'x', 'y'"):
        rows(tmp_path / "a.csv", "x,y\n1,2\n")


def test_csv_with_a_header_only_is_empty(tmp_path):
    with pytest.raises(InputError, match="is empty"):
        rows(tmp_path / "a.csv", "smiles\n")


def test_csv_short_and_blank_records_keep_their_place(tmp_path):
    path = tmp_path / "a.csv"
    first, second, third, last = rows(path, "name,smiles\na,C\nb\nc,\n\nd,O\n")
    assert (first.smiles, last.smiles) == ("C", "O")
    assert second == BadRow(f"{path}:3", "b", message="no SMILES in column 2 of this record")
    assert third.input == f"{path}:4"


def test_csv_record_that_is_too_long_is_a_bad_row(tmp_path):
    text = "smiles,name\nC,a\n" + "C" * 200_000 + ",b\nO,c\n"
    first, second, third = rows(tmp_path / "a.csv", text)
    assert (first.smiles, third.smiles) == ("C", "O")
    assert "malformed record" in second.message


def test_csv_stray_quote_spoils_its_own_line_only(tmp_path):
    path = tmp_path / "a.csv"
    first, *others = rows(path, 'smiles\n"CCO\nCC\n\n"CCC"x\nCCCC\n')
    assert isinstance(first, BadRow)
    assert first.input == f"{path}:2"
    assert first.message.startswith("malformed record: ")
    assert [row.input for row in others] == [f"{path}:{n}" for n in (3, 5, 6)]
    assert "malformed record" in others[1].message
    assert [others[0].smiles, others[2].smiles] == ["CC", "CCCC"]


@pytest.mark.parametrize("smiles", ["CCO ethanol", "CC\u00a0O", "CC\vO"])
def test_csv_smiles_is_not_cut_at_white_space(tmp_path, smiles):
    path = tmp_path / "a.csv"
    bad, good = rows(path, f"smiles,name\n{smiles},a\nC,b\n")
    assert isinstance(bad, BadRow)
    assert (bad.input, bad.name, bad.smiles) == (f"{path}:2", "a", smiles)
    assert "white space in the SMILES" in bad.message
    assert good.smiles == "C"


def test_csv_words_are_no_smiles(tmp_path):
    found = rows(tmp_path / "a.csv", "C is carbon,CCO\nN is nitrogen,CCN\n")
    assert [row.smiles for row in found] == ["CCO", "CCN"]


def test_lines_are_read_one_by_one(tmp_path):
    path = tmp_path / "a.smi"
    path.write_text("C\n" * 100_000)
    stream = read(path)
    next(stream)
    stream.close()
    with pytest.raises(StopIteration):
        next(stream)
