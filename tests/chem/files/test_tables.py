"""Tables, against Python's csv and pandas."""

import csv
import io

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from molgeo.chem.files import tables as table_files
from molgeo.chem.files.formats import ReadOptions
from molgeo.chem.files.readers import kept_columns, read
from molgeo.chem.files.text import Lines
from molgeo.chem.molecule import BadRow, Molecule, SmilesRow
from molgeo.runtime.errors import InputError

ALL = ReadOptions(keep_columns=True)


def rows(path, text, encoding="utf-8", **reading):
    path.write_bytes(text.encode(encoding))
    return list(read(path, ReadOptions(**reading)))


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


def test_csv_quoted_line_ends_are_one_record(tmp_path):
    path = tmp_path / "a.csv"
    text = 'smiles,note,name\nCCO,"two\nlines, ""quoted""",a\n"C\n",x,b\nCCN,y,c\n'
    first, second, third = rows(path, text, keep_columns=True)
    assert first == SmilesRow("CCO", "a", f"{path}:2", {"note": 'two\nlines, "quoted"'})
    assert (second.smiles, second.input) == ("C", f"{path}:4")
    assert (third.smiles, third.input) == ("CCN", f"{path}:6")


def test_a_long_cell_is_no_stray_quote(tmp_path):
    block = Chem.MolToMolBlock(Chem.MolFromSmiles("C" * 200))
    first, second = rows(tmp_path / "a.csv", f'block,smiles\n"{block}",CCO\nx,CCN\n')
    assert (first.smiles, second.smiles) == ("CCO", "CCN")
    assert second.input.endswith(f":{block.count(chr(10)) + 3}")


@pytest.mark.parametrize("n", [5, 3000])
def test_an_unclosed_quote_spoils_its_own_line_only(tmp_path, n):
    path = tmp_path / "a.csv"
    text = 'smiles,name\nCCO,"5 inch\n' + "".join(f"CCN,{k}\n" for k in range(n))
    bad, *good = rows(path, text)
    assert (bad.input, type(bad)) == (f"{path}:2", BadRow)
    assert "a quote is not closed within 1,000 lines" in bad.message
    assert [row.name for row in good] == [str(k) for k in range(n)]


@pytest.mark.parametrize("text", ['CCO,"a,1\nCCN,b,2"\nCCC,c,3\n', 'CCO,"a,1\nCCN,b,2\nCCC,c",3\n'])
def test_a_quote_that_another_record_closes_spoils_its_own_line_only(tmp_path, text):
    found = rows(tmp_path / "a.csv", f"smiles,name,x\n{text}CC,d,4\n")
    assert [row.smiles for row in found] == [None, "CCN", "CCC", "CC"]
    assert "a quote opens in this line and is closed" in found[0].message


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
SMILES = st.sampled_from(["CCO", "c1ccccc1", "C[C@H](N)C(=O)O", "F/C=C\\F", "[Na+].[Cl-]", "C#N"])


