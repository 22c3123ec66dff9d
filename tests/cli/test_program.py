"""The command line: every command, its help, its errors and exit statuses."""

import errno
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

import molgeo
from molgeo.chem.files.formats import FORMATS as INPUTS
from molgeo.cli import program as cli
from molgeo.data.qm9.dataset import QM9, Split
from molgeo.data.qm9.properties import PROPERTIES
from molgeo.prediction.rows import ROW_COLUMNS
from molgeo.prediction.writers import FORMATS as OUTPUTS
from molgeo.predictor.checkpoint import (
    DEFAULT_MODEL,
    DEFAULT_SMILES_MODEL,
    load,
    read_header,
    save_checkpoint,
    shipped,
)
from molgeo.predictor.header import Measured
from molgeo.runtime.errors import MEANING, UserError

MODEL = str(Path(__file__).parents[1] / "fixtures" / "format_1.safetensors")
CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def run(capsys, *words):
    status = cli.main([str(word) for word in words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_shows_a_working_example(capsys, command):
    status, out, _ = run(capsys, *command.split(), "--help")
    example = cli.COMMANDS[command].example
    assert status == 0
    assert example in " ".join(out.split())
    assert example.startswith(f"molgeo {command}")
    # The example is accepted by the parser itself.
    assert cli.parse(example.split()[1:])[0].name.startswith(command)


NEW_COMMAND = '''
"""Say hello."""
from molgeo.cli.command import command


def _options(parser):
    parser.add_argument("--name", default="you", type=str, help="whom to greet")


@command("molgeo hello --name me", _options)
def hello(options):
    """Greet."""
    print(f"hello {options.name}")
    return 0
'''


def test_a_new_command_is_one_file_and_one_line(capsys, monkeypatch, tmp_path):
    (tmp_path / "hello_command.py").write_text(NEW_COMMAND)
    monkeypatch.syspath_prepend(tmp_path)
    modules = [*cli.MODULES, "hello_command"]  # the line
    monkeypatch.setattr(cli, "COMMANDS", cli.commands_of(modules))
    assert run(capsys, "hello", "--name", "me") == (0, "hello me\n", "")
    status, out, _ = run(capsys, "hello", "--help")
    assert status == 0
    assert "example: molgeo hello --name me" in out
    assert "--debug" in out
    status, _, err = run(capsys, "hello", "--nam", "me")
    assert status == 2
    assert "did you mean '--name'" in err
    assert "hello" in run(capsys, "--help")[1]
    assert "did you mean 'hello'" in run(capsys, "helo")[2]


@pytest.mark.parametrize(
    ("words", "given", "meant"),
    [
        (["predict", "C", "--propertis", "gap"], "--propertis", "--properties"),
        (["evaluate", "--splt", "test"], "--splt", "--split"),
        (["train", "--data", "qm9", "--learning_rat", "1"], "learning_rat", "learning_rate"),
        (["predit", "C"], "predit", "predict"),
        (["data", "prepar"], "prepar", "prepare"),
        (["data", "prepare", "qm"], "qm", "qm9"),
        (["predict", "C", "--format", "tabel"], "tabel", "table"),
        (["evaluate", "--debgu"], "--debgu", "--debug"),
    ],
)
def test_a_typo_names_the_nearest(capsys, words, given, meant):
    status, _, err = run(capsys, *words)
    assert status == 2
    assert given in err
    assert f"did you mean {meant!r}" in err
    assert err.count("\n") == 1
    assert "typing" not in err


def test_a_wrong_choice_lists_the_choices(capsys):
    status, _, err = run(capsys, "predict", "C", "--format", "xml")
    assert status == 2
    assert "expected one of table, csv, tsv, json, jsonl, sdf. Got value: xml" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "molgeo: expected a command; molgeo --help lists them"),
        (["data"], "molgeo data: expected a command; molgeo data --help lists them"),
        (["predict"], "INPUT: is missing"),
        (["data", "label"], "INPUT, --calculator, --output: is missing"),
        (["data", "prepare", "qm8"], "DATA: expected one of qm9. Got value: qm8"),
        (["md", "C", "--steps", "x"], "--steps: expected int. Got value: x"),
    ],
)
def test_what_is_missing_or_wrong_is_called_as_users_call_it(capsys, words, message):
    status, _, err = run(capsys, *words)
    assert status == 2
    assert err.startswith(f"molgeo: {message}")


