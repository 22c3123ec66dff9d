"""The commands relax, md and vib, as users give them."""

import json
from dataclasses import fields, replace
from pathlib import Path

import ase.io
import numpy as np
import pandas as pd
import pytest
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.constraints import FixAtoms, Hookean

from molgeo.cli import program as cli
from molgeo.graph.environments import Environments
from molgeo.predictor import checkpoint
from molgeo.predictor.checkpoint import catalogue
from molgeo.predictor.header import Facts
from molgeo.simulation.motion import set_momenta
from molgeo.simulation.relaxation import relax_all
from molgeo.simulation.settings import MDSettings

MODEL = str(Path(__file__).parents[1] / "fixtures" / "force_field" / "force_field.safetensors")
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
    assert (given.pop("temperature"), defaults.temperature) == (None, 300.0)
    for field in fields(MDSettings):
        if field.name != "temperature":
            assert given[field.name] == getattr(defaults, field.name), field.name


@pytest.mark.parametrize("command", ["relax", "md", "vib"])
def test_the_default_model_is_not_there_yet(capsys, monkeypatch, command):
    monkeypatch.setattr(catalogue, "shipped", dict)
    err = refused(capsys, command, "CCO")
    assert f"default force field {catalogue.DEFAULT_FORCE_FIELD!r} is not shipped" in err


@pytest.mark.parametrize("command", ["relax", "md", "vib"])
@pytest.mark.parametrize("default", [True, False])
def test_the_default_model_is_taken_and_named(capsys, monkeypatch, command, default):
    monkeypatch.setattr(catalogue, "DEFAULT_FORCE_FIELD", "force_field")
    monkeypatch.setattr(catalogue, "shipped", lambda: {"force_field": Path(MODEL)})
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
    assert "in.smi:3: chloride (CH3Cl): element Cl is outside" in err
    assert "in.smi:4: ethanol (C2H6O): " in err
    found = ase.io.read(name, ":")
    assert [atoms.info["name"] for atoms in found] == ["water", "ethanol"]
    assert "input" not in found[0].info
    assert found[0].get_potential_energy() < 0


def test_relax_many_together_as_one_by_one(capsys):
    """The same lines in the same order; a spring goes by itself."""
    spring = molecule("CH3OH")
    spring.set_constraint(Hookean(0, 1, k=5.0, rt=1.4))
    written = [*map(molecule, ("CH3CH2OH", "CH4")), spring, molecule("H2O")]
    ase.io.write("in.traj", written)
    words = ["relax", "in.traj", "--model", MODEL, "--fmax", 0.02]
    status, _, err = run(capsys, *words, "--output", "many.traj")
    _, _, err_of_one = run(capsys, *words, "--output", "one.traj", "--batch-size", 1)
    assert status == 0
    assert "CH4O: Hookean cannot be kept among many: it is relaxed by itself" in err
    assert "by itself" not in err_of_one
    for many, one in zip(ase.io.read("many.traj", ":"), ase.io.read("one.traj", ":"), strict=True):
        assert many.get_chemical_formula() == one.get_chemical_formula()
        assert many.info.keys() == one.info.keys()
        assert many.get_potential_energy() == pytest.approx(one.get_potential_energy(), abs=1e-3)
        np.testing.assert_allclose(many.positions, one.positions, atol=0.02)
    assert refused(capsys, *words, "--batch-size", "all").startswith("molgeo: batch_size must be")


def test_relax_keeps_what_is_done_if_it_is_interrupted(capsys, monkeypatch):
    """The second of three is still moving."""

    def interrupted(*args):
        relaxed = {each.atoms.info["name"]: each for each in relax_all(*args)}
        yield 0, relaxed["first"]
        yield 2, relaxed["third"]
        raise KeyboardInterrupt

    monkeypatch.setattr("molgeo.simulation.command.relax_each", interrupted)
    Path("in.smi").write_text("O first\nCCO second\nC third\n")
    words = ["relax", "in.smi", "--model", MODEL, "--fmax", "0.1", "--output", "out.traj"]
    assert cli.main(words) != 0
    assert [atoms.info["name"] for atoms in ase.io.read("out.traj", ":")] == ["first", "third"]


