"""Runs: what they leave behind, how they end, and how they go on after a kill."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import ase.io
import numpy as np
import pandas as pd
import pytest
from analytic_potentials import cluster
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.emt import EMT
from static_replay import StaticReplay

from molgeo.runtime.errors import InputError
from molgeo.simulation import molecular_dynamics, replay
from molgeo.simulation.calculator import MolgeoCalculator, UnsupportedAtomsError
from molgeo.simulation.molecular_dynamics import simulate
from molgeo.simulation.settings import MDSettings
from molgeo.simulation.state import load_state

MODEL = Path(__file__).parents[1] / "fixtures" / "force_field" / "force_field.safetensors"
SETTINGS = MDSettings(steps=60, interval=5, timestep=1.0)


def ethanol(model=MODEL, **options):
    atoms = molecule("CH3CH2OH")
    atoms.calc = MolgeoCalculator(model, "cpu", **options)
    return atoms


def run(folder, atoms=None, settings=SETTINGS, name="traj.extxyz", **options):
    return simulate(atoms or cluster(), settings, folder / name, folder / "md.csv", **options)


def test_a_run_leaves_frames_a_table_and_a_state(tmp_path):
    seen = []
    atoms = ethanol()
    outcome = run(tmp_path, atoms, report=lambda *call: seen.append(call))
    assert (outcome.step, outcome.reason, outcome.resumed_from) == (60, None, None)
    assert outcome.ns_per_day > 0
    frames, table = ase.io.read(tmp_path / "traj.extxyz", ":"), pd.read_csv(tmp_path / "md.csv")
    assert table.step.tolist() == list(range(0, 61, 5))
    assert [frame.info["step"] for frame in frames] == table.step.tolist()
    assert [frame.info["time_fs"] for frame in frames] == table.time_fs.tolist()
    for frame, row in zip(frames, table.itertuples(), strict=True):
        assert frame.get_potential_energy() == pytest.approx(row.potential_eV, abs=1e-7)
        assert frame.get_kinetic_energy() == pytest.approx(row.kinetic_eV, abs=1e-5)
        assert row.total_eV == pytest.approx(row.potential_eV + row.kinetic_eV, abs=1e-9)
        # Langevin keeps the centre of mass, and nothing else.
        assert row.temperature_K == pytest.approx(2 * row.kinetic_eV / (24 * units.kB), rel=1e-9)
        assert frame.get_forces().shape == (9, 3)
    assert table.conserved_eV.isna().all()
    assert table.temperature_K[0] == pytest.approx(300.0)
    assert load_state(tmp_path / "traj.extxyz.state")["step"] == 60
    assert [call[:2] for call in seen] == [(step, 60) for step in range(0, 61, 5)]
    assert "ns/day" in seen[-1][2]
    assert not atoms.has("momenta")  # the given atoms stay as they are
    np.testing.assert_array_equal(atoms.positions, molecule("CH3CH2OH").positions)


@pytest.mark.parametrize("name", ["traj.xyz", "traj.traj"])
def test_trajectories_of_other_kinds(tmp_path, name):
    run(tmp_path, name=name)
    assert [f.info["step"] for f in ase.io.read(tmp_path / name, ":")] == list(range(0, 61, 5))


def test_a_seed_makes_the_run(tmp_path):
    texts = []
    for k, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(k)
        folder.mkdir()
        run(folder, settings=replace(SETTINGS, seed=seed))
        texts.append((folder / "traj.extxyz").read_bytes())
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_nve_of_a_model_conserves_energy(tmp_path):
    settings = MDSettings(ensemble="nve", steps=400, timestep=0.25, interval=4)
    run(tmp_path, ethanol(dtype="float64"), settings)
    table = pd.read_csv(tmp_path / "md.csv")
    drift = table.conserved_eV - table.conserved_eV[0]
    assert drift.abs().max() < 0.01 * table.potential_eV.agg(np.ptp)
    last = ase.io.read(tmp_path / "traj.extxyz")
    np.testing.assert_allclose(last.get_momenta().sum(0), 0.0, atol=1e-6)
    np.testing.assert_allclose(last.get_angular_momentum(), 0.0, atol=1e-6)


# Going on.


def assert_same(first, second):
    """The same frames, table and end, to the last byte."""
    for name in (
        "md.csv",
        *(p.name for p in first.glob("traj*") if p.suffix in (".extxyz", ".xyz")),
    ):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    for path in first.glob("*.traj"):
        for a, b in zip(ase.io.read(path, ":"), ase.io.read(second / path.name, ":"), strict=True):
            assert a.info == b.info
            np.testing.assert_array_equal(a.positions, b.positions)
            np.testing.assert_array_equal(a.get_momenta(), b.get_momenta())
    (state,) = first.glob("*.state")
    a, b = load_state(state), load_state(second / state.name)
    for name in ("positions", "momenta", "cell"):
        np.testing.assert_array_equal(a[name], b[name])
    assert (a["step"], a["rng"]) == (b["step"], b["rng"])


class KilledError(Exception):
    """Stands for a signal that leaves no time for anything."""


def killed_at(step):
    def report(done, total, note):
        if done >= step:
            raise KilledError

    return report


def copper():
    from ase.build import bulk

    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.03, seed=0)
    atoms.calc = EMT()
    return atoms


WAYS = [
    ("nve", "langevin", "traj.extxyz"),
    ("nvt", "langevin", "traj.extxyz"),
    ("nvt", "langevin", "traj.traj"),
    ("nvt", "bussi", "traj.xyz"),
    ("nvt", "nose-hoover", "traj.extxyz"),
    ("npt", "langevin", "traj.extxyz"),
]


@pytest.mark.parametrize(("ensemble", "thermostat", "name"), WAYS)
@pytest.mark.parametrize("patience", [0.0, 1e9], ids=["saved at every frame", "saved at the start"])
def test_a_run_that_was_killed_ends_as_it_would_have(
    tmp_path, monkeypatch, ensemble, thermostat, name, patience
):
    monkeypatch.setattr(molecular_dynamics, "SAVE_S", patience)
    monkeypatch.setattr(replay, "REPLAY_AFTER", 25)  # replays, whose rounding is another, begin
    settings = replace(SETTINGS, ensemble=ensemble, thermostat=thermostat)
    dtype = "float64" if thermostat == "bussi" else "float32"
    make = copper if ensemble == "npt" else partial(ethanol, dtype=dtype)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    run(whole, make(), settings, name)
    for resume, step in ((False, 20), (True, 45)):
        with pytest.raises(KilledError):
            run(broken, make(), settings, name, resume=resume, report=killed_at(step))
    with (broken / "md.csv").open("a") as file:
        file.write("50,5")  # half a row
    outcome = run(broken, make(), settings, name, resume=True)
    assert outcome.step == 60
    assert outcome.resumed_from == (0 if patience else 40)
    assert_same(whole, broken)


@pytest.mark.parametrize("replay", [True, False])
def test_a_killed_run_goes_on_whatever_the_choice_of_replay(tmp_path, replay):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    run(whole, ethanol(replay=replay))
    with pytest.raises(KilledError):
        run(broken, ethanol(replay=replay), report=killed_at(30))
    with pytest.raises(InputError, match=f"replay was {replay} and is 'auto' now"):
        run(broken, ethanol(), resume=True)
    run(broken, ethanol(replay=replay), resume=True)
    assert_same(whole, broken)


def test_a_killed_run_goes_on_to_the_bit_with_captures(tmp_path, monkeypatch):
    """As on a card: its graphs are padded, and a state holds by how much."""
    made = []

    def capture(function):
        made.append(function)
        return StaticReplay.capture(function)

    monkeypatch.setattr(molecular_dynamics, "SAVE_S", 0.0)
    monkeypatch.setattr(replay, "capture_on", lambda device: capture)
    settings = replace(SETTINGS, steps=40)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    run(whole, ethanol(skin=0.1), settings)
    assert len(made) == 1
    for resume, step in ((False, 3), (True, 25)):
        with pytest.raises(KilledError):
            run(broken, ethanol(skin=0.1), settings, resume=resume, report=killed_at(step))
    run(broken, ethanol(skin=0.1), settings, resume=True)
    assert_same(whole, broken)


DRIVER = """
import sys
from molgeo.cli import program as cli
from molgeo.simulation import molecular_dynamics
molecular_dynamics.SAVE_S = 0.02
sys.exit(cli.main(sys.argv[1:]))
"""


def test_kill_dash_nine(tmp_path):
    """A process that is really killed, somewhere, twice; then the command is given once more."""
    random.seed(1)
    words = ["md", "CCO", "--model", MODEL, "--steps", 400, "--interval", 4, "--device", "cpu"]

    def start(folder, *more):
        files = ["--output", folder / "traj.extxyz", "--log", folder / "md.csv"]
        command = [sys.executable, "-c", DRIVER, *map(str, [*words, *files, *more])]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def rows(folder):
        log = folder / "md.csv"
        return log.read_text().count("\n") if log.exists() else 0

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    with start(whole) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    for more in ((), ("--resume",)):
        until = rows(broken) + random.randint(5, 30)
        with start(broken, *more) as process:
            while process.poll() is None and rows(broken) < until:
                time.sleep(0.001)
            os.kill(process.pid, signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL, process.stderr
    assert 2 < rows(broken) < 101
    with start(broken, "--resume") as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert "resumed at step" in out
    assert_same(whole, broken)
    assert rows(whole) == 102
    assert (broken / "traj.html").exists()


def test_a_run_can_be_made_longer(tmp_path):
    """The frame of an end that is no frame's turn is there, and goes when the run goes on."""
    short, long = tmp_path / "short", tmp_path / "long"
    short.mkdir()
    long.mkdir()
    run(long)
    run(short, settings=replace(SETTINGS, steps=22))
    steps = [frame.info["step"] for frame in ase.io.read(short / "traj.extxyz", ":")]
    assert steps == [0, 5, 10, 15, 20, 22]
    run(short, settings=replace(SETTINGS, steps=22), resume=True)  # nothing is left to do
    assert [f.info["step"] for f in ase.io.read(short / "traj.extxyz", ":")] == steps
    assert pd.read_csv(short / "md.csv").step.tolist() == steps
    run(short, resume=True)
    assert_same(long, short)