@pytest.mark.parametrize("command", ["", *cli.COMMANDS])
def test_every_help_has_an_example_and_says_how_to_see_a_traceback(capsys, command):
    status, out, _ = run(capsys, *command.split(), "--help")
    assert status == 0
    assert "--debug" in out
    assert f"example: molgeo {command}" in out


def test_debug_is_no_key_of_a_configuration(capsys):
    status, out, _ = run(capsys, "train", "--data", "qm9", "--print_config")
    assert status == 0
    assert "debug" not in yaml.safe_load(out)


def test_a_typo_in_a_config_key_names_the_nearest(capsys, tmp_path):
    config = tmp_path / "bad.yaml"
    config.write_text("data: qm9\nmodel: schnet\nbatchsize: 3\n")
    status, _, err = run(capsys, "train", "--config", config)
    assert status == 2
    assert "'batchsize'" in err
    assert "did you mean 'batch_size'" in err
    assert err.count("\n") == 1


def test_a_typo_in_the_backbone_names_the_nearest(capsys, tmp_path, small_data):
    words = ["--data", "qm9", "--data_dir", small_data, "--backbone.n_block", "2"]
    status, _, err = run(capsys, "train", *words)
    assert status == 2
    assert "did you mean 'n_blocks'" in err


def test_a_wrong_value_names_the_field(capsys):
    status, _, err = run(capsys, "train", "--data", "qm9", "--batch_size", "many")
    assert status == 2
    assert "batch_size" in err
    assert "many" in err


def test_a_missing_config_is_named(capsys):
    status, _, err = run(capsys, "train", "--config", "nowhere.yaml")
    assert status == 2
    assert "nowhere.yaml" in err


def test_predict_prints_every_property(capsys):
    status, out, _ = run(capsys, "predict", "CCO", "--model", MODEL, "--format", "table")
    assert status == 0
    assert "C2H6O" in out
    assert "dipole moment" in out


def test_some_rows_fail_with_status_3(capsys):
    status, out, _ = run(capsys, "predict", "CCO", "C1CC", "--model", MODEL, "--format", "jsonl")
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 3
    assert [row["status"] for row in rows] == ["ok", "error"]
    assert rows[1]["message"]


def test_predict_writes_what_pandas_reads(capsys, tmp_path):
    output = tmp_path / "out.csv"
    words = ["predict", "CCO", "C", "--model", MODEL, "--properties", "gap,mu", "--output", output]
    assert run(capsys, *words)[0] == 0
    table = pd.read_csv(output)
    assert list(table.columns[-2:]) == ["gap_eV", "mu_debye"]
    assert len(table) == 2


def test_an_unreadable_input_is_status_2(capsys):
    status, _, err = run(capsys, "predict", "no_such_file.sdf", "--model", MODEL)
    assert status == 2
    assert "no_such_file.sdf" in err
    assert "Traceback" not in err


def test_an_unknown_model_is_status_2(capsys):
    status, _, err = run(capsys, "predict", "C", "--model", "nothing")
    assert status == 2
    assert "'nothing'" in err


def test_an_unknown_property_is_status_2(capsys):
    status, _, err = run(capsys, "predict", "C", "--model", MODEL, "--properties", "colour")
    assert status == 2
    assert "colour" in err


def test_a_negative_limit_is_status_2(capsys, small_data):
    words = ["evaluate", "--model", MODEL, "--data-dir", small_data, "--limit", "-1"]
    status, out, err = run(capsys, *words)
    assert (status, out) == (2, "")
    assert "limit must be 0 or more, got -1" in err


