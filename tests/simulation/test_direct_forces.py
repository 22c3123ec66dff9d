"""What moves atoms by forces that are not the gradient of an energy, and what refuses to."""

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.optimize import FIRE
from force_fields import crystal, force_field, with_direct_forces

from molgeo.runtime.errors import InputError
from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.molecular_dynamics import simulate
from molgeo.simulation.settings import MDSettings, remarks
from molgeo.simulation.vibrations import vibrations


def calculator(**options):
    given = {"device": "cpu", "dtype": "float64", "check_geometry": False} | options
    return MolgeoCalculator(given.pop("model", with_direct_forces()), **given)


@pytest.fixture
def ethanol():
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=1)
    atoms.calc = calculator(replay=False)
    return atoms


def test_the_calculator_gives_them(ethanol):
    (model,) = ethanol.calc.models
    z, pos = torch.tensor(ethanol.numbers), torch.tensor(ethanol.positions)
    _, forces = model.energy_and_forces(z, pos)
    np.testing.assert_allclose(ethanol.get_forces(), forces.numpy(), atol=1e-9)


def test_a_replay_gives_the_same(ethanol):
    expected = ethanol.get_forces()
    ethanol.calc = calculator(replay=True)
    np.testing.assert_allclose(ethanol.get_forces(), expected, atol=1e-9)
    ethanol.positions[0] += 0.01
    moved = ethanol.get_forces()
    assert np.abs(moved - expected).max() > 1e-4
    ethanol.calc = calculator(replay=False)
    np.testing.assert_allclose(moved, ethanol.get_forces(), atol=1e-9)


def test_there_is_no_stress():
    atoms = crystal()
    atoms.calc = calculator()
    atoms.get_forces()
    with pytest.raises(PropertyNotImplementedError, match=r"stress: .* are direct, not the grad"):
        atoms.get_stress()
    both = calculator(model=[with_direct_forces(), force_field().double()])
    assert "stress" not in both.implemented_properties


@pytest.mark.parametrize(("ensemble", "missing"), [("nve", "constant energy"), ("npt", "stress")])
def test_dynamics_that_need_a_gradient_are_refused(ensemble, missing, ethanol, tmp_path):
    settings = MDSettings(steps=2, ensemble=ensemble)
    with pytest.raises(InputError, match=f"direct, not .* there is no {missing} for {ensemble}"):
        simulate(ethanol, settings, tmp_path / "a.xyz", tmp_path / "a.csv")
    assert not [*tmp_path.iterdir()]


def test_a_thermostat_takes_up_what_they_add(ethanol, tmp_path):
    settings = MDSettings(steps=2, ensemble="nvt", guard=False)
    (remark,) = remarks(settings, ethanol)
    assert "no energy is conserved" in remark
    assert simulate(ethanol, settings, tmp_path / "a.xyz", tmp_path / "a.csv").step == 2


def test_there_are_no_vibrations(ethanol):
    with pytest.raises(InputError, match=r"vibrations: .* are direct, not .* no Hessian"):
        vibrations(ethanol)


def test_a_relaxation_follows_them(ethanol):
    before, forces = ethanol.positions.copy(), ethanol.get_forces()
    FIRE(ethanol, logfile=None).run(fmax=0.01, steps=1)
    moved = ethanol.positions - before
    assert (moved * forces).sum() > 0.99 * np.linalg.norm(moved) * np.linalg.norm(forces)