def test_other_settings_are_another_run(tmp_path):
    run(tmp_path)
    for name, value in (("temperature", 310.0), ("seed", 4), ("ensemble", "nve"), ("interval", 3)):
        with pytest.raises(InputError, match=f"--resume: {name} was .* cannot change within a run"):
            run(tmp_path, settings=replace(SETTINGS, **{name: value}), resume=True)
    with pytest.raises(InputError, match="--resume: the structure is another one"):
        run(tmp_path, cluster(5), resume=True)
    with pytest.raises(InputError, match="--resume: model was 'Morse' and is 'force_field' now"):
        run(tmp_path, ethanol(), resume=True)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        run(tmp_path, resume=True)


def test_a_run_is_not_overwritten_by_accident(tmp_path):
    run(tmp_path)
    before = (tmp_path / "traj.extxyz").read_bytes()
    with pytest.raises(FileExistsError, match=r"traj.extxyz exists already: pass --resume"):
        run(tmp_path)
    assert (tmp_path / "traj.extxyz").read_bytes() == before
    run(tmp_path, settings=replace(SETTINGS, seed=5), overwrite=True)
    assert (tmp_path / "traj.extxyz").read_bytes() != before


def test_a_trajectory_that_was_lost(tmp_path):
    run(tmp_path)
    (tmp_path / "traj.extxyz").write_text("")
    with pytest.raises(InputError, match="bytes or more to resume, got 0"):
        run(tmp_path, settings=replace(SETTINGS, steps=100), resume=True)


