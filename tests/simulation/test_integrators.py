"""Momenta, ensembles and what each of them conserves."""

import itertools

import numpy as np
import pytest
from analytic_potentials import Wells, cluster
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.constraints import (
    FixAtoms,
    FixBondLength,
    FixBondLengths,
    FixCartesian,
    FixCom,
    FixedPlane,
    Hookean,
)
from scipy.stats import chi2, kstest

from molgeo.runtime.errors import InputError
from molgeo.simulation.integrators import (
    conserved_energy,
    integrator_state,
    make_integrator,
    restore_integrator,
)
from molgeo.simulation.motion import (
    degrees_of_freedom,
    is_turning,
    remove_drift,
    set_momenta,
    temperature,
)
from molgeo.simulation.settings import MDSettings

NVT = [("nvt", thermostat) for thermostat in ("langevin", "bussi", "nose-hoover")]


def settings_of(ensemble="nve", thermostat="langevin", timestep=1.0, T=300.0, **other):
    times = {"thermostat_time": 30.0, "pressure": 1.0, "barostat_time": 300.0, **other}
    return MDSettings(ensemble, T, timestep, thermostat=thermostat, **times)


def integrator(atoms, *kind, seed=0, **other):
    rng, settings = np.random.default_rng(seed), settings_of(*kind, **other)
    n = degrees_of_freedom(atoms, settings.ensemble, settings.thermostat)
    set_momenta(atoms, settings.temperature, n, rng)
    return make_integrator(atoms, settings, rng, n)


def angular_momentum(atoms):
    centred = atoms.positions - atoms.get_center_of_mass()
    return np.cross(centred, atoms.get_momenta()).sum(0)


@pytest.mark.parametrize("name", ["CH3CH2OH", "H2O", "CO2", "H2", "C2H2"])
def test_momenta_have_the_temperature_and_neither_drift_nor_rotation(name):
    """Linear molecules and two atoms too."""
    atoms = molecule(name)
    atoms.rotate(20, [1, 2, 3])
    n = degrees_of_freedom(atoms, "nve", "langevin")
    assert n == (1 if len(atoms) == 2 else 3 * len(atoms) - 6)
    set_momenta(atoms, 350.0, n, np.random.default_rng(1))
    assert temperature(atoms, n) == pytest.approx(350.0, abs=1e-9)
    np.testing.assert_allclose(atoms.get_momenta().sum(0), 0.0, atol=1e-12)
    np.testing.assert_allclose(angular_momentum(atoms), 0.0, atol=1e-10)
    kinetic = 0.5 * n * units.kB * 350.0
    assert atoms.get_kinetic_energy() == pytest.approx(kinetic, rel=1e-12)


PLANE = [FixedPlane(k, [0, 0, 1]) for k in range(9)]


@pytest.mark.parametrize(
    ("constraints", "nve", "langevin"),
    [
        ([], 21, 24),
        ([FixAtoms([0, 1])], 21, 21),  # held in space: nothing is conserved
        ([FixBondLength(0, 1)], 20, 23),
        ([FixBondLengths([[0, 1], [1, 2]])], 19, 22),
        ([FixCom()], 21, 24),
        ([FixCartesian(range(9), [True, True, True])], None, None),
        (PLANE, 16, 18),  # free to drift in the plane, which Langevin's noise lets them do
        ([Hookean(0, [0.0, 0.0, 0.0], 1.0)], 27, 27),
    ],
)
def test_degrees_of_freedom_with_constraints(constraints, nve, langevin):
    atoms = molecule("CH3CH2OH")
    atoms.set_constraint(constraints)
    for ensemble, expected in (("nve", nve), ("nvt", langevin)):
        if expected is None:
            with pytest.raises(InputError, match="leave no atom free to move"):
                degrees_of_freedom(atoms, ensemble, "langevin")
            continue
        n = degrees_of_freedom(atoms, ensemble, "langevin")
        assert n == expected
        set_momenta(atoms, 350.0, n, np.random.default_rng(0))
        assert temperature(atoms, n) == pytest.approx(350.0, abs=1e-9)


def test_momenta_obey_constraints():
    """Fixed atoms rest, what is free in a direction does not drift in it."""
    atoms = molecule("CH3CH2OH")
    atoms.set_constraint(FixAtoms([0, 4]))
    set_momenta(atoms, 350.0, 21, np.random.default_rng(0))
    assert not atoms.get_momenta()[[0, 4]].any()
    assert np.abs(atoms.get_momenta().sum(0)).min() > 0.1
    atoms.set_constraint(PLANE)
    set_momenta(atoms, 350.0, 16, np.random.default_rng(0))
    np.testing.assert_allclose(atoms.get_momenta()[:, 2], 0.0, atol=1e-12)
    np.testing.assert_allclose(atoms.get_momenta().sum(0), 0.0, atol=1e-12)