def test_relax_gives_up_and_says_so(capsys):
    status, out, err = run(capsys, "relax", "CCO", "--model", MODEL, "--max-steps", 1)
    assert status == 3
    assert "not relaxed: " in err
    assert "converged=F" in out


# md


def test_md_of_many(capsys):
    """Each has files with its number, and the run that it would have alone."""
    Path("in.smi").write_text("O water\nCCl chloride\nCCO ethanol\nC1CC broken\n")
    words = ["--model", MODEL, *SHORT, "--output", "run.traj", "--log", "run.csv"]
    status, out, err = run(capsys, "md", "in.smi", *words, "--seed", 5, "--page", "run.html")
    assert status == 3
    assert "in.smi:4: not a valid SMILES" in err
    assert "2 chloride (CH3Cl): element Cl is outside" in err
    assert "3 ethanol (C2H6O)  20 of 20 steps, run-3.traj, run-3.csv" in out
    numbered = {f"run-{k}.{ending}" for k in (1, 3) for ending in ("traj", "csv", "html")}
    assert {p.name for p in Path().iterdir()} == {"in.smi", "run.traj.state", *numbered}
    assert ">7<" in Path("run-3.html").read_text()  # the seed
    alone = ["--output", "one.traj", "--log", "one.csv", "--model", MODEL, *SHORT, "--seed", 7]
    assert run(capsys, "md", "CCO", *alone)[0] == 0
    many, one = (ase.io.read(name, -1) for name in ("run-3.traj", "one.traj"))
    np.testing.assert_allclose(many.positions, one.positions, atol=1e-3)
    assert "run-1.traj exists already" in refused(capsys, "md", "in.smi", *words)
    more = ["--seed", 5, "--steps", 30, "--resume", "--page", "run.html"]
    status, out, err = run(capsys, "md", "in.smi", *words, *more)
    assert "3 ethanol (C2H6O)  30 of 30 steps, run-3.traj, run-3.csv" in out
    assert "2 chloride (CH3Cl): element Cl is outside" in err
    assert [len(ase.io.read(f"run-{k}.traj", ":")) for k in (1, 3)] == [7, 7]


def test_md_of_many_by_a_thermostat_of_one(capsys):
    Path("in.smi").write_text("O\nCO\n")
    words = ["--model", MODEL, *SHORT, "--thermostat", "bussi"]
    status, out, err = run(capsys, "md", "in.smi", *words)
    assert status == 0
    assert "bussi is a thermostat of one structure: one by one" in err
    assert err.count("one by one") == 1
    assert out.count("20 of 20 steps") == 2
    assert Path("traj-2.extxyz.state").exists()


@pytest.mark.parametrize("thermostat", ["langevin", "bussi"])
def test_md_of_many_goes_on_with_fewer(capsys, thermostat):
    """What is left out is named; what is refused, and what is new, is looked at again."""
    Path("three.smi").write_text("O\nCO\nC\n")
    Path("two.smi").write_text("O\nCCl\n")
    Path("more.smi").write_text("O\nCO\nC\nCCl\nCC\n")
    words = ["--model", MODEL, *SHORT, "--thermostat", thermostat]
    assert run(capsys, "md", "three.smi", *words)[0] == 0
    status, out, err = run(capsys, "md", "two.smi", *words, "--resume", "--steps", 30)
    assert "left as they are, as the input has no such structures: traj-3.extxyz" in err
    assert (status, out.count("30 of 30 steps")) == (3, 1)
    status, out, err = run(capsys, "md", "more.smi", *words, "--resume", "--steps", 40)
    assert (status, out.count("40 of 40 steps")) == (3, 4)
    assert "4 CCl (CH3Cl): element Cl is outside" in err
    assert "5 CC (C2H6): it had no state: it began at step 0" in err
    for k in (1, 2, 3, 5):
        assert pd.read_csv(f"md-{k}.csv")["step"].tolist() == [*range(0, 41, 5)]