# Stopping.


def hot(atoms, factor):
    """A run whose atoms are pushed apart at step 30."""

    def report(done, total, note):
        if done == 30:
            atoms.calc.depth = factor

    return report


def test_the_guard_stops_and_keeps_everything(tmp_path):
    atoms = cluster()
    outcome = run(tmp_path, atoms, report=hot(atoms, -40.0))
    assert outcome.reason is not None
    assert outcome.reason.endswith(f"(step {outcome.step})")
    assert 30 < outcome.step < 60
    steps = list(range(0, outcome.step + 1, 5))
    assert [f.info["step"] for f in ase.io.read(tmp_path / "traj.extxyz", ":")] == steps
    assert pd.read_csv(tmp_path / "md.csv").step.tolist() == steps
    assert load_state(tmp_path / "traj.extxyz.state")["stopped"] == outcome.reason
    with pytest.raises(InputError, match="--no-guard goes on all the same"):
        run(tmp_path, atoms, resume=True)
    outcome = run(tmp_path, cluster(), replace(SETTINGS, guard=False), resume=True)
    assert (outcome.step, outcome.reason) == (60, None)


def test_without_a_guard_a_run_goes_on(tmp_path):
    atoms = cluster()
    settings = replace(SETTINGS, guard=False)
    assert run(tmp_path, atoms, settings, report=hot(atoms, -40.0)).reason is None


