import io
import json
import sys

import numpy as np
import pandas as pd
import pytest

from molgeo import checkpoint
from molgeo.chem.molecule import InputError
from molgeo.prediction import predict
from molgeo.prediction.columns import ROW_COLUMNS
from molgeo.prediction.command import run_predict
from molgeo.prediction.settings import OutputSettings, PredictSettings
from molgeo.properties import PROPERTIES, QM9_PROPERTIES

PROPERTY_COLUMNS = [known.column for known in map(PROPERTIES.__getitem__, QM9_PROPERTIES)]


def command(inputs, model, properties=None, strict=False, **output):
    settings = PredictSettings(model, properties, strict=strict)
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
    assert list(table) == ["id", "molecule", "gap_eV", "mu_debye", "model", "message"]
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
    assert "row 1 (C1CC)" in capsys.readouterr().err
    assert [row["smiles"] for row in json.loads(output.read_text())] == ["C"]


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
