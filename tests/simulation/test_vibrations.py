"""Frequencies against closed forms, thermochemistry against ASE's and against tables."""

import numpy as np
import pytest
from analytic_potentials import Morse
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import CalculationFailed
from ase.thermochemistry import IdealGasThermo
from force_fields import force_field

from molgeo.runtime.errors import InputError
from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.relaxation import relax, structure_of
from molgeo.simulation.vibrations import (
    Modes,
    hessians,
    modes_of,
    shape_of,
    thermochemistry,
    vibrations,
)


def wave_number(k, mass):
    """√(k/m) in 1/cm, of eV/Å² and u."""
    hbar = units._hbar * units.J * units.s
    return float(np.sqrt(k / mass) * hbar / units.invcm)


def test_a_morse_bond():
    """ω = a √(2 D / μ)."""
    depth, a = 4.5, 2.0
    atoms = Atoms("CO", [[0, 0, 0], [0.3, 0.4, 1.0]])
    r0 = atoms.get_distance(0, 1)
    atoms.calc = Morse(2, depth, a, r0)
    m = atoms.get_masses()
    found = vibrations(atoms)
    expected = wave_number(2 * depth * a**2, m[0] * m[1] / m.sum())
    assert found.shape == "linear"
    assert found.frequencies_cm == pytest.approx([expected], rel=1e-5)
    assert len(found.rest) == 5
    np.testing.assert_allclose(np.abs(found.rest) / units.invcm, 0.0, atol=3.0)


def test_a_linear_chain_of_two_springs():
    """Symmetric √(k/m), antisymmetric √(k (1/m + 2/M)); it has no force against bending."""
    k = 2 * 4.0 * 1.8**2
    atoms = Atoms("OCO", [[0, 0, -1.2], [0, 0, 0], [0, 0, 1.2]])
    atoms.calc = Morse(3, 4.0, 1.8, 1.2, pairs=[(0, 1), (1, 2)])
    m, M = atoms.get_masses()[[0, 1]]
    found = vibrations(atoms)
    expected = [wave_number(k, m), wave_number(k * (1 / m + 2 / M), 1.0)]
    assert found.shape == "linear"
    assert len(found.energies) == 4
    assert found.frequencies_cm[-2:] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(found.frequencies_cm[:2], 0.0, atol=5.0)


def test_an_equilateral_triangle():
    """A breathing mode √(3k/m) and a degenerate pair √(3k/2m)."""
    k = 2 * 4.0 * 1.8**2
    angle = 2 * np.pi * np.arange(3) / 3
    circle = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    atoms = Atoms("C3", 1.2 / np.sqrt(3) * circle, calculator=Morse(3, 4.0, 1.8, 1.2))
    m = atoms.get_masses()[0]
    found = vibrations(atoms)
    pair, breathing = wave_number(1.5 * k, m), wave_number(3 * k, m)
    assert found.shape == "nonlinear"
    assert found.frequencies_cm == pytest.approx([pair, pair, breathing], rel=1e-5)
    assert found.n_imaginary == 0


def test_a_saddle_point_has_an_imaginary_mode():
    """At the top of a Morse bond's mirror image: −V, whose curvature is negative."""
    atoms = Atoms("C3", [[0, 0, -1.2], [0, 0, 0], [0, 0, 1.2]])
    atoms.calc = Morse(3, -4.0, 1.8, 1.2, pairs=[(0, 1), (1, 2)])
    found = vibrations(atoms)
    m = atoms.get_masses()[0]
    assert found.n_imaginary >= 2
    assert found.frequencies_cm[0] == pytest.approx(-wave_number(3 * 2 * 4.0 * 1.8**2, m), rel=1e-5)
    with pytest.raises(InputError, match=r"of 4 frequencies are imaginary, the largest -\d+i"):
        thermochemistry(atoms, found)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("H2O", "nonlinear"), ("CO2", "linear"), ("N2", "linear"), ("O", "monatomic")],
)
def test_shapes(name, shape):
    assert shape_of(molecule(name)) == shape


# Experimental fundamentals in 1/cm, and entropies at 298.15 K and 1 bar in J/mol/K (CODATA, JANAF).
WATER = (1595.0, 3657.0, 3756.0)
KNOWN = [("H2O", 2, WATER, 188.8), ("CO2", 2, (667.0, 667.0, 1333.0, 2349.0), 213.8)]


