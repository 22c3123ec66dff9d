import io
import json
import sys

import numpy as np
import pandas as pd
import pytest

from molgeo.data.qm9.properties import PROPERTIES
from molgeo.prediction import predict
from molgeo.prediction.command import run_predict
from molgeo.prediction.rows import ROW_COLUMNS
from molgeo.prediction.settings import OutputSettings, PredictSettings
from molgeo.predictor import checkpoint
from molgeo.runtime.errors import InputError

PROPERTY_COLUMNS = [known.column for known in PROPERTIES.values()]


def command(inputs, model, properties=None, strict=False, reading=None, **output):
    settings = PredictSettings(model, properties, strict=strict, **(reading or {}))
    return run_predict(inputs, settings, OutputSettings(**output))


READERS = {
    "csv": lambda path: pd.read_csv(path),
    "json": lambda path: pd.read_json(path, precise_float=True),
    "jsonl": lambda path: pd.read_json(path, lines=True, precise_float=True),
    "txt": lambda path: pd.read_csv(path, sep=r"\s{2,}", engine="python", na_values="-"),
}


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl"])
def test_every_format_is_read_back_by_pandas(shipped, model, tmp_path, suffix):
    source, output = tmp_path / "in.smi", tmp_path / f"out.{suffix}"
    source.write_text('CCO "quoted", name\nC1CC\nO é\nCBr\n', encoding="utf-8")
    assert command([str(source)], shipped, output=str(output)) == 3
    table = READERS[suffix](output)
    expected = predict([source], model)
    assert list(table) == list(expected)
    assert table.id.tolist() == [0, 1, 2, 3]
    assert table.status.tolist() == ["ok", "error", "ok", "error"]
    assert table.name.fillna("").tolist() == ['"quoted", name', "", "é", ""]
    assert table.message.fillna("").tolist() == expected.message.tolist()
    np.testing.assert_array_equal(
        table.loc[[0, 2], PROPERTY_COLUMNS].to_numpy(float),
        expected.loc[[0, 2], PROPERTY_COLUMNS].to_numpy(float),
    )
    assert table.loc[[1, 3], PROPERTY_COLUMNS].isna().all(axis=None)


def test_a_plain_table_is_read_back_too(shipped, tmp_path):
    output = tmp_path / "out.txt"
    assert command(["CCO", "C1CC", "C#N"], shipped, "gap,mu", output=str(output)) == 3
    table = READERS["txt"](output)
    assert list(table) == ["id", "molecule", "gap_eV", "mu_debye", "domain", "model", "message"]
    assert set(table.model) == {"toy"}
    assert table.molecule.tolist() == ["CCO", "C1CC", "C#N"]
    assert table.gap_eV.notna().tolist() == [True, False, True]


def test_standard_input_to_standard_output(shipped, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("CCO ethanol\nO\n"))
    assert command(["-"], shipped, "gap", format="jsonl") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["name"], row["input"]) for row in rows] == [
        ("ethanol", "stdin:1"),
        ("", "stdin:2"),
    ]


def test_a_pipe_gets_what_pandas_reads(shipped, capsys):
    assert command(["CCO"], shipped, "gap") == 0
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert list(table) == [*ROW_COLUMNS, "gap_eV"]
    assert table.formula.tolist() == ["C2H6O"]


def test_strict_keeps_the_rows_before(shipped, tmp_path, capsys):
    output = tmp_path / "out.json"
    status = command(["C", "C1CC", "O"], shipped, output=str(output), strict=True)
    assert status == 3
    message = capsys.readouterr().err
    assert "row 1 (C1CC)" in message
    assert "none failed" not in message
    assert "the first row is kept in" in message
    assert [row["smiles"] for row in json.loads(output.read_text())] == ["C"]


@pytest.mark.parametrize("inputs", [["C", "C1CC", "O"], ["C1CC", "C", "O"]])
def test_a_run_that_strict_stopped_goes_on(shipped, tmp_path, capsys, inputs):
    output = str(tmp_path / "out.json")
    assert command(inputs, shipped, output=output, strict=True) == 3
    assert command(inputs, shipped, output=output, strict=True, resume=True) == 3
    assert command(inputs, shipped, output=output, resume=True) == 3
    assert [row["input"] for row in READERS["json"](output).to_dict("records")] == inputs
    capsys.readouterr()
    assert command(inputs, shipped, output=output, resume=True) == 0
    assert "nothing is left to do" in capsys.readouterr().err


def test_a_bad_input_is_found_before_the_output_is_touched(shipped, tmp_path):
    output = tmp_path / "out.csv"
    output.write_text("precious")
    with pytest.raises(InputError, match=r"gone\.xyz"):
        command(["C", str(tmp_path / "gone.xyz")], shipped, output=str(output))
    assert output.read_text() == "precious"


