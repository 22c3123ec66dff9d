from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pandas as pd
import pytest
import torch
from ase.build import molecule
from ase.constraints import FixAtoms, FixCom
from force_fields import force_field
from static_replay import StaticReplay

from molgeo.predictor.header import Facts
from molgeo.runtime.errors import InputError
from molgeo.simulation import many_runs
from molgeo.simulation import replay as replaying
from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.guard import Guard
from molgeo.simulation.integrators import FixCentres
from molgeo.simulation.many_runs import apart_reason, simulate_all
from molgeo.simulation.molecular_dynamics import simulate
from molgeo.simulation.parts import parts_of
from molgeo.simulation.settings import MDSettings
from molgeo.simulation.together import MOST_PAIRS, Together

MODEL = Path(__file__).parents[1] / "fixtures" / "force_field" / "force_field.safetensors"
SHORT = MDSettings(steps=24, interval=4, temperature=200.0)


def some(*names, dtype="float64"):
    found = [molecule(name) for name in names]
    for atoms in found:
        atoms.calc = MolgeoCalculator(str(MODEL), "cpu", dtype, check_geometry=False)
    return found


def run(folder, all_atoms, settings=SHORT, **options):
    folder.mkdir(exist_ok=True)
    files = [(folder / f"{k}.traj", folder / f"{k}.csv") for k in range(len(all_atoms))]
    return simulate_all(all_atoms, settings, files, folder / "state", **options)


def frames(folder, k):
    return ase.io.read(folder / f"{k}.traj", ":")


@pytest.mark.parametrize(("ensemble", "pairs"), [("nve", 10_000), ("nvt", 50)])
def test_each_goes_as_it_would_alone(tmp_path, monkeypatch, ensemble, pairs):
    """As one batch, or as several: of water and ethanol, and then of methane and CO2."""
    monkeypatch.setitem(MOST_PAIRS, "cpu", pairs)
    settings = replace(SHORT, ensemble=ensemble)
    names = ("H2O", "CH3CH2OH", "CH4", "CO2")
    outcomes = run(tmp_path, some(*names), settings)
    for k, atoms in enumerate(some(*names)):
        files = tmp_path / "alone.traj", tmp_path / "alone.csv"
        own = replace(settings, seed=k)
        alone = simulate(atoms, own, *files, overwrite=True)
        assert (outcomes[k].step, outcomes[k].reason) == (alone.step, alone.reason) == (24, None)
        for one, other in zip(frames(tmp_path, k), ase.io.read(files[0], ":"), strict=True):
            np.testing.assert_allclose(one.positions, other.positions, atol=1e-8)
            np.testing.assert_allclose(one.get_momenta(), other.get_momenta(), atol=1e-7)
            np.testing.assert_allclose(one.get_forces(), other.get_forces(), atol=1e-6)
            assert one.info == other.info
        tables = pd.read_csv(tmp_path / f"{k}.csv"), pd.read_csv(files[1])
        pd.testing.assert_frame_equal(*tables, atol=1e-6)


def test_each_has_its_own_potential(tmp_path):
    """Models, precision, skin and replay differ, and weights of models of one name."""
    options = [
        ("schnet", {}),
        ("schnet", {}),
        ("spectrum_net", {}),
        ("schnet", {"dtype": "float64"}),
        ("schnet", {"skin": 0.2, "dtype": "float64"}),
        ("schnet", {"replay": False, "skin": 0.2, "dtype": "float64"}),
    ]
    all_atoms = [molecule("CH3OH") for _ in range(7)]
    for atoms, (name, more) in zip(all_atoms, options, strict=False):
        atoms.calc = MolgeoCalculator(force_field(name), "cpu", check_geometry=False, **more)
    other = force_field("schnet", seed=1)
    all_atoms[6].calc = MolgeoCalculator(other, "cpu", check_geometry=False, **options[5][1])
    parts = list(parts_of(all_atoms))
    assert [part.n for part in parts] == [2, 1, 1, 1, 1, 1]
    assert [part.together.skin for part in parts] == [0.5, 0.5, 0.5, 0.2, 0.2, 0.2]
    run(tmp_path, all_atoms, replace(SHORT, steps=4, ensemble="nve"))
    for k, atoms in enumerate(all_atoms):
        last = frames(tmp_path, k)[-1]
        energy = last.get_potential_energy()
        last.calc = atoms.calc
        assert energy == pytest.approx(last.get_potential_energy(), abs=1e-4)


def test_replay_is_the_calculators_choice(monkeypatch):
    """On a card, for which a capture stands here."""
    monkeypatch.setattr(replaying, "capture_on", lambda device: StaticReplay.capture)
    for option in (True, False, "auto"):
        atoms = molecule("H2O")
        atoms.calc = MolgeoCalculator(str(MODEL), "cpu", replay=option)
        (part,) = parts_of([atoms])
        assert [each.replay for each in part.together._replayed] == [option]