def test_md_of_many_says_how_to_go_on(capsys):
    Path("in.smi").write_text("CCO\nO\n")
    words = ["md", "in.smi", "--model", MODEL, "--timestep", 12, "--ensemble", "nve"]
    status, _, err = run(capsys, *words, "--steps", 20, "--interval", 1)
    assert status == 3
    assert "--resume --no-guard goes on with those that stopped" in err


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
    assert "exists already: pass --resume" in refused(capsys, *words, *SHORT)
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
    header = Facts(trained_on_forces=True)
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
    assert "largest expected error of a force  0.000 eV/Å" in " ".join(out.split(" ")) or (
        "largest expected error of a force" in out
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


def test_vib_of_many_is_that_of_each(capsys):
    """In the order of the input; what is wrong with one costs its own row."""
    Path("in.smi").write_text("O water\nC1CC broken\nCCl chloride\nCO methanol\n[CH3] radical\n")
    words = ["vib", "in.smi", "--model", MODEL]
    status, out, err = run(capsys, *words)
    rows = json.loads(out)
    assert status == 3
    assert [row["status"] for row in rows] == ["ok", "error", "error", "ok", "error"]
    assert [row["input"].split(":")[1] for row in rows] == ["1", "2", "3", "4", "5"]
    assert "element Cl is outside the model's domain" in rows[2]["message"]
    assert all(row["message"] in err for row in rows)
    assert not rows[0]["message"]
    for smiles, row in (("O", rows[0]), ("CO", rows[3])):
        alone = json.loads(run(capsys, "vib", smiles, "--model", MODEL)[1])
        np.testing.assert_allclose(row["frequencies_cm"], alone["frequencies_cm"], atol=0.1)
        assert row["g_eV"] == pytest.approx(alone["g_eV"], abs=1e-5)
    status, _, _ = run(capsys, *words, "--output", "all.txt")
    text = Path("all.txt").read_text()
    assert (status, text.count("Gibbs energy G")) == (3, 2)
    assert "in.smi:3: chloride (CH3Cl): element Cl" in text


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
        (lambda: write("a.extxyz", Atoms("N2", [[0, 0, 0], [0, 0, 0.1]])), "0.100 Å apart"),
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


# What an input holds beside the structure.


def written(name, atoms, **arrays):
    for key, values in arrays.items():
        atoms.set_array(key, np.asarray(values))
    return write(name, atoms)


def moving(T=400.0, seed=0):
    atoms = molecule("CH3CH2OH")
    set_momenta(atoms, T, 21, np.random.default_rng(seed))
    return atoms


@pytest.mark.parametrize("ending", ["extxyz", "traj", "db"])
def test_relax_keeps_fixed_atoms(capsys, ending):
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.1, seed=1)
    atoms.set_constraint(FixAtoms([0, 3, 8]))
    write(f"a.{ending}", atoms)
    words = ["relax", f"a.{ending}", "--model", MODEL, "--output", "out.extxyz", "--fmax", 0.05]
    assert run(capsys, *words)[0] == 0
    found = ase.io.read("out.extxyz")
    moved = np.abs(found.positions - atoms.positions).max(axis=1) > 1e-3
    assert not moved[[0, 3, 8]].any()
    assert moved.sum() > 3
    assert found.constraints[0].index.tolist() == [0, 3, 8]
    assert np.abs(found.get_forces(apply_constraint=False)[[0, 3, 8]]).max() > 0.05


def test_relax_says_that_velocities_are_not_used(capsys):
    status, out, err = run(capsys, "relax", write("a.traj", moving()), "--model", MODEL)
    assert status == 0
    assert "C2H6O: its velocities are not used: a relaxation begins at rest" in err
    assert "momenta" not in out


