import numpy as np
import pytest
from analytic_potentials import Morse, cluster
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from force_fields import force_field

from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.guard import Guard, bonds_of, broken_bonds


def ethanol(calc=None):
    atoms = molecule("CH3CH2OH")
    atoms.calc = calc or SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((9, 3)))
    return atoms


def test_nothing_to_complain_of():
    atoms = ethanol(MolgeoCalculator(force_field(), device="cpu"))
    guard = Guard(atoms, 300.0, 24)
    assert guard.closest == pytest.approx(0.75 * 0.9)
    assert guard.stop_reason(atoms) is None
    atoms.rattle(0.05, seed=0)
    assert guard.stop_reason(atoms) is None


def test_bonds_of_a_molecule_and_across_a_boundary():
    i, j, _, longest = bonds_of(ethanol())
    pairs = set(zip(i.tolist(), j.tolist(), strict=True))
    assert pairs == {(0, 1), (0, 6), (0, 7), (0, 8), (1, 2), (1, 4), (1, 5), (2, 3)}
    assert longest.min() > 1.5
    water = molecule("H2O")
    water.set_cell([6.0, 6.0, 6.0])
    water.pbc = True
    water.positions += [0.1, 0.0, 3.0]
    inside = water.copy()
    inside.wrap()
    assert not np.allclose(inside.positions, water.positions)
    assert len(bonds_of(inside)[0]) == 2
    assert broken_bonds(bonds_of(inside), inside) == []


@pytest.mark.parametrize("periodic", [False, True])
def test_a_broken_bond_is_named(periodic):
    atoms = molecule("H2O")
    if periodic:
        atoms.set_cell([8.0, 8.0, 8.0])
        atoms.pbc = True
        atoms.wrap()
    atoms.calc = SinglePointCalculator(atoms, energy=0.0)
    guard = Guard(atoms, 300.0, 3)
    axis = atoms.get_distance(0, 1, vector=True, mic=True) / atoms.get_distance(0, 1, mic=True)
    atoms.positions[1] += 0.6 * axis  # 1.57 Å, a stretched bond
    assert guard.stop_reason(atoms) is None
    atoms.positions[1] += 0.3 * axis
    assert guard.stop_reason(atoms) == "the bond O1–H2 broke: 1.87 Å"
    assert broken_bonds(guard.bonds, atoms) == ["O1–H2"]


def test_a_contact_outside_the_domain():
    atoms = ethanol(MolgeoCalculator(force_field(), device="cpu"))
    guard = Guard(atoms, 300.0, 24)
    atoms.positions[8] = atoms.positions[4] + [0.0, 0.0, 0.5]
    reason = guard._contact_reason(atoms)
    assert reason == (
        "atoms H5–H9 are 0.50 Å apart, outside the model's domain: expected at least 0.68 Å"
    )
    # Without a model there is no domain.
    assert Guard(ethanol(), 300.0, 24)._contact_reason(atoms) is None


@pytest.mark.parametrize("n_degrees", [1, 3, 24, 300])
def test_temperatures_fluctuate_before_they_run_away(n_degrees):
    """No thermal momentum of a million is taken for an accident, and a tenfold temperature is."""
    atoms = ethanol()
    guard = Guard(atoms, 300.0, n_degrees)
    rng = np.random.default_rng(0)
    thermal = 300.0 * rng.chisquare(n_degrees, 1_000_000) / n_degrees
    assert thermal.max() < guard.hottest
    assert guard.hottest < 450.0 * (2 + 6 * np.sqrt(2 / n_degrees) + 40 / n_degrees)
    atoms.set_momenta(np.full((9, 3), 500.0))
    assert "the temperature ran away" in guard.stop_reason(atoms)
    atoms.set_momenta(np.full((9, 3), np.nan))
    assert "the temperature ran away: nan K" in guard.stop_reason(atoms)


def test_an_ensemble_that_disagrees():
    models = [force_field(seed=k) for k in range(3)]
    atoms = ethanol(MolgeoCalculator(models, device="cpu"))
    atoms.get_forces()
    spread = atoms.calc.results["forces_std"]
    assert Guard(atoms, 300.0, 24).max_force_error == 0.5  # of models without a limit of their own
    assert Guard(atoms, 300.0, 24, 1.01 * spread.max()).stop_reason(atoms) is None
    reason = Guard(atoms, 300.0, 24, 0.5 * spread.max()).stop_reason(atoms)
    name = f"{atoms.symbols[spread.argmax()]}{spread.argmax() + 1}"
    begin = f"the expected error of the force on atom {name} is {spread.max():.2f} eV/Å, above the"
    assert reason.startswith(begin)


def test_a_guard_goes_on_with_the_bonds_of_another():
    atoms = cluster(2)
    first = Guard(atoms, 300.0, 1)
    atoms.positions[1] += 5.0 * (atoms.positions[1] - atoms.positions[0])
    second = Guard(atoms, 300.0, 1)
    assert second.stop_reason(atoms) is None
    second.restore(first.state())
    assert "broke" in second.stop_reason(atoms)


def test_atoms_without_bonds():
    atoms = Atoms("He2", [[0, 0, 0], [0, 0, 3.0]], calculator=Morse(2))
    assert Guard(atoms, 300.0, 1).stop_reason(atoms) is None
