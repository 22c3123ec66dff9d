import numpy as np
import pytest
from analytic_potentials import Morse
from ase import Atoms
from ase.build import molecule
from ase.calculators.lj import LennardJones
from force_fields import force_field

from molgeo.runtime.errors import InputError
from molgeo.simulation.calculator import MolgeoCalculator, UnsupportedAtomsError
from molgeo.simulation.relaxation import relax


def test_to_the_minimum_of_a_morse_bond():
    atoms = Atoms("CO", [[0, 0, 0], [0, 0, 1.5]], calculator=Morse(2, r0=1.13))
    relaxed = relax(atoms, 1e-4)
    assert relaxed.converged
    assert relaxed.fmax < 1e-4
    assert relaxed.broken == []
    assert relaxed.atoms.get_distance(0, 1) == pytest.approx(1.13, abs=1e-5)
    assert relaxed.atoms.get_potential_energy() == pytest.approx(0.0, abs=1e-8)
    assert atoms.get_distance(0, 1) == 1.5  # the given ones stay where they are


def test_large_systems_need_no_hessian():
    """Lennard-Jones, 216 atoms on a lattice that is a little too wide."""
    grid = np.stack(np.meshgrid(*[np.arange(5.0)] * 3, indexing="ij"), -1).reshape(-1, 3)
    atoms = Atoms("Ar125", 1.15 * grid, calculator=LennardJones())
    relaxed = relax(atoms, 0.05, max_steps=200)
    assert relaxed.converged
    assert relaxed.atoms.get_potential_energy() < atoms.get_potential_energy() - 1.0


def test_what_is_at_the_minimum_stays_there():
    atoms = Atoms("CO", [[0, 0, 0], [0, 0, 1.13]], calculator=Morse(2, r0=1.13))
    relaxed = relax(atoms)
    assert relaxed.n_steps == 0
    assert relaxed.converged


def test_giving_up():
    atoms = Atoms("CO", [[0, 0, 0], [0, 0, 1.5]], calculator=Morse(2, r0=1.13))
    seen = []
    relaxed = relax(atoms, 1e-9, max_steps=2, report=lambda *call: seen.append(call))
    assert not relaxed.converged
    assert relaxed.n_steps == 2
    assert [(done, total) for done, total, _ in seen] == [(0, 2), (1, 2), (2, 2)]
    assert "fmax" in seen[0][2]


def test_bonds_that_break_are_named():
    """A potential whose minimum is elsewhere."""
    atoms = Atoms("CO", [[0, 0, 0], [0, 0, 1.2]], calculator=Morse(2, depth=1.0, a=1.0, r0=3.0))
    assert relax(atoms).broken == ["C1–O2"]


def test_a_cell_stays_as_it_is():
    atoms = molecule("H2O")
    atoms.set_cell([6.0, 6.0, 6.0])
    atoms.pbc = True
    atoms.calc = MolgeoCalculator(force_field(), device="cpu", dtype="float64")
    relaxed = relax(atoms, 0.5, max_steps=5)
    np.testing.assert_array_equal(relaxed.atoms.cell.array, atoms.cell.array)


@pytest.mark.parametrize("options", [{"fmax": 0.0}, {"fmax": float("nan")}, {"max_steps": 0}])
def test_limits_out_of_range(options):
    atoms = Atoms("CO", [[0, 0, 0], [0, 0, 1.2]], calculator=Morse(2))
    with pytest.raises(InputError, match=f"{next(iter(options))}: expected a number above zero"):
        relax(atoms, **options)


def test_what_the_model_does_not_know():
    atoms = molecule("CH3Cl")
    atoms.calc = MolgeoCalculator(force_field(), device="cpu")
    with pytest.raises(UnsupportedAtomsError, match="element Cl"):
        relax(atoms)
