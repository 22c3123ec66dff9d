"""What the errors that a model expects of its forces do in simulations."""

import copy
import pickle

import ase.io
import numpy as np
import pandas as pd
import pytest
import torch
from ase.build import molecule
from force_fields import features_of, force_field, told

from molgeo.runtime.errors import InputError
from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.familiarity import UnfamiliarWarning
from molgeo.simulation.guard import MOST_SPREAD, Guard
from molgeo.simulation.many_runs import simulate_all
from molgeo.simulation.molecular_dynamics import simulate
from molgeo.simulation.relaxation import relax, relax_all
from molgeo.simulation.settings import MDSettings


def calculator(model, **options):
    return MolgeoCalculator(model, "cpu", "float64", **options)


def ethanol(calc):
    atoms = molecule("CH3CH2OH")
    atoms.calc = calc
    return atoms


def test_results_have_one_number_for_each_atom():
    model = told()
    atoms = ethanol(calculator(model))
    atoms.get_potential_energy()
    expected = atoms.calc.get_property("forces_std", atoms)
    assert expected.shape == (9,)
    assert (expected > 0).all()
    assert "forces_std" in atoms.calc.implemented_properties
    assert "energy_std" not in atoms.calc.implemented_properties
    x, z = features_of(model, molecule("CH3CH2OH")), torch.from_numpy(atoms.numbers)
    by_hand = model.expected_errors.of_atoms(x, z)
    np.testing.assert_allclose(expected, by_hand, rtol=1e-4)
    silent = ethanol(calculator(force_field("spectrum_net")))
    silent.get_forces()
    assert "forces_std" not in silent.calc.results


def test_replays_and_copies_tell_the_same():
    model = told()
    plain = ethanol(calculator(model, replay=False))
    plain.get_forces()
    for calc in (
        calculator(model, replay=True),
        copy.deepcopy(plain.calc),
        pickle.loads(pickle.dumps(plain.calc)),
    ):
        atoms = ethanol(calc)
        for k in range(3):
            atoms.rattle(0.01, seed=k)
            plain.positions = atoms.positions
            atoms.get_forces(), plain.get_forces()
            found, expected = (one.calc.results["forces_std"] for one in (atoms, plain))
            np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_an_ensemble_expects_at_least_its_spread():
    models = [told(seed=0), told(seed=1)]
    each = [ethanol(calculator(model)) for model in models]
    forces = np.array([one.get_forces() for one in each])
    own = np.mean([one.calc.results["forces_std"] for one in each], axis=0)
    atoms = ethanol(calculator(models))
    atoms.get_forces()
    spread = np.linalg.norm(forces.std(0, ddof=1), axis=1)
    assert (spread > own).any()
    np.testing.assert_allclose(atoms.calc.results["forces_std"], np.maximum(spread, own), rtol=1e-5)
    assert atoms.calc.max_force_error == 1e3


def test_what_is_beyond_the_limit_is_said_once():
    calc = calculator(told(limit=1e-4))
    atoms = ethanol(calc)
    with pytest.warns(UnfamiliarWarning, match=r"expected error of the force on atom .* 0.00 eV/Å"):
        atoms.get_forces()
    atoms.rattle(0.01, seed=0)
    atoms.get_forces()  # no second warning, which would be an error here
    ethanol(calculator(told(limit=1e-4), allow_unfamiliar=True)).get_forces()


def test_a_scan_that_leaves_the_domain_is_said_where_it_does():
    """The same composition is looked at again, as long as nothing was said of it."""
    atoms = ethanol(calculator(told()))
    largest = []
    for distance in (0.97, 1.6):
        atoms.set_distance(2, 3, distance, fix=0)
        atoms.get_forces()
        largest.append(atoms.calc.results["forces_std"].max())
    assert largest[1] > 1.2 * largest[0]
    atoms.calc = calculator(told(1.1 * largest[0]))
    atoms.set_distance(2, 3, 0.97, fix=0)
    atoms.get_forces()
    atoms.set_distance(2, 3, 1.6, fix=0)
    with pytest.warns(UnfamiliarWarning, match="above the limit"):
        atoms.get_forces()


def test_the_guard_takes_two_thirds_of_the_models_own_limit():
    atoms = ethanol(calculator(told(limit=0.015), allow_unfamiliar=True))
    atoms.get_forces()
    guard = Guard(atoms, 300.0, 24)
    assert guard.max_force_error == pytest.approx(0.01)
    reason = guard.stop_reason(atoms)
    worst = atoms.calc.results["forces_std"].argmax()
    assert f"on atom {atoms.symbols[worst]}{worst + 1} is" in reason
    assert "above the limit of 0.01 eV/Å" in reason
    assert Guard(atoms, 300.0, 24, 1e3).stop_reason(atoms) is None
    silent = ethanol(calculator(force_field("spectrum_net")))
    silent.get_forces()
    guard = Guard(silent, 300.0, 24)
    assert (guard.max_force_error, guard.stop_reason(silent)) == (MOST_SPREAD, None)


def test_a_run_writes_it_and_is_stopped(tmp_path):
    settings = MDSettings(steps=4, interval=2, ensemble="nve")
    atoms = ethanol(calculator(told()))
    assert simulate(atoms, settings, tmp_path / "a.extxyz", tmp_path / "a.csv").reason is None
    frames, table = ase.io.read(tmp_path / "a.extxyz", ":"), pd.read_csv(tmp_path / "a.csv")
    for frame, value in zip(frames, table.max_force_std_eV_A, strict=True):
        assert frame.arrays["forces_std"].shape == (9,)
        assert frame.arrays["forces_std"].max() == pytest.approx(value, abs=1e-6)
    assert "energy_std_eV" not in table
    strict = ethanol(calculator(told(1e-4), allow_unfamiliar=True))
    with pytest.raises(InputError, match="cannot be simulated as it is: the expected error"):
        simulate(strict, settings, tmp_path / "b.extxyz", tmp_path / "b.csv")


def test_many_runs_and_relaxations_tell_what_single_ones_do(tmp_path):
    model = told()
    settings = MDSettings(steps=2, interval=1, ensemble="nve")
    alone = ethanol(calculator(model))
    simulate(alone, settings, tmp_path / "one.extxyz", tmp_path / "one.csv")
    both = [ethanol(calculator(model)) for _ in range(2)]
    files = [(tmp_path / f"{k}.extxyz", tmp_path / f"{k}.csv") for k in range(2)]
    simulate_all(both, settings, files, tmp_path / "state", seeds=[0, 0])
    expected = pd.read_csv(tmp_path / "one.csv").max_force_std_eV_A
    for _, log in files:
        np.testing.assert_allclose(pd.read_csv(log).max_force_std_eV_A, expected, rtol=1e-4)
    start = molecule("H2O")
    single = relax(ethanol(calculator(model)), 5.0, 3)
    many = relax_all([molecule("CH3CH2OH"), start], calculator(model), 5.0, 3)
    np.testing.assert_allclose(
        many[0].atoms.calc.results["forces_std"],
        single.atoms.calc.results["forces_std"],
        rtol=1e-4,
    )


def test_a_relaxation_says_if_it_ends_outside():
    inside = relax(ethanol(calculator(told())), 5.0, 3)
    assert inside.doubt is None
    strict = calculator(told(1e-4), allow_unfamiliar=True)
    assert "above the limit" in relax(ethanol(strict), 5.0, 3).doubt
    for one in relax_all([molecule("CH3CH2OH"), molecule("H2O")], strict, 5.0, 3):
        assert "above the limit" in one.doubt
