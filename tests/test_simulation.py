"""The commands relax, md and vib, as users give them."""

import json
from dataclasses import fields
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from molgeo import checkpoint, cli
from molgeo.dynamics.settings import MDSettings

MODEL = str(Path(__file__).parent / "fixtures" / "force_field" / "force_field.safetensors")
SHORT = ["--steps", 20, "--interval", 5]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(capsys, *words):
    status = cli.main([str(word) for word in words])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return status, captured.out, captured.err


def refused(capsys, *words):
    status, out, err = run(capsys, *words)
    assert (status, out) == (2, "")
    assert err.startswith("molgeo: ")
    assert err.count("\n") == 1
    return err


def test_options_have_the_settings_defaults():
    given = cli.build_parser().parse_args(["md", "C"]).md
    defaults = MDSettings()
    for field in fields(MDSettings):
        assert given[field.name] == getattr(defaults, field.name), field.name


@pytest.mark.parametrize("command", ["relax", "md", "vib"])
def test_the_default_model_is_not_there_yet(capsys, monkeypatch, command):
    monkeypatch.setattr(checkpoint, "shipped", dict)
    err = refused(capsys, command, "CCO")
    assert "default force field 'dimenet_pp-gfn2' is not shipped" in err


@pytest.mark.parametrize("command", ["relax", "md", "vib"])
@pytest.mark.parametrize("default", [True, False])
def test_the_default_model_is_taken_and_named(capsys, monkeypatch, command, default):
    monkeypatch.setattr(checkpoint, "shipped", lambda: {"dimenet_pp-gfn2": Path(MODEL)})
    more = SHORT if command == "md" else []
    status, out, _ = run(capsys, command, "O", *more, *([] if default else ["--model", MODEL]))
    assert status == 0
    assert "force_field" in out


@pytest.mark.parametrize("command", ["relax", "md", "vib"])
def test_a_property_model_is_refused(capsys, command):
    assert "schnet-qm9 was trained on properties" in refused(
        capsys, command, "CCO", "--model", "schnet-qm9"
    )


# relax


def test_relax_prints_a_structure(capsys, tmp_path):
    status, out, err = run(capsys, "relax", "CCO", "--model", MODEL)
    assert status == 0
    assert "CCO (C2H6O): " in err
    Path("a.extxyz").write_text(out)
    atoms = ase.io.read("a.extxyz")
    assert len(atoms) == 9
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 0.01
    assert atoms.info["geometry"] == "etkdg+mmff+force_field"
    assert atoms.info["model"] == "force_field"
    assert atoms.info["smiles"] == "CCO"


@pytest.mark.parametrize("name", ["out.extxyz", "out.xyz", "out.traj"])
def test_relax_many(capsys, name):
    """Whatever is wrong with one does not stop the others."""
    Path("in.smi").write_text("O water\nC1CC broken\nCCl chloride\nCCO ethanol\n")
    words = ["relax", "in.smi", "--model", MODEL, "--output", name, "--fmax", 0.05]
    status, out, err = run(capsys, *words)
    assert (status, out) == (3, "")
    assert "in.smi:2: not a valid SMILES" in err
    assert "chloride (CH3Cl): element Cl is outside" in err
    found = ase.io.read(name, ":")
    assert [atoms.info["name"] for atoms in found] == ["water", "ethanol"]
    assert found[0].get_potential_energy() < 0


def test_relax_gives_up_and_says_so(capsys):
    status, out, err = run(capsys, "relax", "CCO", "--model", MODEL, "--max-steps", 1)
    assert status == 3
    assert "not relaxed: " in err
    assert "converged=F" in out


# md


def test_md_leaves_everything(capsys):
    status, out, err = run(capsys, "md", "CCO", "--model", MODEL, *SHORT)
    assert (status, err) == (0, "")
    assert "force_field" in out
    assert "nvt, 300 K, langevin 100 fs" in out
    assert "20 of 20" in out
    assert {p.name for p in Path().iterdir()} == {
        "traj.extxyz",
        "traj.extxyz.state",
        "md.csv",
        "traj.html",
    }
    assert len(ase.io.read("traj.extxyz", ":")) == 5
    assert "CCO (C2H6O)" in Path("traj.html").read_text()