def test_an_unwritable_output_is_found_before_any_work(shipped, tmp_path, monkeypatch):
    def never(*_):
        raise AssertionError("work has started")

    monkeypatch.setattr(checkpoint, "load", never)
    with pytest.raises(InputError, match=r"out\.csv cannot be written: there is no folder"):
        command(["C"], shipped, output=str(tmp_path / "no folder" / "out.csv"))


# What comes along from inputs

TABLE = """compound id,structure,note,gap_eV
x1,CCO,"two
lines",9
x2,C[NH3+].[Cl-],,8
x3,C1CC
"""


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl"])
def test_columns_of_a_table_come_along(shipped, tmp_path, capsys, suffix):
    source, output = tmp_path / "in.csv", tmp_path / f"out.{suffix}"
    source.write_text(TABLE)
    reading = {"keep_columns": True, "strip_salts": True}
    assert command([str(source)], shipped, "gap", reading=reading, output=str(output)) == 3
    table = READERS[suffix](output)
    kept = ["stripped", "compound id", "structure", "note", "input_gap_eV"]
    assert list(table)[-len(kept) :] == kept
    assert table["structure"].tolist() == ["CCO", "C[NH3+].[Cl-]", "C1CC"]
    assert table["smiles"].tolist() == ["CCO", "CN", "C1CC"]
    assert table["stripped"].fillna("").tolist() == ["", "[Cl-]", ""]
    assert table["note"].fillna("").tolist() == ["two\nlines", "", ""]
    assert table["name"].tolist() == table["compound id"].tolist() == ["x1", "x2", "x3"]
    said = f"molgeo: {source}: SMILES from column 'structure', names from column 'compound id'\n"
    assert capsys.readouterr().err.count(said) == 1


def test_the_identifier_comes_along_unasked(shipped, tmp_path):
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("ID,Name,SMILES,x\n7,ethanol,CCO,1\n")
    assert command([str(source), "O"], shipped, "gap", output=str(output)) == 0
    table = pd.read_csv(output)
    assert list(table) == [*ROW_COLUMNS, "gap_eV", "input_ID"]
    assert table.input_ID.fillna(0).tolist() == [7, 0]


def test_columns_from_standard_input(shipped, monkeypatch, capsys):
    text = io.TextIOWrapper(io.BytesIO(b"smiles\tname\tx\nCCO\ta\t1\n"), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", text)
    reading = {"keep_columns": True, "input_format": "tsv"}
    assert command(["-"], shipped, "gap", reading=reading, format="csv") == 0
    out, err = capsys.readouterr()
    assert pd.read_csv(io.StringIO(out)).x.tolist() == [1]
    assert "molgeo: stdin: SMILES from column 'smiles', names from column 'name'" in err


def test_another_format_is_refused_before_anything_is_written(shipped, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("name,smiles\na,CCO\n"))
    with pytest.raises(InputError, match=r"stdin looks like csv.*: say --input-format csv"):
        command(["-"], shipped, "gap", format="csv")
    assert capsys.readouterr().out == ""


def test_a_field_that_comes_late_is_left_out_and_told(shipped, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("molgeo.chem.files.readers.N_ROWS", 1)
    block = "{}\n\n\n  1  0  0  0  0  0  0  0  0  0999 V2000\n{}M  END\n> <{}>\n1\n\n$$$$\n"
    atom = "    0.0000    0.0000    0.0000 O   0  0\n"
    source, output = tmp_path / "in.sdf", tmp_path / "out.csv"
    source.write_text("".join(block.format(name, atom, name) for name in ("first", "second")))
    reading = {"keep_columns": True}
    assert command([str(source)], shipped, "gap", reading=reading, output=str(output)) == 0
    assert list(pd.read_csv(output))[-2:] == ["gap_eV", "first"]
    assert f"'second' of {source}:2 is left out" in capsys.readouterr().err


def test_mutated_smiles_are_as_many_rows_in_order(shipped, tmp_path):
    generator = np.random.default_rng(0)
    alphabet = list("CCCNOcno()[]=#123@+-/\\.%é日😀\u2212\x00\x1b")
    texts = ["".join(generator.choice(alphabet, generator.integers(1, 25))) for _ in range(300)]
    source, output = tmp_path / "in.csv", tmp_path / "out.jsonl"
    source.write_text("smiles,k\n" + "".join(f"{text},{k}\n" for k, text in enumerate(texts)))
    reading = {"keep_columns": True}
    assert command([str(source)], shipped, "gap", reading=reading, output=str(output)) == 3
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["k"] for row in rows] == [str(k) for k in range(300)]
    assert all(row["message"] for row in rows if row["status"] == "error")


def test_a_column_that_is_of_no_use_is_told(shipped, tmp_path, capsys):
    reading = {"smiles_column": "structure"}
    assert command(["CCO"], shipped, "gap", reading=reading) == 0
    assert "--smiles-column is not used: no input is a table" in capsys.readouterr().err
    (tmp_path / "a.csv").write_text(TABLE)
    command([str(tmp_path / "a.csv")], shipped, "gap", reading=reading)
    assert "of no use" not in capsys.readouterr().err