def test_a_drift_is_taken_out_and_measured():
    atoms = molecule("CH3CH2OH")
    set_momenta(atoms, 300.0, 21, np.random.default_rng(0))
    before = atoms.get_momenta()
    assert not is_turning(atoms)
    atoms.set_velocities(atoms.get_velocities() + np.array([0.1, -0.2, 0.05]))
    assert remove_drift(atoms) == pytest.approx(0.5 * atoms.get_masses().sum() * 0.0525)
    np.testing.assert_allclose(atoms.get_momenta(), before, atol=1e-12)
    arms = atoms.positions - atoms.get_center_of_mass()
    atoms.set_velocities(atoms.get_velocities() + np.cross([0.0, 0.02, 0.0], arms))
    assert is_turning(atoms)
    assert degrees_of_freedom(atoms, "nve", "langevin", turning=True) == 24


@pytest.mark.parametrize("thermostat", ["langevin", "bussi"])
def test_thermostats_heat_what_can_move(thermostat):
    """Every third of 24 atoms in wells is fixed: 48 degrees of freedom hold the heat."""
    centres = 20.0 * np.random.default_rng(3).random((24, 3))
    atoms = Atoms("CHO" * 8, centres, calculator=Wells(centres))
    atoms.set_constraint(FixAtoms(range(0, 24, 3)))
    dynamics = integrator(atoms, "nvt", thermostat, T=400.0, thermostat_time=20.0)
    n = degrees_of_freedom(atoms, "nvt", thermostat)
    assert n == 48
    dynamics.run(300)
    kinetic = [atoms.get_kinetic_energy() for _ in dynamics.irun(2500)]
    assert 2 * np.mean(kinetic) / (n * units.kB) == pytest.approx(400.0, rel=0.1)
    np.testing.assert_array_equal(atoms.positions[::3], centres[::3])


@pytest.mark.parametrize(("ensemble", "thermostat"), [("npt", "langevin"), ("nvt", "nose-hoover")])
def test_integrators_without_constraints(ensemble, thermostat):
    atoms = copper()
    atoms.set_constraint(FixAtoms([0]))
    with pytest.raises(InputError, match="cannot keep them; expected nve, or nvt by langevin"):
        integrator(atoms, ensemble, thermostat)


def test_momenta_are_random_and_repeatable():
    momenta = []
    for seed in (1, 1, 2):
        atoms = molecule("CH3CH2OH")
        set_momenta(atoms, 300.0, 21, np.random.default_rng(seed))
        momenta.append(atoms.get_momenta())
    assert np.array_equal(momenta[0], momenta[1])
    assert not np.allclose(momenta[0], momenta[2])


def test_a_crystal_keeps_the_rotation_of_its_momenta():
    atoms = Atoms("HeHe", [[0, 0, 0], [1, 2, 3]], cell=[5, 5, 5], pbc=True)
    n = degrees_of_freedom(atoms, "nve", "langevin")
    assert n == 3
    set_momenta(atoms, 300.0, n, np.random.default_rng(0))
    assert temperature(atoms, n) == pytest.approx(300.0)
    assert np.abs(angular_momentum(atoms)).max() > 1e-3


def test_nve_conserves_energy_momentum_and_angular_momentum():
    """The error of the energy is of second order in the timestep; the momenta's is rounding."""
    errors = []
    for timestep in (1.0, 0.5, 0.25):
        atoms = cluster()
        atoms.positions -= atoms.get_center_of_mass()
        dynamics = integrator(atoms, timestep=timestep)
        found = [conserved_energy(dynamics) for _ in dynamics.irun(round(400 / timestep))]
        np.testing.assert_allclose(atoms.get_momenta().sum(0), 0.0, atol=1e-10)
        np.testing.assert_allclose(angular_momentum(atoms), 0.0, atol=1e-10)
        errors.append(np.std(found))
    assert errors[0] < 1e-2
    for coarse, fine in itertools.pairwise(errors):
        assert coarse / fine == pytest.approx(4.0, rel=0.25)


def test_langevin_samples_the_canonical_distribution():
    """Sixty atoms in harmonic wells: kinetic energy, each momentum and each position."""
    rng = np.random.default_rng(3)
    centres = 20.0 * rng.random((60, 3))
    atoms = Atoms("CHO" * 20, centres, calculator=Wells(centres))
    dynamics = integrator(atoms, "nvt", "langevin", T=400.0, thermostat_time=20.0)
    n, kT = degrees_of_freedom(atoms, "nvt", "langevin"), units.kB * 400.0
    assert n == 177
    dynamics.run(500)
    kinetic, momenta, moved = [], [], []
    for _ in range(200):
        dynamics.run(60)
        kinetic.append(atoms.get_kinetic_energy())
        momenta.append(atoms.get_momenta() / np.sqrt(atoms.get_masses() * kT)[:, None])
        moved.append(atoms.positions - centres)
        np.testing.assert_allclose(atoms.get_momenta().sum(0), 0.0, atol=1e-9)
    assert 2 * np.mean(kinetic) / (n * units.kB) == pytest.approx(400.0, rel=0.02)
    assert kstest(2 * np.array(kinetic) / kT, chi2(n).cdf).pvalue > 0.01
    # A centre of mass that is fixed takes each atom's share out of its variance.
    share = np.sqrt(1 - atoms.get_masses() / atoms.get_masses().sum())[:, None]
    every = np.array(momenta)[::10] / share
    assert kstest(every.ravel(), "norm").pvalue > 0.01
    assert 5.0 * np.mean(np.square(moved)) / kT == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize("thermostat", ["bussi", "nose-hoover"])
