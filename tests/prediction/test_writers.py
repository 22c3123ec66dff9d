import csv
import io
import json
import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem

from molgeo.prediction.layout import Layout
from molgeo.prediction.writers import FORMATS, WRITERS, inert

COLUMNS = ["id", "name", "status", "gap_eV", "n"]


def row(k, status="ok", name="", gap=0.5):
    value = k + gap if status == "ok" else None
    return {"id": k, "name": name, "status": status, "gap_eV": value, "n": None}


def no_digits(row):
    return {}


def written(format, rows, digits=no_digits, raw=False, block="", columns=COLUMNS):
    file = io.StringIO(newline="")
    out = WRITERS[format](file, Layout(columns, {}, digits, raw))
    for each in rows:
        out.write(each, block)
    out.close()
    return file.getvalue()


@pytest.mark.parametrize("format", ["csv", "tsv", "jsonl", "json", "sdf"])
def test_each_row_is_handed_over_before_the_next(format):
    file = io.StringIO()
    out = WRITERS[format](file, Layout(COLUMNS, {}, no_digits))
    for k in range(3):
        out.write(row(k))
        assert f"{k}.5" in file.getvalue()


def test_json_is_a_list_also_without_rows():
    assert json.loads(written("json", [])) == []
    assert json.loads(written("json", [row(0)])) == [row(0)]


def test_numbers_have_the_digits_that_mean_something():
    def some(row):
        return {"gap_eV": 2}

    rows = [row(0, gap=1.30456), row(1, gap=1.0)]
    assert "1.30," in written("csv", rows, some)
    assert [r["gap_eV"] for r in json.loads(written("json", rows, some))] == [1.3, 2.0]
    assert json.loads(written("jsonl", rows[:1], some))["gap_eV"] == 1.3
    assert ">  <gap_eV>\n1.30\n" in written("sdf", rows, some)
    assert "1.30456," in written("csv", rows)


def test_json_has_what_comes_along_of_any_kind():
    odd = {"id": np.int64(3), "name": np.datetime64("2020-01-01"), "n": [1], "gap_eV": np.nan}
    for format in ("json", "jsonl", "csv", "sdf"):
        text = written(format, [row(0) | odd])
        assert "2020-01-01" in text
    read = json.loads(written("jsonl", [row(0) | odd]))
    assert (read["id"], read["n"], read["gap_eV"]) == (3, [1], None)


@pytest.mark.parametrize(
    "cell",
    ["=1+1", "+SUM(A1)", "-2+3", "@cmd", "\t=1", "\r=1", "\n=1", "  =1", "＝1", "-", "=", "+1 2"],
)
def test_what_a_spreadsheet_takes_for_a_formula_is_made_inert(cell):
    assert inert(cell) == "'" + cell
    assert f"'{cell}" in written("csv", [row(0, name=cell)], raw=False).replace('"', "")
    assert "'" not in written("csv", [row(0, name=cell)], raw=True)


@pytest.mark.parametrize(
    "cell", ["-1.5", "+3", "-1e-5", "-.5", "", "CCO", "[NH4+]", "C=C", "(-)-menthol", "a=1", "0"]
)
def test_numbers_and_structures_stay_as_they_are(cell):
    assert inert(cell) == cell


def test_names_of_columns_are_made_inert_too():
    assert written("csv", [], columns=["id", "=1+1"]) == "id,'=1+1\n"


def test_numbers_of_properties_are_not_touched():
    assert written("csv", [row(0, gap=-2.5)]).splitlines()[1] == "0,,ok,-2.5,"


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=5), st.sampled_from(["csv", "tsv"]))
def test_cells_are_read_back(names, format):
    text = written(format, [row(k, name=name) for k, name in enumerate(names)], raw=True)
    delimiter = "," if format == "csv" else "\t"
    read = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
    assert [r["name"] for r in read] == names
    assert all(len(r) == len(COLUMNS) and None not in r for r in read)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.text(string.printable + "＝@\x1b", max_size=8))
def test_no_cell_begins_as_a_formula(name):
    cell = next(csv.reader(io.StringIO(written("csv", [row(0, name=name)]), newline="")))
    (read,) = list(csv.DictReader(io.StringIO(written("csv", [row(0, name=name)]), newline="")))
    assert cell == COLUMNS
    starts = read["name"].lstrip(" ")[:1]
    if starts and starts in "=+-@\t\r\n＝":
        float(read["name"])  # only a number may


def test_records_of_sdf_keep_their_places():
    mol = Chem.AddHs(Chem.MolFromSmiles("C"))
    block = Chem.MolToMolBlock(mol)
    good = written("sdf", [row(0, name="a\nb > <x>")], block=block)
    text = good + written("sdf", [row(1, "error", "bad")])
    supplier = Chem.SDMolSupplier()
    supplier.SetData(text, removeHs=False)
    first, second = list(supplier)
    assert first.GetNumAtoms() == 5
    assert first.GetProp("_Name") == "a b > <x>"
    assert first.GetPropsAsDict()["gap_eV"] == 0.5
    assert second.GetNumAtoms() == 0
    assert second.GetProp("status") == "error"
    assert not second.HasProp("gap_eV")


def test_every_format_has_a_writer():
    assert all(isinstance(written(format, []), str) for format in FORMATS)