@pytest.mark.parametrize("ending", ["extxyz", "traj"])
@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
def test_md_begins_with_the_velocities_of_its_input(capsys, ending, ensemble):
    atoms = moving()
    words = ["md", write(f"a.{ending}", atoms), "--model", MODEL, "--ensemble", ensemble, *SHORT]
    status, out, err = run(capsys, *words)
    assert status == 0
    assert "velocities are those of the input (" in err
    assert ("started with the input's velocities" in out) == (ensemble == "nve")
    frames = ase.io.read("traj.extxyz", ":")
    np.testing.assert_allclose(frames[0].get_momenta(), atoms.get_momenta(), atol=1e-6)
    _, out, err = run(capsys, *words, "--steps", 25, "--resume")
    assert err == ""
    assert ("started with the input's velocities" in out) == (ensemble == "nve")
    run(capsys, *words, "--force", "--new-velocities", "--seed", 5)
    first = ase.io.read("traj.extxyz", 0)
    assert np.abs(first.get_momenta() - atoms.get_momenta()).max() > 0.1


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
def test_a_temperature_that_is_given(capsys, ensemble):
    """Of nve it can only be that of new velocities; a thermostat takes the given ones there."""
    words = ["--ensemble", ensemble, "--temperature", 250, *SHORT]
    status, _, err = run(capsys, "md", write("a.traj", moving()), "--model", MODEL, *words)
    first = ase.io.read("traj.extxyz", 0)
    taken = np.allclose(first.get_momenta(), moving().get_momenta(), atol=1e-6)
    assert (status, taken, "velocities are those" in err) == (0, *[ensemble == "nvt"] * 2)


def test_velocities_that_are_no_thermal_motion(capsys):
    atoms = moving()
    atoms.set_momenta(1e3 * atoms.get_momenta())
    words = ["md", write("a.traj", atoms), "--model", MODEL, *SHORT]
    assert "expected momenta in ASE's units" in refused(capsys, *words)
    assert run(capsys, *words, "--new-velocities")[0] == 0
    atoms.set_momenta(np.full((9, 3), np.nan))
    words = ["md", write("b.traj", atoms), "--model", MODEL, *SHORT, "--force"]
    assert "not finite numbers; --new-velocities" in refused(capsys, *words)


def test_velocities_of_an_unknown_unit(capsys):
    name = written("a.extxyz", molecule("H2O"), velo=np.ones((3, 3)))
    status, _, err = run(capsys, "md", name, "--model", MODEL, *SHORT)
    assert status == 0
    assert "a.extxyz:1: velo are not used, as their unit is not known: expected momenta" in err


@pytest.mark.parametrize("thermostat", ["langevin", "bussi"])
def test_md_keeps_fixed_atoms(capsys, thermostat):
    atoms = molecule("CH3CH2OH")
    atoms.set_constraint(FixAtoms([0, 1, 2]))
    words = ["md", write("a.extxyz", atoms), "--model", MODEL, *SHORT, "--thermostat", thermostat]
    assert run(capsys, *words)[0] == 0
    frames = ase.io.read("traj.extxyz", ":")
    for frame in frames:
        np.testing.assert_allclose(frame.positions[:3], atoms.positions[:3], atol=1e-7)
        assert frame.constraints[0].index.tolist() == [0, 1, 2]
    assert np.abs(frames[-1].positions - atoms.positions)[3:].max() > 0.01
    table = pd.read_csv("md.csv")  # six atoms that move hold all of the heat
    heat = 2 * table.kinetic_eV / (18 * units.kB)
    np.testing.assert_allclose(table.temperature_K, heat, rtol=1e-9)
    assert table.temperature_K[0] == pytest.approx(300.0)
    assert run(capsys, *words, "--steps", 30, "--resume")[0] == 0
    atoms.set_constraint(FixAtoms([0, 1]))
    write("a.extxyz", atoms)
    words += ["--steps", 40, "--resume"]
    assert "--resume: the constraints are not those of the run" in refused(capsys, *words)


