import pytest
from rdkit import Chem

from molgeo.chem.files.formats import ReadOptions
from molgeo.chem.files.rdkit_files import data_fields
from molgeo.chem.files.readers import kept_columns, read

ALL = ReadOptions(keep_columns=True)


def written(path, *records):
    """An SDF by RDKit of titles and fields."""
    with Chem.SDWriter(str(path)) as writer:
        for title, fields in records:
            mol = Chem.MolFromSmiles("CCO")
            mol.SetProp("_Name", title)
            for name, value in fields.items():
                mol.SetProp(name, value)
            writer.write(mol)
    return path


def test_fields_as_rdkit_reads_them(tmp_path):
    fields = {"ID": "M7", "a b": "x,y", "lines": "one\ntwo\nthree", "empty": "", "é": "日"}
    path = written(tmp_path / "a.sdf", ("ethanol", fields))
    mol = next(Chem.SDMolSupplier(str(path)))
    found = data_fields(path.read_text().splitlines())
    assert found == mol.GetPropsAsDict(autoConvertStrings=False) == fields
    (row,) = read(path, ALL)
    assert (row.name, row.extra) == ("ethanol", fields)


@pytest.mark.parametrize("line", ["> <X>", ">  <X> (3)", "> 25 <X>", "><X>"])
def test_forms_of_a_field(line):
    assert data_fields(["M  END", line, "1", "", "$$$$"]) == {"X": "1"}


def test_a_field_without_a_blank_line_after_it():
    assert data_fields(["> <X>", "1"]) == {"X": "1"}


def test_a_field_names_a_record_without_title(tmp_path):
    path = written(
        tmp_path / "a.sdf",
        ("", {"pKa": "4", "compound id": "M7", "SMILES": "CCO"}),
        ("title", {"pKa": "4", "compound id": "M8"}),
        ("", {"pKa": "4"}),
    )
    assert [row.name for row in read(path)] == ["M7", "title", ""]
    assert [dict(row.extra) for row in read(path)] == [
        {"compound id": "M7"},
        {"compound id": "M8"},
        {},
    ]
    named = ReadOptions(name_column="PKA", keep_columns=False)
    assert [(row.name, row.extra) for row in read(path, named)] == [("4", {})] * 3


def test_fields_are_known_before_the_first_row(tmp_path):
    path = written(tmp_path / "a.sdf", ("a", {"x": "1"}), ("b", {"y": "2", "ID": "7"}))
    assert kept_columns([path], ALL) == ["x", "y", "ID"]
    assert kept_columns([path], ReadOptions()) == ["ID"]
    assert kept_columns([path, "CCO"], ReadOptions(keep_columns=False)) == []


def test_a_broken_record_keeps_its_fields(tmp_path):
    path = tmp_path / "a.sdf"
    path.write_text("title\n\n\nnonsense\n> <ID>\nM7\n\n$$$$\n")
    (bad,) = read(path, ALL)
    assert "broken record" in bad.message
    assert bad.extra == {"ID": "M7"}