def stops(monkeypatch, formula, after):
    """The guard of one molecule stops it at its frame of that number."""
    looks, look = [], Guard.stop_reason

    def stop_reason(self, atoms):
        looks.extend([1] if atoms.get_chemical_formula() == formula else [])
        is_it = atoms.get_chemical_formula() == formula and len(looks) > after
        return "too hot" if is_it else look(self, atoms)

    monkeypatch.setattr(Guard, "stop_reason", stop_reason)


def test_one_that_stops_stops_alone(tmp_path, monkeypatch):
    stops(monkeypatch, "CH4", after=4)
    outcomes = run(tmp_path, some("H2O", "CH4", "CO2"))
    assert [each.reason for each in outcomes] == [None, "too hot (step 12)", None]
    assert [each.step for each in outcomes] == [24, 12, 24]
    assert [len(frames(tmp_path, k)) for k in range(3)] == [7, 4, 7]


def loses_the_second(patch):
    """Let the second structure have no finite forces in the twelfth evaluation."""
    calls, evaluate = [], Together.__call__

    def without_the_second(self, pos):
        calls.append(1)
        forces = evaluate(self, pos)
        if len(calls) == 12:
            forces[self.batch == 1] = torch.nan
        return forces

    patch.setattr(Together, "__call__", without_the_second)


def test_what_becomes_no_number_ends_alone(tmp_path, monkeypatch):
    loses_the_second(monkeypatch)
    outcomes = run(tmp_path, some("H2O", "CH4", "CO2"))
    assert outcomes[1].reason == "the model gave no finite forces (after step 9)"
    assert [each.step for each in outcomes] == [24, 8, 24]
    assert all(np.isfinite(frames(tmp_path, 2)[-1].positions).flat)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path, monkeypatch, dtype):
    """To the last byte of all files, with one that is stopped before or after the kill."""
    names = ("H2O", "CH3CH2OH", "CH4", "CO2")
    monkeypatch.setitem(MOST_PAIRS, "cpu", 120)
    for stopped_at in (3, 6):
        with monkeypatch.context() as patch:
            stops(patch, "CH4", after=stopped_at)
            whole = run(tmp_path / "whole", some(*names, dtype=dtype), overwrite=True)
        with monkeypatch.context() as patch:
            stops(patch, "CH4", after=stopped_at)
            patch.setattr(many_runs, "SAVE_S", 0.0)
            patch.setattr(many_runs, "SAVING", np.inf)

            def kill(done, total, note):
                if done == 16:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                run(tmp_path / "cut", some(*names, dtype=dtype), overwrite=True, report=kill)
            for k in {0, 1, 2, 3} - ({2} if stopped_at == 3 else set()):
                with (tmp_path / "cut" / f"{k}.csv").open("a") as file:
                    file.write("half a li")  # after the last state
            resumed = run(tmp_path / "cut", some(*names, dtype=dtype), resume=True)
        assert [each.reason for each in resumed] == [each.reason for each in whole]
        assert [each.step for each in resumed] == [each.step for each in whole]
        for k in range(len(names)):
            for name in (f"{k}.csv", f"{k}.traj"):
                assert (tmp_path / "cut" / name).read_bytes() == (
                    tmp_path / "whole" / name
                ).read_bytes(), name


def test_energy_is_conserved_and_langevin_heats(tmp_path):
    names = ("H2O", "CH4", "CH3OH", "C2H6") * 4
    nve = replace(SHORT, ensemble="nve", steps=60, interval=5, timestep=0.25)
    run(tmp_path / "nve", some(*names, dtype="float32"), nve)
    tables = [pd.read_csv(tmp_path / "nve" / f"{k}.csv") for k in range(len(names))]
    assert all(np.ptp(table["total_eV"]) < 0.02 for table in tables)
    assert any(np.ptp(table["kinetic_eV"]) > 0.05 for table in tables)
    nvt = MDSettings(steps=240, interval=8, thermostat_time=10.0, temperature=300.0, guard=False)
    all_atoms = some(*names, dtype="float32")
    run(tmp_path / "nvt", all_atoms, nvt)
    tables = [pd.read_csv(tmp_path / "nvt" / f"{k}.csv") for k in range(len(names))]
    mean = np.mean([table["temperature_K"][15:].mean() for table in tables])
    assert 240 < mean < 360
    for k, atoms in enumerate(all_atoms):  # no structure drifts
        last = frames(tmp_path / "nvt", k)[-1]
        apart = last.get_center_of_mass() - atoms.get_center_of_mass()
        np.testing.assert_allclose(apart, 0, atol=1e-8)
        np.testing.assert_allclose(last.get_momenta().sum(0), 0, atol=1e-8)