def test_md_names_its_files(capsys):
    files = ["--output", "a.traj", "--log", "b.csv", "--page", "c.html", "--ensemble", "nve"]
    assert run(capsys, "md", "O", "--model", MODEL, *SHORT, *files)[0] == 0
    assert {p.name for p in Path().iterdir()} == {"a.traj", "a.traj.state", "b.csv", "c.html"}


def test_md_goes_on(capsys):
    words = ["md", "O", "--model", MODEL]
    assert run(capsys, *words, *SHORT)[0] == 0
    assert "is there already: pass --resume" in refused(capsys, *words, *SHORT)
    status, out, _ = run(capsys, *words, "--steps", 40, "--interval", 5, "--resume")
    assert status == 0
    assert "resumed at step" in out
    assert "ns/day" in out
    assert [a.info["step"] for a in ase.io.read("traj.extxyz", ":")] == list(range(0, 41, 5))
    status, out, _ = run(capsys, *words, "--steps", 40, "--interval", 5, "--resume")
    assert (status, "ns/day" in out) == (0, False)  # nothing was left to do
    assert run(capsys, *words, *SHORT, "--overwrite")[0] == 0
    assert len(ase.io.read("traj.extxyz", ":")) == 5


def test_md_does_not_go_on_with_other_weights(capsys):
    """Of the same name, elsewhere."""
    predictor = checkpoint.load(MODEL)
    with torch.no_grad():
        predictor.heads.out_bias += 1e-6
    header = {"trained_on_forces": True}
    checkpoint.save_checkpoint(predictor, "force_field.safetensors", header)
    assert run(capsys, "md", "O", "--model", MODEL, *SHORT)[0] == 0
    other = ["--model", "./force_field.safetensors", "--resume"]
    assert "--resume: weights was" in refused(capsys, "md", "O", *SHORT, *other)


def test_a_cell_without_pbc_is_a_molecule(capsys):
    boxed = molecule("H2O")
    boxed.set_cell([9, 9, 9])
    write("boxed.extxyz", boxed)
    status, out, _ = run(capsys, "relax", "boxed.extxyz", "--model", MODEL)
    assert status == 0
    assert 'pbc="F F F"' in out


def test_md_stops_with_a_reason(capsys):
    """A timestep that no bond endures; the files and the page are there, and say why."""
    words = ["md", "CCO", "--model", MODEL, "--timestep", 12, "--ensemble", "nve", "--steps", 200]
    status, _, err = run(capsys, *words, "--interval", 1)
    assert status == 3
    assert "molgeo: stopped: " in err
    assert "Stopped:" in Path("traj.html").read_text()
    assert len(ase.io.read("traj.extxyz", ":")) > 1


def test_md_of_an_ensemble(capsys):
    Path("again.safetensors").write_bytes(Path(MODEL).read_bytes())
    status, out, _ = run(capsys, "md", "O", "--model", f"{MODEL}, again.safetensors", *SHORT)
    assert status == 0
    assert "force_field,again" in out
    assert "largest disagreement of the models  0.000 eV/Å" in " ".join(out.split(" ")) or (
        "largest disagreement of the models" in out
    )


def test_npt_of_a_periodic_structure(capsys):
    box = molecule("H2O")
    box.set_cell([6.0, 6.0, 6.0])
    box.pbc = True
    ase.io.write("box.extxyz", box)
    words = ["--ensemble", "npt", "--model", MODEL, "--barostat-time", 50]
    status, out, _ = run(capsys, "md", "box.extxyz", *words, *SHORT)
    assert status == 0
    assert "mean pressure" in out
    cells = [a.cell.array for a in ase.io.read("traj.extxyz", ":")]
    assert not np.allclose(cells[0], cells[-1])


# vib