def test_constraints_that_cannot_be_kept(capsys):
    atoms = molecule("H2O")
    atoms.set_constraint(FixAtoms([0]))
    words = [write("a.traj", atoms), "--model", MODEL]
    assert "got constraints (FixAtoms)" in refused(capsys, "vib", *words)
    nose = ["--ensemble", "nvt", "--thermostat", "nose-hoover"]
    assert "nose-hoover cannot keep them" in refused(capsys, "md", *words, *SHORT, *nose)
    atoms.set_constraint(FixAtoms([0, 1, 2]))
    words[0] = write("a.traj", atoms)
    assert "leave no atom free to move" in refused(capsys, "md", *words, *SHORT)
    assert not Path("traj.extxyz").exists()


def test_heavy_hydrogen_vibrates_slower(capsys):
    frequencies = []
    for masses in ([15.999, 1.008, 1.008], [15.999, 2.014, 2.014]):
        atoms = molecule("H2O")
        atoms.set_masses(masses)
        _, out, _ = run(capsys, "vib", write("a.extxyz", atoms), "--model", MODEL)
        frequencies.append(json.loads(out)["frequencies_cm"])
    ratio = np.array(frequencies[1]) / frequencies[0]
    np.testing.assert_allclose(ratio, [0.732, 0.724, 0.733], atol=0.02)  # of water's, measured


def test_a_cell_that_is_not_used_is_named(capsys):
    boxed = molecule("H2O")
    boxed.set_cell([9, 9, 9])
    err = run(capsys, "relax", write("a.traj", boxed), "--model", MODEL)[2]
    assert "a.traj:1: the cell is not used: pbc is F F F" in err


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--ensemble", "nve", "--thermostat", "bussi"], "thermostat is not used: it is of nvt"),
        (["--pressure", 100], "pressure is not used: it is of npt, and the ensemble is nvt"),
        (["--max-disagreement", 0.1], "max-force-error is not used: the model tells no errors"),
        (["--timestep", 3], "a timestep of 3 fs is long: bonds to the lightest atom (1.01 u)"),
    ],
)
def test_settings_that_are_not_used_are_named(capsys, words, match):
    options = ["--model", MODEL, "--steps", 1, *words]
    assert match in run(capsys, "md", "O", *options)[2]


# Outputs that are there already.


def test_outputs_are_not_overwritten(capsys):
    for command, name in (("relax", "out.extxyz"), ("vib", "out.json")):
        Path(name).write_text("mine")
        words = [command, "O", "--model", MODEL, "--output", name]
        assert f"{name} exists: --force replaces it" in refused(capsys, *words)
        assert Path(name).read_text() == "mine"
        assert run(capsys, *words, "--force")[0] == 0
        assert Path(name).read_text() != "mine"
    Path("traj.html").write_text("mine")
    assert "traj.html exists" in refused(capsys, "md", "O", "--model", MODEL, *SHORT)
    assert not Path("traj.extxyz").exists()
    assert run(capsys, "md", "O", "--model", MODEL, *SHORT, "--force")[0] == 0


@pytest.mark.parametrize("option", ["--output", "--log", "--page"])
def test_md_does_not_write_over_its_input(capsys, option):
    name = write("a.extxyz", molecule("H2O"))
    words = ["md", name, "--model", MODEL, *SHORT, "--force", option, f"./{name}"]
    assert "is the input too" in refused(capsys, *words)
    assert len(ase.io.read(name)) == 3


def test_a_page_of_its_own(capsys):
    words = ["md", "O", "--model", MODEL, *SHORT]
    assert "page: expected another" in refused(capsys, *words, "--page", "md.csv")
    assert "there is no such folder" in refused(capsys, *words, "--page", "no/a.html")


# Molecules that the training data do not hold.


