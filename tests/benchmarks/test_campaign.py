"""A campaign goes on from call to call, without the toolkits, and keeps its log."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from molgeo.data.qm9.dataset import QM9
from molgeo.predictor.checkpoint import load, read_header

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "campaign"

CALLS = """
import json, sys
for name in ("rdkit", "ase", "jsonargparse", "pandas", "vesin"):
    sys.modules[name] = None  # an import of it fails
sys.path.insert(0, sys.argv[1])
import run
for words in json.loads(sys.argv[2]):
    run.main(words)
"""


@pytest.fixture
def config(small_data, tmp_path):
    """A run of twelve steps on the compact file."""
    QM9(small_data / "qm9").write_compact(tmp_path / "data" / "qm9" / "qm9_compact.safetensors")
    fields = {
        "data": "qm9",
        "run_dir": str(tmp_path / "run"),
        "name": "schnet-qm9",
        "data_dir": str(tmp_path / "data"),
        "properties": ["gap", "u0"],
        "backbone": {"n_features": 16, "n_filters": 16, "n_blocks": 1, "n_gaussians": 8},
        "head_features": 8,
        "batch_size": 8,
        "max_epochs": 2,
        "accelerator": "cpu",
        "threads": 1,
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(fields))
    return path


@pytest.fixture
def campaign(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.delitem(sys.modules, "run", raising=False)
    import run

    return run


def rows_of(folder):
    with (folder / "campaign.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_from_call_to_call(config, tmp_path):
    short = [str(config), "--minutes", "1e-6", "backbone.cutoff=4.0", "learning_rate=5e-3"]
    calls = [*[short] * 7, [*short, "--minutes", "10"], short]
    done = subprocess.run(
        [sys.executable, "-c", CALLS, str(FOLDER), json.dumps(calls)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "run")
    assert [int(row["first_step"]) for row in rows] == [*range(8), 12]
    assert [int(row["last_step"]) for row in rows] == [*range(1, 8), 12, 12]
    assert [row["finished"] for row in rows] == ["False"] * 7 + ["True"] * 2
    assert rows[4]["val_mae_gap_eV"] == rows[4]["best_val_loss"] == ""
    assert rows[5]["best_step"] == rows[6]["best_step"] == "6"
    assert float(rows[7]["val_mae_gap_eV"]) > 0
    assert float(rows[7]["best_val_loss"]) <= float(rows[5]["best_val_loss"])
    assert rows[0]["start_utc"].endswith("+00:00")
    assert rows[0]["hardware"].startswith("1 CPU thread")
    path = tmp_path / "run" / "schnet-qm9.safetensors"
    assert f"{path}\n" in done.stdout
    assert load(path).property_names == ("gap", "u0")
    header = read_header(path)
    assert header.config.backbone["cutoff"] == 4.0
    assert header.training["learning_rate"] == 5e-3
    assert header.metrics.n == 5
    assert path.with_suffix(".md").exists()


def test_two_processes_are_one_call(config, tmp_path):
    words = ["--minutes", "9", "devices=2", "strategy=ddp", "batch_size=4"]
    done = subprocess.run(
        [sys.executable, FOLDER / "run.py", config, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "campaign:" not in done.stderr
    assert done.stdout.count("start_utc") == 1
    assert [row["finished"] for row in rows_of(tmp_path / "run")] == ["True"]


def test_the_log_is_only_added_to(campaign, tmp_path):
    path = tmp_path / "campaign.csv"
    campaign.append(path, {"a": 1, "b": "x,y"})
    before = path.read_bytes()
    campaign.append(path, {"a": 2, "b": ""})
    assert path.read_bytes() == before + b"2,\n"
    path.write_bytes(before + b"2,t")  # torn by a kill
    campaign.append(path, {"a": 3, "b": "z"})
    assert path.read_bytes() == before + b"2,t\n3,z\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--minutes", "0"], "--minutes: expected more than 0, got 0"),
        (["--minutes", "1", "logger=wandb"], "logger: expected csv"),
        (
            ["--minutes", "1", "batch_sise=8"],
            "'batch_sise': no such key of data: qm9; did you mean",
        ),
        (["--minutes", "1", "data_dir=nowhere"], "molgeo data prepare qm9"),
    ],
)
def test_refused_in_one_line(campaign, config, tmp_path, words, message):
    with pytest.raises(SystemExit, match=f"^campaign: .*{message}"):
        campaign.main([str(config), *words])
    assert not (tmp_path / "run" / "campaign.csv").exists()


def test_large_states_are_cut_and_put_together(campaign, config, tmp_path, monkeypatch):
    """A run whose files are carried on in pieces ends as one that was never left."""
    import carry

    whole = campaign.main([str(config), "--run-dir", str(tmp_path / "whole"), "--minutes", "9"])
    monkeypatch.setattr(carry, "PART_BYTES", 10_000)
    for minutes in ("1e-6", "1e-6", "9"):
        path = campaign.main([str(config), "--minutes", minutes])
        names = {file.name for file in (tmp_path / "run").glob("*.ckpt*")}
        assert sum(name.startswith("last.ckpt.01-of-") for name in names) == 1
        assert "last.ckpt" not in names
        for name in names:
            assert (tmp_path / "run" / name).stat().st_size <= 10_000
    for a, b in zip(load(path).parameters(), load(whole).parameters(), strict=True):
        assert torch.equal(a, b)


def test_parts_beside_a_whole_file_are_forgotten(campaign, tmp_path):
    """What a kill leaves: the run went on from the parts, and saved another state."""
    import carry

    (tmp_path / "last.ckpt").write_bytes(b"new")
    (tmp_path / "last.ckpt.01-of-02").write_bytes(b"old")
    (tmp_path / "best.ckpt.01-of-02").write_bytes(b"a")
    (tmp_path / "best.ckpt.02-of-02").write_bytes(b"b")
    carry.unpack(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", "last.ckpt"]
    assert (tmp_path / "last.ckpt").read_bytes() == b"new"
    assert (tmp_path / "best.ckpt").read_bytes() == b"ab"


def test_a_missing_part_is_named_and_the_others_stay(campaign, config, tmp_path):
    import carry

    for number in (1, 3):
        (tmp_path / f"last.ckpt.0{number}-of-03").write_bytes(b"part")
    with pytest.raises(ValueError, match=r"last.ckpt: expected 3 parts, got 2"):
        carry.unpack(tmp_path)
    assert len(list(tmp_path.glob("last.ckpt.0*"))) == 2


def test_a_run_without_its_last_state_is_not_begun_anew(campaign, config, tmp_path):
    campaign.main([str(config), "--minutes", "9"])
    (tmp_path / "run" / "last.ckpt").unlink()
    before = (tmp_path / "run" / "best.ckpt").read_bytes()
    with pytest.raises(SystemExit, match="holds a run already"):
        campaign.main([str(config), "--minutes", "9"])
    assert (tmp_path / "run" / "best.ckpt").read_bytes() == before


def test_another_run_folder(campaign, config, tmp_path):
    run_dir = tmp_path / "other"
    path = campaign.main([str(config), "--run-dir", str(run_dir), "--minutes", "1e-6"])
    assert path.parent == run_dir
    assert [row["last_step"] for row in rows_of(run_dir)] == ["1"]


def test_columns_of_forces(campaign):
    from molgeo.training.forces import ForceConfig

    columns = campaign.error_columns(ForceConfig(data_file=["x.npz"]))
    assert "val_mae_forces_meV_A" in columns
    assert len(columns) == 6