def raising(error):
    def run(_):
        raise error

    return replace(cli.COMMANDS["models"], run=run)


@pytest.mark.parametrize("error", [ValueError("odd"), TypeError("odd"), OSError("odd")])
def test_a_bug_is_status_1_and_tells_of_debug(capsys, monkeypatch, error):
    monkeypatch.setitem(cli.COMMANDS, "models", raising(error))
    status, _, err = run(capsys, "models")
    assert status == 1
    assert err == f"molgeo: {type(error).__name__}: odd (--debug shows where)\n"


def test_the_kind_of_an_error_decides_the_status(capsys, monkeypatch):
    class OneOfOursError(UserError):
        exit_status = 7

    monkeypatch.setitem(cli.COMMANDS, "models", raising(OneOfOursError("try another")))
    assert run(capsys, "models") == (7, "", "molgeo: try another\n")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, MemoryError])
def test_what_the_user_cannot_mend_is_status_1(capsys, monkeypatch, error):
    monkeypatch.setitem(cli.COMMANDS, "models", raising(error))
    status, _, err = run(capsys, "models")
    assert status == 1
    assert err.startswith("molgeo: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("error", [FileNotFoundError, FileExistsError, PermissionError])
def test_a_file_in_the_way_is_status_2(capsys, monkeypatch, error):
    monkeypatch.setitem(cli.COMMANDS, "models", raising(error))
    assert run(capsys, "models")[0] == 2


def test_an_error_of_a_file_names_it(capsys, monkeypatch):
    error = OSError(errno.EISDIR, "Is a directory", "/some/folder")
    monkeypatch.setitem(cli.COMMANDS, "models", raising(error))
    status, _, err = run(capsys, "models")
    assert status == 2
    assert err == "molgeo: /some/folder: Is a directory\n"
    monkeypatch.setitem(cli.COMMANDS, "models", raising(OSError(errno.ENOSPC, "disk full")))
    assert run(capsys, "models")[0] == 2


def test_debug_shows_the_traceback():
    with pytest.raises(ValueError, match="nothing"):
        cli.main(["--debug", "predict", "C", "--model", "nothing"])


def test_evaluate_prints_one_json_object(capsys, small_data):
    words = ["evaluate", "--model", MODEL, "--data-dir", small_data, "--split", "train"]
    status, out, _ = run(capsys, *words, "--limit", "20")
    result = json.loads(out)
    assert status == 0
    assert result["n"] == 20
    assert result["geometry"] == "dft"
    assert set(result["mae"]) == set(result["rmse"])
    assert all(result["rmse"][c] >= result["mae"][c] > 0 for c in result["mae"])


def test_a_report_of_another_kind_is_refused(capsys):
    status, _, err = run(capsys, "evaluate", "--data", "qm9", "--report", "a.pdf")
    assert status == 2
    assert err == "molgeo: --report: expected a name that ends in .html, .htm, got a.pdf\n"


def test_a_calibrated_checkpoint_tells_its_errors(capsys, small_data, tmp_path, monkeypatch):
    path = shutil.copy(MODEL, tmp_path / "model.safetensors")
    words = ["calibrate", "--model", path, "--data-dir", small_data]
    status, _, err = run(capsys, *words)
    assert status == 2
    assert err == (
        "molgeo: calibrate: expected at least 9 validation molecules with mu, got 5: raise --limit "
        "(0 takes all), or train with a larger validation part\n"
    )
    train, few, test = QM9(small_data / "qm9").split()
    monkeypatch.setattr(QM9, "split", lambda self: Split(few, train, test))
    status, out, err = run(capsys, *words, "--limit", "15")
    assert status == 0, err
    header = read_header(path)
    assert header.from_smiles == Measured(**json.loads(out))
    assert header.from_smiles.geometry == "smiles"
    assert "From SMILES" in (tmp_path / "model.md").read_text()
    assert [one.conformers for one in header.calibration] == [0, 1, 2, 4, 8]
    assert header.calibration[0].n == 15
    assert header.config == read_header(MODEL).config
    for before, after in zip(load(MODEL).parameters(), load(path).parameters(), strict=True):
        assert torch.equal(before, after)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--energy-unit", "eV"],
            "--energy-unit: means nothing for --data qm9, which takes --split",
        ),
        (["--conformers", "2"], "conformers: --geometry dft has one of each molecule"),
    ],
)
def test_evaluate_ignores_no_option(capsys, small_data, words, message):
    asked = ["evaluate", "--model", MODEL, "--data-dir", small_data, *words]
    status, out, err = run(capsys, *asked)
    assert (status, out) == (2, "")
    assert err.startswith(f"molgeo: {message}")


