"""Data of one's own, from a stranger's script to a card: nothing in molgeo knows of them."""

import json
import subprocess
import sys

import pandas as pd
import pytest

from molgeo.cli import main
from molgeo.predictor.checkpoint import load, read_header

SCRIPT = """
import ase.io, numpy
from ase.build import molecule
random = numpy.random.RandomState(0)
images = []
for name in ("CH4", "NH3", "H2O", "CH3OH", "C2H6", "C2H4", "C2H2", "HCN", "CH3CHO", "C6H6"):
    for _ in range(8):
        atoms = molecule(name)
        atoms.rattle(0.02, seed=int(random.randint(10**6)))
        atoms.info = {"bandgap": 0.3 * len(atoms) + 0.01 * random.normal()}
        images.append(atoms)
images[5].info["bandgap"] = "unknown"
ase.io.write("structures.extxyz", images)
"""
TINY = {
    "backbone": "{n_features: 16, n_filters: 16, n_blocks: 1, n_gaussians: 8, cutoff: 4.0}",
    "head_features": 8,
    "batch_size": 8,
    "max_epochs": 3,
    "warmup_steps": 2,
    "learning_rate": 5e-3,
    "accelerator": "cpu",
    "threads": 1,
    "save_every_steps": 3,
    "run_dir": "run",
}


def options(**fields):
    return [word for key, value in {**TINY, **fields}.items() for word in (f"--{key}", str(value))]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder; its output."""
    monkeypatch.chdir(tmp_path)

    def command(*words, status=0):
        assert main(list(map(str, words))) == status
        return capsys.readouterr()

    return command


def test_structures_with_a_label_of_their_own(run, tmp_path):
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, cwd=tmp_path)
    target = "{column: bandgap, unit: eV, head: sum, description: gap between bands}"
    fields = {"data_file": "structures.extxyz", "targets": f"[{target}]"}
    words = options(data="table", data_dir="data", validation_fraction=0.2, **fields)
    said = run("train", *words)
    model = said.out.strip()
    assert model == "run/schnet-structures.safetensors"
    assert "1 of 80 rows are set aside" in said.err
    aside = pd.read_csv("run/set_aside.csv")
    assert aside["input"].tolist() == ["structures.extxyz:6"]
    assert aside["message"].tolist() == ["bandgap: expected a number, got 'unknown'"]

    header = read_header(model)
    assert (header.data, header.geometry) == ("structures", "given")
    assert header.n_train == int(header.split.split("/")[0]) == 55
    found = json.loads(run("evaluate", "--model", model, "--data", "run/config.yaml").out)
    assert found["mae"] == pytest.approx(header.metrics.mae, rel=1e-4)
    assert found["mae"]["bandgap_eV"] < 0.3, "the baseline knows how a sum grows"
    whole = json.loads(run("evaluate", "--model", model, "--data", "structures.extxyz").out)
    assert (whole["n"], whole["set_aside"], whole["split"]) == (79, 1, "all")

    run("calibrate", "--model", model, "--data", "run/config.yaml")
    assert read_header(model).calibration[0].conformers == 0
    table = run("predict", "structures.extxyz", "CCO", "--model", model, "--format", "csv").out
    (tmp_path / "out.csv").write_text(table)
    rows = pd.read_csv(tmp_path / "out.csv")
    assert rows["bandgap_eV"].notna().all()
    assert rows["bandgap_eV_std"].notna().tolist() == [True] * 80 + [False], "no SMILES measured"
    card = (tmp_path / "run" / "schnet-structures.md").read_text()
    assert "| bandgap | eV | " in card
    assert "within 90%" in card
    assert "* **trained on**: structures, 55 molecules" in card
    assert "qm9" not in card.lower()
    assert "gap between bands" in run("info", model).out


CSV = """smiles,name,part,logS,tox
CCO,a,train,1.1,2
CCN,b,train,1.0,
CCC,c,train,-2.0,1
CCCC,d,train,-2.5,0.5
CO,e,train,1.5,3
CN,f,train,,1
CC(=O)O,g,train,1.2,1
CC=O,h,train,1.0,4
CCF,i,validation,-0.1,1
CCCO,j,validation,0.6,2
OCC,k,validation,0.6,2
CCOC,l,test,0.5,1
COC,m,test,0.7,NA
CC#N,n,tset,0.9,1
N#N,o,train,>5,1
xyz,p,train,1,1
CCCN,q,train,,
[Na+].[Cl-],r,train,1,2
"""


def test_a_table_of_smiles_with_holes(run, tmp_path):
    (tmp_path / "mine.csv").write_text(CSV)
    fields = {"data": "table", "data_dir": "data", "data_file": "mine.csv", "split": "part"}
    fields["targets"] = "[{column: logs, unit: log mol/L}, tox]"
    said = run("train", *options(batch_size=4, **fields))
    model = load(said.out.strip())
    assert [one.column for one in model.properties] == ["logs_log_mol_L", "tox"]
    aside = pd.read_csv("run/set_aside.csv").set_index("name")["message"]
    assert sorted(aside.index) == list("nopqr")
    assert aside["n"] == "part: expected train, validation or test, got 'tset'"
    assert aside["o"] == "logS: expected a number, got '>5'"
    assert aside["q"] == "no value of logS, tox"
    header = read_header(said.out.strip())
    assert header.split == "8/3/2, by column part"
    assert header.metrics.labels == {"logs_log_mol_L": 2, "tox": 1}
    made = list((tmp_path / "data" / "tables").glob("*.safetensors"))
    before = [path.stat().st_mtime_ns for path in made]
    run("evaluate", "--model", said.out.strip(), "--data", "run/config.yaml")
    assert [path.stat().st_mtime_ns for path in made] == before, "conformers are made once"
    run("predict", "CCO", "--model", said.out.strip())


def test_a_kind_of_data_from_outside(run):
    words = options(data="outside.own_kind.Stretched", n=24, batch_size=4)
    model = run("train", *words).out.strip()
    assert model == "run/schnet-stretched.safetensors"
    assert read_header(model).n_train == 16
    found = json.loads(run("evaluate", "--model", model, "--data", "run/config.yaml").out)
    assert list(found["mae"]) == ["length_Å"]
    said = run("train", *words, "--m", "3", status=2).err
    assert "'m': no such key of data: outside.own_kind.Stretched" in said


def test_a_kind_that_extends_one_of_molgeo_goes_on(run, tmp_path):
    (tmp_path / "mine.csv").write_text(CSV)
    kind = "outside.own_kind.Logarithms"
    fields = {"data": kind, "data_dir": "data", "data_file": "mine.csv", "targets": "[tox]"}
    model = run("train", *options(batch_size=4, **fields)).out.strip()
    said = run("train", *options(batch_size=4, **{**fields, "max_epochs": 4}), "--resume")
    assert said.out.strip() == model
    assert read_header(model).training["data"] == kind
    words = options(batch_size=4, **{**fields, "data": "table"})
    said = run("train", *words, "--resume", status=2).err
    assert f"data was '{kind}'" in said