def test_constraints_cells_and_others(tmp_path):
    fixed, box, other = some("H2O", "CH3OH", "CH4")
    fixed.set_constraint(FixAtoms([0]))
    box.set_cell([7.0, 7.0, 7.0])
    box.pbc = True
    outcomes = run(tmp_path, [fixed, box, other])
    assert [each.reason for each in outcomes] == [None] * 3
    assert (frames(tmp_path, 0)[-1].positions[0] == fixed.positions[0]).all()
    assert (frames(tmp_path, 0)[-1].positions[1] != fixed.positions[1]).all()
    assert isinstance(frames(tmp_path, 0)[-1].constraints[0], FixAtoms)
    assert "pressure_bar" in pd.read_csv(tmp_path / "1.csv")


def test_a_bad_one_fails_alone(tmp_path):
    lone, broken, fine = some("H2O", "CH4", "CO2")
    del lone[[1, 2]]
    broken.set_momenta(np.full((5, 3), 1e3))
    outcomes = run(tmp_path, [lone, broken, fine])
    assert [each.step for each in outcomes] == [-1, -1, 24]
    assert "two atoms or more" in outcomes[0].reason
    assert "velocities: the input's are of" in outcomes[1].reason
    again = run(tmp_path, [lone, broken, fine], replace(SHORT, steps=28), resume=True)
    assert [each.step for each in again] == [-1, -1, 28]
    assert again[2].resumed_from == 24


def test_models_that_are_no_ensemble(tmp_path):
    all_atoms = some("H2O", "CH4")
    models = [force_field(seed=0), force_field(seed=1)]
    models[1].header = Facts(trained_on_forces=True, level_of_theory="not stated")
    for atoms in all_atoms:
        atoms.calc = MolgeoCalculator(models, "cpu", check_geometry=False)
    for outcome in run(tmp_path, all_atoms):
        assert outcome.step == -1
        assert "expected models of one level of theory" in outcome.reason


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"thermostat": "bussi"}, "bussi is a thermostat of one structure"),
        ({"ensemble": "npt"}, "npt changes the cell"),
        ({"ensemble": "nve", "thermostat": "bussi"}, None),
        ({}, None),
    ],
)
def test_what_goes_one_by_one(settings, reason):
    (atoms,) = some("H2O")
    assert apart_reason(atoms, MDSettings(**settings)) == reason


def test_thermostats_of_one_structure_go_one_by_one(tmp_path):
    outcomes = run(tmp_path, some("H2O", "CH4"), replace(SHORT, thermostat="bussi"))
    assert [each.step for each in outcomes] == [24, 24]
    assert pd.read_csv(tmp_path / "1.csv")["conserved_eV"].notna().all()
    assert not (tmp_path / "state").exists()


def test_states_of_other_runs(tmp_path):
    run(tmp_path, some("H2O", "CH4"))
    longer = replace(SHORT, steps=28)
    other, same = run(tmp_path, some("CO2", "CH4"), longer, resume=True)
    assert (other.step, same.step) == (-1, 28)
    assert "structure is another one" in other.reason
    with pytest.raises(InputError, match="temperature was"):
        run(tmp_path, some("H2O", "CH4"), replace(SHORT, temperature=100.0), resume=True)
    with pytest.raises(FileExistsError):
        run(tmp_path, some("H2O", "CH4"))
    files = tmp_path / "0.traj", tmp_path / "0.csv"
    (tmp_path / "0.traj.state").write_bytes((tmp_path / "state").read_bytes())
    with pytest.raises(InputError, match="state is that of several structures"):
        simulate(some("H2O")[0], SHORT, *files, resume=True)
    (tmp_path / "state").unlink()
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        run(tmp_path, some("H2O", "CH4"), resume=True)


def steps(folder, k):
    return pd.read_csv(folder / f"{k}.csv")["step"].tolist()


def test_each_goes_on_from_its_own_step(tmp_path):
    """One was left out for a while, and one is new; no row is doubled or lost."""
    run(tmp_path, some("H2O", "CH4", "CO2"))
    assert run(tmp_path, some("H2O", "CH4"), replace(SHORT, steps=40), resume=True)[0].step == 40
    settings = replace(SHORT, steps=52)
    outcomes = run(tmp_path, some("H2O", "CH4", "CO2", "CH3OH"), settings, resume=True)
    assert [each.resumed_from for each in outcomes] == [40, 40, 24, None]
    assert [each.step for each in outcomes] == [52] * 4
    for k in range(4):
        assert steps(tmp_path, k) == [frame.info["step"] for frame in frames(tmp_path, k)]
        assert steps(tmp_path, k) == [*range(0, 53, 4)]
    alone = simulate(
        some("CO2")[0], replace(settings, seed=2), tmp_path / "a.traj", tmp_path / "a.csv"
    )
    last = ase.io.read(tmp_path / "a.traj")
    assert alone.step == 52
    np.testing.assert_allclose(frames(tmp_path, 2)[-1].positions, last.positions, atol=1e-7)