def test_evaluate_in_reduced_precision(capsys, small_data):
    words = ["evaluate", "--model", MODEL, "--data-dir", small_data, "--split", "train"]
    results = []
    for precision in ("highest", "medium"):
        status, out, _ = run(capsys, *words, "--matmul-precision", precision)
        assert status == 0
        results.append(json.loads(out)["mae"])
    assert torch.get_float32_matmul_precision() == "highest"
    for column, value in results[0].items():
        assert results[1][column] == pytest.approx(value, rel=0.5)


@pytest.mark.parametrize("geometry", ["mmff", "smiles", "flat"])
def test_evaluate_at_cheap_geometries_counts_failures(capsys, small_data, geometry):
    words = ["evaluate", "--model", MODEL, "--data-dir", small_data, "--split", "train"]
    words += ["--limit", "10", "--geometry", geometry, "--conformers", "2"]
    status, out, _ = run(capsys, *words)
    result = json.loads(out)
    assert status == 0
    assert result["n"] + result["failed"] == 10
    assert sum(result["reasons"].values()) == result["failed"]
    assert result["geometry"] == geometry


def test_prepare_makes_cheap_geometries_once(capsys, small_data, tmp_path):
    (tmp_path / "qm9").mkdir()
    shutil.copy(small_data / "qm9" / "qm9.safetensors", tmp_path / "qm9")
    words = ["data", "prepare", "qm9", "--data-dir", tmp_path, "--conformers"]
    status, out, err = run(capsys, *words)
    names = [Path(line).name for line in out.splitlines()]
    assert status == 0
    assert names == ["qm9.safetensors", "qm9_mmff.safetensors", "qm9_smiles.safetensors"]
    assert err == "molgeo: mmff: 61 mmff\nmolgeo: smiles: 61 etkdg+mmff\n"
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "qm9").iterdir()}
    assert run(capsys, *words, "2", "--geometries", "smiles,mmff")[0] == 0
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "qm9").iterdir()} == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--conformers", "0.5"], "expected int"),
        (["--conformers", "-1"], "expected 1 to 255, got -1"),
        (["--conformers", "1", "--geometries", "dft"], "expected some of mmff, smiles, flat"),
    ],
)
def test_prepare_refuses_wrong_geometries(capsys, small_data, words, message):
    status, _, err = run(capsys, "data", "prepare", "qm9", "--data-dir", small_data, *words)
    assert status == 2
    assert message.lower() in err.lower()


def test_evaluate_without_data_says_what_to_do(capsys, tmp_path):
    status, _, err = run(capsys, "evaluate", "--model", MODEL, "--data-dir", tmp_path)
    assert status == 2
    assert "molgeo data prepare qm9" in err


def test_info_prints_the_card(capsys):
    status, out, _ = run(capsys, "info", MODEL)
    assert status == 0
    assert "H, C, N, O, F" in out
    assert "cal/mol/K" in out