@pytest.fixture
def with_a_record():
    """The model, as if it had been trained on molecules such as ethanol and water."""
    predictor = checkpoint.load(MODEL)
    known = ("C(C,H,H,H)", "C(C,H,H,O)", "O(C,H)", "O(H,H)", "H(C)", "H(O)", "O(C)")
    record = Environments(500, 0, dict.fromkeys(known, 300))
    predictor.domain = replace(predictor.domain, environments=record)
    checkpoint.save_checkpoint(predictor, "known.safetensors", predictor.header)
    return "known.safetensors"


CO2 = "C bonded to O, O alone (in none of 500 training configurations)"


@pytest.mark.parametrize("command", ["relax", "md", "vib"])
def test_a_molecule_of_which_nothing_is_known(capsys, with_a_record, command):
    more = SHORT if command == "md" else []
    name = write("a.xyz", molecule("CO2"))
    words = [command, name, "--model", with_a_record, *more]
    status, out, err = run(capsys, *words)
    assert (status, out) == (3 if command == "relax" else 2, "")
    assert f"known does not know {CO2}; --allow-unfamiliar goes on all the same" in err
    assert not list(Path().glob("traj*"))
    _, out, err = run(capsys, *words, "--allow-unfamiliar")
    assert f"{CO2}: its energies and forces may be anything there" in err
    assert out != ""


def test_a_molecule_of_which_most_is_known(capsys, with_a_record):
    words = ["relax", "CCCCO", "--model", with_a_record, "--fmax", 0.5]
    status, _, err = run(capsys, *words)
    assert "C bonded to C, C, H, H alone (in none" in err
    assert "may be anything there" in err
    assert status == 0
    for known in ("CCO", "O"):
        assert "know" not in run(capsys, "relax", known, "--model", with_a_record)[2].replace(
            "(known)", ""
        )


def test_pressure_was_never_learned(capsys, with_a_record):
    box = molecule("H2O")
    box.set_cell([6.0, 6.0, 6.0])
    box.pbc = True
    words = ["md", write("box.extxyz", box), "--model", with_a_record, *SHORT, "--ensemble"]
    err = refused(capsys, *words, "npt")
    assert "periodic structures (none of 500 training configurations)" in err
    assert "--allow-unfamiliar goes on" in err
    status, _, err = run(capsys, *words, "nvt")
    assert (status, "periodic structures (none" in err) == (0, True)
    assert run(capsys, *words, "npt", "--allow-unfamiliar", "--force")[0] == 0


def test_an_ensemble_writes_its_spread(capsys):
    other = checkpoint.load(MODEL)
    with torch.no_grad():
        other.heads.out_weight *= 1.001
    checkpoint.save_checkpoint(other, "other.safetensors", other.header)
    words = ["--model", f"{MODEL},other.safetensors"]
    run(capsys, "md", "O", *words, *SHORT)
    run(capsys, "md", "O", *words, *SHORT, "--output", "b.traj", "--log", "b.csv")
    run(capsys, "relax", "O", *words, "--output", "c.extxyz")
    table = pd.read_csv("md.csv")
    frames = ase.io.read("traj.extxyz", ":")
    spread = [frame.arrays["forces_std"].max() for frame in frames]
    np.testing.assert_allclose(spread, table.max_force_std_eV_A, atol=1e-6)
    energies = [frame.info["energy_std"] for frame in frames]
    np.testing.assert_allclose(energies, table.energy_std_eV, atol=1e-6)
    for frame in (ase.io.read("b.traj", 0), ase.io.read("c.extxyz")):
        assert frame.info["energy_std"] > 0
    np.testing.assert_allclose(
        ase.io.read("b.traj", 0).info["forces_std"], frames[0].arrays["forces_std"], atol=1e-6
    )
    assert ase.io.read("c.extxyz").arrays["forces_std"].shape == (3,)


def test_a_page_never_replaces_the_state_of_its_run(capsys):
    words = ["md", "O", "--model", MODEL, *SHORT, "--output", "m.extxyz", "--log", "m.csv"]
    assert "page: expected another" in refused(capsys, *words, "--page", "./m.extxyz.state")