@settings(deadline=None, max_examples=100, derandomize=True)
@given(
    records=st.lists(st.tuples(CELLS, SMILES, CELLS), min_size=1, max_size=8),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    delimiter=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_pythons_csv_writes_is_read_back(tmp_path_factory, records, quoting, delimiter, end):
    text = io.StringIO(newline="")
    if quoting == csv.QUOTE_MINIMAL:  # which leaves a carriage return bare if it ends no line
        end = "\r\n"
    writer = csv.writer(text, quoting=quoting, delimiter=delimiter, lineterminator=end)
    writer.writerow(["a note", "smiles", "remark"])
    writer.writerows(records)
    path = tmp_path_factory.getbasetemp() / "round.csv"
    path.write_bytes(text.getvalue().encode())
    found = list(read(path, ALL))
    assert [(r.extra["a note"], r.smiles, r.extra["remark"]) for r in found] == records


@settings(deadline=None, max_examples=100, derandomize=True)
@given(data=st.binary(max_size=300), cut=st.integers(0, 30))
def test_any_bytes_between_sound_records(tmp_path_factory, data, cut):
    """Whatever stands in the middle, the first records are read and nothing is raised."""
    path = tmp_path_factory.getbasetemp() / "bytes.csv"
    before = b"smiles,name\n" + b"".join(b"CCO,%d\n" % k for k in range(200))
    path.write_bytes(before + data + b"\n" * (cut % 2) + b"CCN,last\n")
    found = list(read(path))
    assert [row.name for row in found[:200]] == [str(k) for k in range(200)]
    assert len(found) > 200


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig", "latin-1", "utf-32"])
def test_encodings(tmp_path, encoding):
    (row,) = rows(tmp_path / "a.csv", "smiles,name\r\nCCO,éthanol\r\n", encoding)
    assert (row.smiles, row.name) == ("CCO", "éthanol")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(tmp_path, end):
    path = tmp_path / "a.csv"
    found = rows(path, end.join(["smiles,name", "CCO,a", "", "CCN,b"]))
    assert [(row.smiles, row.input) for row in found] == [
        ("CCO", f"{path}:2"),
        ("CCN", f"{path}:4"),
    ]


def test_zero_bytes_are_a_bad_row(tmp_path):
    bad, good = rows(tmp_path / "a.csv", "smiles,name\nC\0C,a\nCCN,b\n")
    assert "U+0000" in bad.message
    assert good.smiles == "CCN"


def test_ragged_records(tmp_path):
    text = "name,smiles,x\na,CCO\nb\nc,d,CCN,1\ne,CCC,1,,\n"
    found = rows(tmp_path / "a.csv", text, keep_columns=True)
    assert [row.smiles for row in found] == ["CCO", None, None, "CCC"]
    assert "no SMILES in column 2" in found[1].message
    assert "4 cells, 1 more than the header" in found[2].message
    assert found[0].extra == {"x": ""}


DELIMITED = [
    ("SMILES\tname, full\nCCO\tethanol, pure\nCCN\tamine\n", ["CCO", "CCN"]),
    ("smiles;mw\nCCO;46,07\nCCN;45,08\n", ["CCO", "CCN"]),
    ("name|smiles\na, b|CCO\nc; d|CCN\n", ["CCO", "CCN"]),
    ("CCO\tethanol, pure\nCCN\tamine, pure\n", ["CCO", "CCN"]),
    ("smiles\nCCO\nCCN\n", ["CCO", "CCN"]),
    ('"name, full";"smiles"\n"a;b";"CCO"\n', ["CCO"]),
]


@pytest.mark.parametrize(
    ("text", "smiles", "ending"),
    [
        (text, smiles, ending)
        for text, smiles in DELIMITED
        for ending in (".csv", ".txt")  # of a .txt file the others are lines of SMILES
        if ending == ".csv" or text.lower().startswith(("smiles\t", "name|", "smiles;"))
    ],
)
def test_delimiters_are_found(tmp_path, text, smiles, ending):
    assert [row.smiles for row in rows(tmp_path / f"a{ending}", text)] == smiles


def test_tsv_is_cut_by_tabs_alone(tmp_path):
    text = "id,x\tsmiles,y\n1,1\tCCO\n2,2\tCCN\n"
    assert [row.smiles for row in rows(tmp_path / "a.tsv", text)] == ["CCO", "CCN"]
    assert [row.smiles for row in rows(tmp_path / "b.tsv", "id,smiles\n1,CCO\n")] == ["CCO"]


@pytest.mark.parametrize(
    ("before", "n"), [("sep=;\n", 1), ('"sep=;"\r\n', 1), ("# from a, b\n#\n\n", 3), ("", 0)]
)
def test_what_stands_before_the_header(tmp_path, before, n):
    path = tmp_path / "a.csv"
    (row,) = rows(path, before + "smiles;note, long;name\nCCO;x;ethanol\n")
    assert row == SmilesRow("CCO", "ethanol", f"{path}:{n + 2}")
    assert kept_columns([path], ALL) == ["note, long"]
    (row,) = rows(path, "#smiles,name\nCCO,ethanol\n")
    assert (row.smiles, row.name) == ("CCO", "ethanol")


def test_row_names_of_r_have_no_title(tmp_path):
    path = tmp_path / "a.tsv"
    found = rows(path, "name\tsmiles\n1\tx\tCCO\n2\ty\tCCN\n", keep_columns=True)
    assert [(row.smiles, row.name) for row in found] == [("CCO", "x"), ("CCN", "y")]
    assert found[0].extra == {"column_1": "1"}


def test_what_is_kept(tmp_path):
    path = tmp_path / "a.csv"
    text = "ID,name,structure,,x,x\n7,ethanol,CCO,p,q,r\n"
    (row,) = rows(path, text)
    assert row.extra == {"ID": "7"}, "an identifier beside the name"
    assert kept_columns([path], ReadOptions()) == ["ID"]
    (row,) = rows(path, text, keep_columns=True)
    expected = {"ID": "7", "structure": "CCO", "column_4": "p", "x": "q", "x_2": "r"}
    assert row.extra == expected
    assert kept_columns([path], ALL) == list(expected)
    (row,) = rows(path, text, keep_columns=False)
    assert row.extra == {}


def test_columns_can_be_named(tmp_path):
    path, text = tmp_path / "a.csv", "smiles,product smiles,code\nC,CCO,x\nN,CCN,y\n"
    for column in ("product smiles", "Product_SMILES", 2, "2"):
        found = rows(path, text, smiles_column=column, name_column="code")
        assert [(row.smiles, row.name) for row in found] == [("CCO", "x"), ("CCN", "y")]
    with pytest.raises(InputError, match="smiles_column: no column 'cod', did you mean 'code'"):
        rows(path, text, smiles_column="cod")
    found = rows(path, "x,CCO\ny,CCN\n", smiles_column=2, name_column=1)
    assert [(row.smiles, row.name) for row in found] == [("CCO", "x"), ("CCN", "y")]


def test_the_choice_is_said_once(tmp_path):
    said = []
    text = "compound id,code,structure\nx1,NO,CCO\nx2,CO,CCN\n"
    rows(tmp_path / "a.csv", text, say=said.append)
    path = tmp_path / "a.csv"
    assert said == [f"{path}: SMILES from column 'structure', names from column 'compound id'"]


def test_inchi_column(tmp_path):
    text = (
        'name,InChI,InChIKey\na,"InChI=1S/C2H6O/c1-2-3/h3H,2H2,1H3",LFQSCWFLJHTTHZ-UHFFFAOYSA-N\n'
    )
    (row,) = rows(tmp_path / "a.csv", text + "b,InChI=1S/nonsense,x\n")[:1]
    assert (row.smiles, row.name) == ("CCO", "a")
    bad = rows(tmp_path / "a.csv", text + "b,InChI=1S/nonsense,x\n")[1]
    assert bad.message.startswith("not a valid InChI")


def test_data_frames_are_tables():
    frame = pd.DataFrame(
        {"x": [1.5, None], "Molecule": ["ethanol", "?"], "smiles": ["CCO", None]}, index=[7, 7]
    )
    before = frame.copy()
    first, second = read(frame)
    pd.testing.assert_frame_equal(frame, before)
    assert first == SmilesRow("CCO", "ethanol", "DataFrame:1", {"x": 1.5, "Molecule": "ethanol"})
    assert second.message == "no SMILES in column 3 of this record"
    assert [row.extra for row in read(frame, ReadOptions(keep_columns=False))] == [{}, {}]


def test_data_frames_of_molecules():
    mol = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    (row,) = read(pd.DataFrame({"ID": ["a"], "ROMol": [mol]}), ReadOptions(keep_columns=False))
    assert isinstance(row, Molecule)
    assert (row.formula, row.name) == ("C2H6O", "a")


def test_data_frames_without_structures_or_rows():
    with pytest.raises(InputError, match="no column is called 'smiles'"):
        list(read(pd.DataFrame({"x": [1, 2]})))
    with pytest.raises(InputError, match="is empty"):
        list(read(pd.DataFrame({"smiles": []})))


def test_parquet(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1")
    frame = pd.DataFrame(
        {
            "smiles": ["CCO"],
            "when": [pd.Timestamp(0)],
            "x": [float("nan")],
            "n": pd.array([1], "Int64"),
        }
    )
    monkeypatch.setattr(pd, "read_parquet", lambda path: frame)
    (row,) = read(path, ALL)
    assert row == SmilesRow(
        "CCO", "", f"{path}:1", {"when": "1970-01-01 00:00:00", "x": None, "n": 1}
    )
    assert kept_columns([path], ALL) == ["when", "x", "n"]

    def missing(path):
        raise ImportError("Unable to find a usable engine")

    monkeypatch.setattr(pd, "read_parquet", missing)
    with pytest.raises(InputError, match="pip install pyarrow, or save the table as csv"):
        list(read(path))


def test_records_are_bounded(monkeypatch):
    monkeypatch.setattr(table_files, "MAX_RECORD_LINES", 3)
    text = '"a\nb\nc"\n"d\ne\nf\ng"\n'
    found = list(table_files._records(Lines(text.splitlines(keepends=True)), ","))
    assert [(r.place, bool(r.fault)) for r in found] == [
        (1, False),
        (4, True),
        (5, False),
        (6, False),
        (7, False),
    ]


@pytest.mark.parametrize("note", ["see\nC,CC,3\n", "\nm7,CC,b\nm8,CCC,c\nend", "a\r\nC,CC,3\r\nb"])
def test_records_that_a_quoted_cell_cites_are_no_rows(tmp_path, note):
    for columns in (["note", "smiles", "id"], ["id", "smiles", "note"]):
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerow({"note": note, "smiles": "CCO", "id": "m1"})
        writer.writerow({"note": "x", "smiles": "CCN", "id": "m2"})
        found = rows(tmp_path / "a.csv", text.getvalue(), keep_columns=True)
        assert [(row.smiles, row.name) for row in found] == [("CCO", "m1"), ("CCN", "m2")]


def test_titles_of_a_data_frame_are_no_row():
    found = list(read(pd.DataFrame([["CCO", 2], ["CCC", 3]])))
    assert [row.smiles for row in found] == ["CCO", "CCC"]