def test_what_stopped_goes_on_without_the_guard(tmp_path, monkeypatch):
    """From the frame that stopped it, or from the last state before a step that failed."""
    with monkeypatch.context() as patch:
        stops(patch, "CH4", after=4)
        assert run(tmp_path, some("H2O", "CH4"))[1].step == 12
    outcomes = run(tmp_path, some("H2O", "CH4"), resume=True)
    assert [each.step for each in outcomes] == [24, 12]
    again = run(tmp_path, some("H2O", "CH4"), replace(SHORT, guard=False), resume=True)
    assert [(each.step, each.reason) for each in again] == [(24, None), (24, None)]
    assert steps(tmp_path, 1) == [*range(0, 25, 4)]
    run(tmp_path / "whole", some("H2O", "CH4"))
    last = frames(tmp_path / "whole", 1)[-1].positions
    np.testing.assert_allclose(frames(tmp_path, 1)[-1].positions, last, atol=1e-7)


def test_a_run_whose_step_failed_goes_on_from_its_state(tmp_path, monkeypatch):
    """The state is that of its step: what the atoms did afterwards is not in it."""
    with monkeypatch.context() as patch:
        loses_the_second(patch)
        assert run(tmp_path, some("H2O", "CH4"))[1].step == 8
    again = run(tmp_path, some("H2O", "CH4"), replace(SHORT, guard=False), resume=True)
    assert [each.step for each in again] == [24, 24]
    run(tmp_path / "whole", some("H2O", "CH4"))
    last = frames(tmp_path / "whole", 1)[-1].positions
    np.testing.assert_allclose(frames(tmp_path, 1)[-1].positions, last, atol=1e-7)


@pytest.mark.parametrize("thermostat", ["langevin", "bussi"])
def test_one_that_cannot_go_on_ends_no_other(tmp_path, thermostat):
    """Its table is gone, or it has files without a state."""
    settings = replace(SHORT, thermostat=thermostat)
    run(tmp_path, some("H2O", "CH4", "CO2"), settings)
    (tmp_path / "0.csv").unlink()
    (tmp_path / "3.traj").write_text("of another run")
    longer = replace(settings, steps=28)
    outcomes = run(tmp_path, some("H2O", "CH4", "CO2", "CH3OH"), longer, resume=True)
    assert [each.step for each in outcomes] == [-1, 28, 28, -1]
    assert "0.csv: expected" in outcomes[0].reason
    assert "3.traj is there, but no state" in outcomes[3].reason
    assert (tmp_path / "3.traj").read_text() == "of another run"


def test_one_by_one_goes_on_after_a_kill(tmp_path):
    """In the first run: the second begins."""
    settings = replace(SHORT, thermostat="bussi")

    def kill(done, total, note):
        if done > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, some("H2O", "CH4"), settings, report=kill)
    outcomes = run(tmp_path, some("H2O", "CH4"), settings, resume=True)
    assert [each.resumed_from for each in outcomes] == [0, None]
    run(tmp_path / "whole", some("H2O", "CH4"), settings)
    for name in ("0.csv", "1.csv", "0.traj", "1.traj"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_centres_are_held_as_by_ase():
    rng = np.random.default_rng(0)
    all_atoms = [molecule(name) for name in ("H2O", "CH4", "CO2")]
    ends = np.cumsum([0, 3, 5, 3])
    whole = sum(all_atoms[1:], all_atoms[0].copy())
    held = FixCentres(whole.get_masses(), ends, np.array([True, False, True]))
    new = whole.positions + rng.standard_normal((11, 3))
    momenta = rng.standard_normal((11, 3))
    expected = [new.copy(), momenta.copy()]
    for k in (0, 2):
        own, com = slice(*ends[k : k + 2]), FixCom()
        positions = expected[0][own].copy()
        com.adjust_positions(all_atoms[k], positions)
        com.adjust_momenta(all_atoms[k], expected[1][own])
        expected[0][own] = positions
    held.adjust_positions(whole, new)
    held.adjust_momenta(whole, momenta)
    np.testing.assert_allclose(new, expected[0], atol=1e-12)
    np.testing.assert_allclose(momenta, expected[1], atol=1e-12)
