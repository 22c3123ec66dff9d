import os
from pathlib import Path

import pandas as pd
import pytest

from molgeo.chem.files.formats import ReadOptions
from molgeo.chem.files.locating import check_sources, locate
from molgeo.chem.files.readers import read
from molgeo.chem.molecule import BadRow, SmilesRow
from molgeo.runtime.errors import InputError


@pytest.mark.parametrize(
    "name", ["no.tsv", "no.txt", "no.parquet", "no.xlsx", "no.JSON", "a/b.pdf", "my file.csv"]
)
def test_files_that_are_not_there(name):
    with pytest.raises(InputError, match=r"there is no such file; give one of \.smi"):
        check_sources([name])


def test_the_file_that_was_meant(tmp_path):
    (tmp_path / "molecules.csv").touch()
    with pytest.raises(InputError, match=r"did you mean .*molecules\.csv\?"):
        check_sources([str(tmp_path / "molecule.csv")])


def test_folders(tmp_path):
    for folder in (tmp_path, tmp_path / "my.folder"):
        folder.mkdir(exist_ok=True)
        with pytest.raises(InputError, match=r"is a folder; .*\*\.sdf gives its files"):
            check_sources([str(folder)])


@pytest.mark.parametrize("name", ["no.sml", "a.mymol", "./x", "../no/such", "/tmp/no"])
def test_words_that_look_like_files_are_rows_that_say_so(name):
    check_sources([name])
    (bad,) = read(name)
    assert isinstance(bad, BadRow)
    assert bad.message == f"no such file, and not a valid SMILES: {name}"


@pytest.mark.parametrize(
    "text", ["CCO.CCN", "C1CC.CCO", "[Na+].[Cl-]", "F/C=C/F", "c1ccccc1.c1ccccc1", "?"]
)
def test_words_that_may_be_smiles(text):
    assert list(read(text)) == [SmilesRow(text, input=text)]


@pytest.mark.parametrize("text", ["CCO CCC", "CCO ethanol", "CCO\tethanol", "CCO\nCCN", "a b c"])
def test_white_space_in_a_word(text):
    (bad,) = read(text)
    assert bad.message.startswith("white space in the SMILES: give one SMILES only; a name goes")
    assert r"printf 'CCO ethanol\n' | molgeo predict -" in bad.message


def test_white_space_around_a_word_is_harmless():
    assert [row.smiles for row in read(" CCO \n")] == ["CCO"]
    assert [row.smiles for row in read("\tCCO\r\n")] == ["CCO"]


def test_inchi_and_inchikey():
    text = "InChI=1S/C2H6O/c1-2-3/h3H,2H2,1H3"
    assert list(read(text)) == [SmilesRow("CCO", "", text)]
    (bad,) = read("InChI=1S/C2H6O/c1-2-9")
    assert bad.message.startswith("not a valid InChI: ")
    (bad,) = read("LFQSCWFLJHTTHZ-UHFFFAOYSA-N")
    assert "an InChIKey does not tell the structure" in bad.message


def test_length_of_a_smiles():
    (bad,) = read("C" * 101, ReadOptions(max_smiles_length=100))
    assert "101 characters: at most 100 are read (--max-smiles-length)" in bad.message
    (bad,) = read(SmilesRow("C" * 101), ReadOptions(max_smiles_length=100))
    assert isinstance(bad, BadRow)
    assert [row.smiles for row in read("C" * 100, ReadOptions(max_smiles_length=100))] == [
        "C" * 100
    ]


def test_names_that_are_no_utf_8(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"caf\xe9.smi")
    Path(name).write_text("CCO ethanol\n")
    (row,) = read(name)
    assert row == SmilesRow("CCO", "ethanol", "caf\ufffd.smi:1")
    (bad,) = read(os.fsdecode(b"C\xe9"))
    assert (bad.input, bad.smiles) == ("C\ufffd", "C\ufffd")
    assert "byte 0xE9, which is no UTF-8" in bad.message


def test_lone_surrogates_everywhere_can_be_written(tmp_path):
    frame = pd.DataFrame({"smiles": ["CCO"], "name": ["a\ud800"], "x\ud800": ["\udfff"]})
    (row,) = read(frame)
    assert (row.name, row.extra["x\ufffd"]) == ("a\ufffd", "\ufffd")
    (row,) = read(SmilesRow("CCO\ud800", "a\ud800", "b\ud800"))
    f"{row}".encode()


def test_input_format(tmp_path):
    path = tmp_path / "data.dat"
    path.write_text("name,smiles\na,CCO\n")
    with pytest.raises(InputError, match=r"unknown ending.*or say --input-format"):
        locate(path)
    assert locate(path, ReadOptions(input_format="csv")) == path
    with pytest.raises(InputError, match="input_format 'cvs' is unknown, did you mean 'csv'"):
        check_sources([], ReadOptions(input_format="cvs"))


@pytest.mark.parametrize("ending", ["xlsx", "XLS", "ods"])
def test_a_spreadsheet_is_to_be_saved_as_csv(tmp_path, ending):
    path = tmp_path / f"data.{ending}"
    path.write_bytes(b"PK")
    with pytest.raises(InputError, match=r"is a spreadsheet: save its sheet as csv"):
        locate(path)


@pytest.mark.parametrize("text", [".", "..", "./", "/"])
def test_folders_without_a_letter_are_a_row_each(text):
    (bad,) = read(text)
    assert bad.message == f"{text} is a folder, not a file or a SMILES"