def test_a_strangers_card_is_shown_and_not_obeyed(capsys, tmp_path):
    evil = "\x1b]0;title\x07[bold]x[/red]\u202eabc"
    model = load("schnet-qm9")
    evil_fields = dict.fromkeys(("level_of_theory", "geometry_source", "hardware", "data"), evil)
    fields = ("name", "n_train", "split", "epochs", "steps", "date")
    header = {name: getattr(model.header, name) for name in fields} | evil_fields
    header["outside"] = {"n": 5, "mae": {"gap_eV": 1.0}, "source": evil}
    save_checkpoint(model, tmp_path / "[i]a.safetensors", header)
    status, out, err = run(capsys, "info", tmp_path / "[i]a.safetensors")
    assert (status, err) == (0, "")
    assert all(c.isprintable() or c == "\n" for c in out)
    assert "[i]a" in out


def test_messages_do_not_move_the_cursor(capsys):
    evil = "\x1b]0;title\x07\u202eabc"
    for words in (["info", evil], ["predict", "C", "--model", evil], ["predict", f"--{evil}"]):
        status, _, err = run(capsys, *words)
        assert status == 2
        assert "\\x1b]0;title\\x07\\u202eabc" in err
        assert all(c.isprintable() for c in err[:-1])


def test_the_help_of_predict_tells_what_there_is(capsys):
    _, out, _ = run(capsys, "predict", "--help")
    for known in PROPERTIES.values():
        assert re.search(
            rf"^  {known.name} +{re.escape(known.unit)} +{known.description}$", out, re.M
        )
    for name in (*INPUTS, *OUTPUTS):
        assert re.search(rf"^  {name} +\.", out, re.MULTILINE)
    for name in ROW_COLUMNS:
        assert re.search(rf"^  {name}  +\w", out, re.MULTILINE)
    for status, meaning in MEANING.items():
        assert f"  {status}  {meaning}\n" in out


def test_models_lists_what_is_shipped(capsys):
    status, out, _ = run(capsys, "models")
    assert status == 0
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert "geometries" in rows[DEFAULT_MODEL]
    assert "SMILES" in rows[DEFAULT_SMILES_MODEL]
    assert "110,000" in rows["schnet-qm9"]
    assert set(shipped()) <= set(rows)  # none is cut


def test_a_closed_pipe_is_no_error(tmp_path):
    code = "from molgeo import cli; raise SystemExit(cli.main(['models']))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        err = process.stderr.read()
        process.wait()
    assert err == b""


def test_the_package_runs_as_a_module():
    words = [sys.executable, "-m", "molgeo", "--version"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert molgeo.__version__ in done.stdout


def test_export_writes_a_program_and_says_what_it_gives(capsys, tmp_path):
    output = tmp_path / "model.pt2"
    status, out, error = run(capsys, "export", MODEL, "--output", output)
    assert (status, out) == (0, "")
    assert f"{output}: {load(MODEL).name} for cpu, {output.stat().st_size / 1e6:.1f} MB: " in error
    told = {"molgeo.json": ""}
    assert sorted(torch.export.load(output, extra_files=told).module().state_dict())
    assert error.strip().endswith(", ".join(json.loads(told["molgeo.json"])["outputs"]))


def test_export_replaces_a_file_only_with_force(capsys, tmp_path, monkeypatch):
    output = tmp_path / "model.pt2"
    output.write_text("before")
    with monkeypatch.context() as none:
        none.setattr(
            "molgeo.predictor.checkpoint.load", None
        )  # what is refused is refused before any work
        for name, words in {
            output: "exists: --force replaces it",
            tmp_path / "model.pth": "expected a name that ends in .pt2",
            tmp_path / "nowhere" / "model.pt2": "there is no such folder",
        }.items():
            status, _, error = run(capsys, "export", MODEL, "--output", name)
            assert status == 2
            assert words in error
    assert output.read_text() == "before"
    assert run(capsys, "export", MODEL, "--output", output, "--force")[0] == 0
    assert torch.export.load(output).module()