def test_vib_as_json(capsys):
    status, out, _ = run(capsys, "vib", "O", "--model", MODEL, "--symmetry-number", 2)
    result = json.loads(out)
    assert status == 0
    assert result["formula"] == "H2O"
    assert result["model"] == "force_field"
    assert result["geometry"] == "etkdg+mmff+force_field"
    assert len(result["frequencies_cm"]) == 3
    assert 1300 < result["frequencies_cm"][0] < 1900
    assert 3400 < result["frequencies_cm"][1] < result["frequencies_cm"][2] < 4200
    assert result["g_eV"] < result["energy_eV"] + result["zpe_eV"] < result["h_eV"]
    assert result["symmetry_number"] == 2


def test_vib_as_a_table(capsys):
    words = ["vib", "CCO", "--model", MODEL, "--temperature", 400]
    status, out, _ = run(capsys, *words, "--format", "table")
    assert status == 0
    assert "C2H6O  9 atoms  etkdg+mmff+force_field  force_field" in out
    assert "ideal gas at 400 K" in out
    assert "Gibbs energy G" in out
    assert run(capsys, *words, "--output", "a.txt") == (0, "", "")
    assert "frequencies" in Path("a.txt").read_text()
    assert run(capsys, *words, "--output", "a.json")[0] == 0
    assert json.loads(Path("a.json").read_text())["temperature_K"] == 400.0


# What is refused, by each of them.


def write(name, atoms):
    ase.io.write(name, atoms)
    return name


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: "CCl", "element Cl is outside the model's domain"),
        (lambda: "C[NH3+]", "outside the model's domain"),
        (lambda: "[CH3]", "radical"),
        (lambda: "C1CC", "not a valid SMILES"),
        (lambda: write("a.extxyz", Atoms("O2", [[0, 0, 0], [0, 0, 0.1]])), "0.100 Å apart"),
        (lambda: write("a.traj", molecule("O2")), "open shell: initial_magnetic_moments"),
        (lambda: write("a.extxyz", Atoms("H2O", molecule("H2O").positions, pbc=True)), "lattice"),
    ],
)
@pytest.mark.parametrize("command", ["relax", "md", "vib"])
def test_structures_that_cannot_be(capsys, command, make, match):
    status, out, err = run(capsys, command, make(), "--model", MODEL)
    assert status == (3 if command == "relax" else 2)
    assert out == ""
    assert match in err
    assert not list(Path().glob("traj*"))


@pytest.mark.parametrize("command", ["relax", "md", "vib"])
@pytest.mark.parametrize("name", ["empty.xyz", "empty.traj", "empty.extxyz"])
def test_an_empty_file(capsys, command, name):
    Path(name).touch()
    assert f"{name} is empty" in refused(capsys, command, name, "--model", MODEL)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["relax", "O", "--fmax", 0], "fmax: expected a number above zero"),
        (["relax", "O", "--output", "a.pdb"], "output: expected a name that ends in"),
        (["relax", "nowhere.xyz"], "nowhere.xyz: there is no such file"),
        (["relax", "O", "--model", "no-such"], "neither a file nor a shipped model"),
        (["relax", "O", "--device", "tpu5"], "device: expected auto, cpu or cuda"),
        (["md", "O", "--steps", 0], "steps: expected a number above zero"),
        (["md", "O", "--ensemble", "npt"], "npt needs a cell"),
        (["md", "O", "--resume"], "nothing to resume"),
        (["md", "O", "--output", "a/b.xyz"], "there is no such folder"),
        (["vib", "O", "--temperature", -1], "temperature: expected a number above zero"),
        (["vib", "O", "--output", "a.csv"], "output: expected a name that ends in .json, .txt"),
    ],
)
def test_wrong_usage(capsys, words, match):
    model = [] if "--model" in words else ["--model", MODEL]
    assert match in refused(capsys, *words, *model)


def test_an_input_is_not_overwritten(capsys):
    write("a.extxyz", molecule("H2O"))
    words = ["relax", "a.extxyz", "--output", "./a.extxyz", "--model", MODEL]
    assert "is the input too" in refused(capsys, *words)


def test_vib_of_a_periodic_structure(capsys):
    box = molecule("H2O")
    box.set_cell([6, 6, 6])
    box.pbc = True
    err = refused(capsys, "vib", write("a.extxyz", box), "--model", MODEL)
    assert "expected a molecule" in err