@pytest.mark.parametrize(("name", "symmetry", "frequencies", "entropy"), KNOWN)
def test_thermochemistry_is_that_of_ase_and_of_tables(name, symmetry, frequencies, entropy):
    atoms = molecule(name)
    atoms.calc = Morse(3)
    energies = np.array(frequencies, dtype=complex) * units.invcm
    found = thermochemistry(
        atoms, Modes(energies, energies[:0], shape_of(atoms)), 298.15, 1.0, symmetry
    )
    gas = IdealGasThermo(
        list(energies.real), shape_of(atoms), atoms.get_potential_energy(), atoms, symmetry, 0
    )
    assert found["zpe_eV"] == pytest.approx(0.5 * energies.real.sum())
    assert found["g_eV"] == pytest.approx(gas.get_gibbs_energy(298.15, 1e5, verbose=False))
    assert found["h_eV"] == pytest.approx(gas.get_enthalpy(298.15, verbose=False))
    assert found["u_eV"] == pytest.approx(found["h_eV"] - units.kB * 298.15)
    assert found["g_eV"] == pytest.approx(found["h_eV"] - 298.15 * found["s_eV_K"])
    assert found["s_eV_K"] / units.J * units.mol == pytest.approx(entropy, abs=0.3)


def test_an_atom_is_all_translation():
    """Sackur–Tetrode: helium's entropy is 126.15 J/mol/K at 1 bar."""
    atoms = Atoms("He", calculator=Morse(1))
    found = vibrations(atoms)
    assert found.frequencies_cm == []
    s = thermochemistry(atoms, found, pressure_bar=1.0)["s_eV_K"]
    assert s / units.J * units.mol == pytest.approx(126.15, abs=0.02)


def test_of_a_model_the_modes_are_those_of_its_hessian():
    """Against second derivatives by autograd, mass-weighted here."""
    import torch

    predictor = force_field().double()
    atoms = molecule("H2O")
    atoms.calc = MolgeoCalculator(predictor, device="cpu", dtype="float64")
    z, pos = torch.tensor(atoms.numbers), torch.tensor(atoms.positions)
    hessian = torch.autograd.functional.hessian(lambda x: predictor(z, x)["energy"].sum(), pos)
    w = np.repeat(atoms.get_masses() ** -0.5, 3)
    squares = np.linalg.eigvalsh(hessian.reshape(9, 9).numpy() * w * w[:, None])
    found = vibrations(atoms)
    every = np.concatenate([found.energies, found.rest])
    scale = units._hbar * units.J * units.s
    np.testing.assert_allclose(
        np.sort((every**2).real), scale**2 * squares, rtol=1e-4, atol=1e-6 * scale**2
    )


def test_periodic_structures_are_no_gas():
    atoms = molecule("H2O")
    atoms.set_cell([5, 5, 5])
    atoms.pbc = True
    atoms.calc = Morse(3)
    with pytest.raises(InputError, match="expected a molecule, got pbc"):
        vibrations(atoms)


@pytest.mark.parametrize(
    "options", [{"temperature_K": 0.0}, {"pressure_bar": -1.0}, {"symmetry_number": 0}]
)
def test_conditions_out_of_range(options):
    atoms = Atoms("He", calculator=Morse(1))
    with pytest.raises(InputError, match=f"{next(iter(options)).split('_')[0]}.*above zero"):
        thermochemistry(atoms, vibrations(atoms), **options)


def test_work_is_reported_and_leaves_no_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    atoms = Atoms("CO", [[0, 0, 0], [0, 0, 1.2]], calculator=Morse(2))
    seen = []
    relaxed = relax(atoms)
    vibrations(relaxed.atoms, report=lambda *call: seen.append(call))
    assert seen[-1][:2] == (12, 12)
    assert [done for done, _ in (call[:2] for call in seen)] == list(range(1, 13))
    assert list(tmp_path.iterdir()) == []


def test_structures_of_several_sizes_go_together():
    """Their Hessian matrices are those of each, and those of a calculator asked one by one."""
    calc = MolgeoCalculator(force_field(), "cpu", "float64", check_geometry=False)
    some = [molecule(name) for name in ("H2O", "CH3OH", "CH4")]
    found = list(hessians(map(structure_of, some), calc))
    for atoms, hessian in zip(some, found, strict=True):
        (alone,) = hessians([structure_of(atoms)], calc)
        np.testing.assert_allclose(hessian, alone, rtol=0, atol=1e-7)
        moved, column = atoms.copy(), []
        for step in (-0.001, 0.001):
            moved.positions = atoms.positions
            moved.positions[1, 2] += step
            column.append(calc.get_forces(moved).ravel())
        np.testing.assert_allclose((hessian[5] + hessian[:, 5]) / 2, hessian[5], rtol=0, atol=1e-12)
        expected = (column[0] - column[1]) / 0.002
        np.testing.assert_allclose(hessian[5], expected, rtol=0, atol=1e-3)


def test_a_hessian_that_is_not_finite():
    bad = np.full((9, 9), np.nan)
    with pytest.raises(CalculationFailed, match="no finite forces of displaced atoms"):
        modes_of(molecule("H2O"), bad)