def test_a_model_that_gives_up_within_a_step(tmp_path, monkeypatch):
    """What is recorded stays, and the last state is from before."""
    monkeypatch.setattr(molecular_dynamics, "SAVE_S", 0.0)
    atoms = cluster()

    def overlap(done, total, note):
        if done == 30:
            atoms.calc.potential = refuse

    def refuse(positions):
        raise UnsupportedAtomsError("atoms 1 (C) and 2 (O) are 0.100 Å apart")

    outcome = run(tmp_path, atoms, report=overlap)
    assert outcome.reason == "atoms 1 (C) and 2 (O) are 0.100 Å apart (after step 30)"
    assert outcome.step == 30
    assert load_state(tmp_path / "traj.extxyz.state")["step"] == 30
    assert run(tmp_path, resume=True).step == 60


def test_an_ensemble_is_watched(tmp_path):
    from force_fields import force_field

    atoms = ethanol([force_field(seed=k) for k in range(2)])
    settings = replace(SETTINGS, max_force_error=1e-3)
    with pytest.raises(InputError, match="cannot be simulated as it is: the expected error"):
        run(tmp_path, atoms, settings)
    assert list(tmp_path.iterdir()) == []
    run(tmp_path, atoms, replace(settings, steps=5, max_force_error=1e3))
    table = pd.read_csv(tmp_path / "md.csv")
    assert (table.energy_std_eV > 0).all()
    assert (table.max_force_std_eV_A > 0).all()


# What is refused.


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"ensemble": "nph"}, "ensemble: expected one of nve, nvt, npt, got 'nph'"),
        ({"thermostat": "andersen"}, "thermostat: expected one of langevin, bussi, nose-hoover"),
        ({"temperature": 0.0}, "temperature: expected a number above zero, got 0.0"),
        ({"timestep": -1.0}, "timestep: expected a number above zero"),
        ({"steps": 0}, "steps: expected a number above zero"),
        ({"interval": 0}, "interval: expected a number above zero"),
        ({"thermostat_time": float("nan")}, "thermostat_time: expected a number above zero"),
        ({"seed": -1}, "seed: expected zero or more, got -1"),
    ],
)
def test_settings_out_of_range(options, match):
    with pytest.raises(InputError, match=match):
        MDSettings(**options)


@pytest.mark.parametrize(
    ("atoms", "settings", "match"),
    [
        (Atoms("He"), {}, "needs two atoms or more, got 1"),
        (molecule("H2O"), {"ensemble": "npt"}, r"npt needs a cell .* got pbc \[False"),
        (Atoms("H2", pbc=True), {"ensemble": "npt"}, "npt needs a cell .* 0 lattice vectors"),
    ],
)
def test_atoms_that_cannot_be_simulated(tmp_path, atoms, settings, match):
    atoms.calc = EMT()
    with pytest.raises(InputError, match=match):
        run(tmp_path, atoms, replace(SETTINGS, **settings))
    assert list(tmp_path.iterdir()) == []


def test_atoms_that_the_model_refuses(tmp_path):
    atoms = molecule("CH3Cl")
    atoms.calc = MolgeoCalculator(MODEL, "cpu")
    with pytest.raises(ValueError, match="element Cl is outside"):
        run(tmp_path, atoms)
    atoms = ethanol()
    atoms.positions[8] = atoms.positions[4] + [0, 0, 0.5]
    with pytest.raises(
        ValueError, match=r"cannot be simulated as it is: .*outside the model's domain"
    ):
        run(tmp_path, atoms)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "log", "match"),
    [
        ("traj.pdb", "md.csv", r"output: expected a name that ends in \.extxyz, \.xyz, \.traj"),
        ("nowhere/traj.xyz", "md.csv", "there is no such folder"),
        ("traj.xyz", "traj.xyz", "log: expected another file"),
    ],
)
def test_files_that_cannot_be(tmp_path, name, log, match):
    with pytest.raises(InputError, match=match):
        simulate(cluster(), SETTINGS, tmp_path / name, tmp_path / log)