def test_global_thermostats_count_the_degrees_of_freedom_that_there_are(thermostat):
    """A molecule without drift and rotation: 3N − 6, an eighth less than 3N of sixteen atoms."""
    atoms = cluster(16)
    dynamics = integrator(atoms, "nvt", thermostat, T=200.0, thermostat_time=10.0)
    n = degrees_of_freedom(atoms, "nvt", thermostat)
    assert n == 42
    dynamics.run(500)
    kinetic = []
    for _ in range(600):
        dynamics.run(20)
        kinetic.append(atoms.get_kinetic_energy())
    np.testing.assert_allclose(atoms.get_momenta().sum(0), 0.0, atol=1e-7)
    np.testing.assert_allclose(angular_momentum(atoms), 0.0, atol=1e-6)
    assert 2 * np.mean(kinetic) / (n * units.kB) == pytest.approx(200.0, rel=0.02)
    # Of an ensemble that is not canonical the spread would be another.
    spread = np.std(kinetic) / np.mean(kinetic)
    assert spread == pytest.approx(np.sqrt(2 / n), rel=0.1)
    assert kstest(2 * np.array(kinetic)[::3] / (units.kB * 200.0), chi2(n).cdf).pvalue > 0.01


@pytest.mark.parametrize("thermostat", ["bussi", "nose-hoover"])
def test_what_a_thermostat_conserves(thermostat):
    errors = []
    for timestep in (1.0, 0.5):
        atoms = cluster(10)
        dynamics = integrator(atoms, "nvt", thermostat, timestep, T=200.0)
        found = [conserved_energy(dynamics) for _ in dynamics.irun(round(400 / timestep))]
        errors.append(np.ptp(found))
        assert np.ptp(found) < 0.05 * np.ptp([atoms.get_total_energy(), found[0]]) + 5e-3
    assert errors[1] < 0.5 * errors[0]


def test_langevin_conserves_nothing():
    assert conserved_energy(integrator(cluster(), "nvt", "langevin")) is None


def copper():
    from ase.build import bulk

    atoms = bulk("Cu", cubic=True) * (2, 2, 1)
    atoms.rattle(0.03, seed=0)
    atoms.calc = EMT()
    return atoms


def test_npt_conserves_its_energy_and_moves_the_cell():
    atoms = copper()
    dynamics = integrator(atoms, "npt", timestep=2.0, T=200.0, pressure=50_000.0)
    volume = atoms.get_volume()
    found = [conserved_energy(dynamics) for _ in dynamics.irun(150)]
    assert atoms.get_volume() < 0.99 * volume
    np.testing.assert_allclose(atoms.cell.angles(), 90.0)
    assert np.ptp(found) < 5e-3
    assert np.ptp(found) < 0.02 * abs(atoms.get_total_energy() - found[0])


@pytest.mark.parametrize(
    ("ensemble", "thermostat"), [("nve", "langevin"), *NVT, ("npt", "langevin")]
)
def test_every_integrator_can_be_gone_on_with(ensemble, thermostat):
    """A new one with the state of another goes the same way to the last bit."""

    def make():
        atoms = copper() if ensemble == "npt" else cluster()
        return integrator(atoms, ensemble, thermostat)

    first = make()
    first.run(17)
    state = integrator_state(first)
    atoms = make().atoms
    atoms.set_constraint()
    atoms.set_array("momenta", first.atoms.get_momenta(), float, (3,))
    atoms.positions = first.atoms.positions
    atoms.set_cell(first.atoms.cell.array)
    # The integrators look at their atoms when they are made.
    rng = np.random.default_rng(99)
    n = degrees_of_freedom(atoms, ensemble, thermostat)
    second = make_integrator(atoms, settings_of(ensemble, thermostat), rng, n)
    restore_integrator(second, state)
    generator = getattr(first, "rng", None)
    if generator is not None:
        rng.bit_generator.state = generator.bit_generator.state
    second.nsteps = first.nsteps
    first.run(20)
    second.run(20)
    np.testing.assert_array_equal(first.atoms.positions, second.atoms.positions)
    np.testing.assert_array_equal(first.atoms.get_momenta(), second.atoms.get_momenta())
    np.testing.assert_array_equal(first.atoms.cell.array, second.atoms.cell.array)
    assert conserved_energy(first) == conserved_energy(second)
