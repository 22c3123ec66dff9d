from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from analytic_potentials import Morse
from ase import Atoms
from ase.build import molecule
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms, FixCartesian, Hookean
from force_fields import force_field

from molgeo.graph.environments import Environments
from molgeo.predictor import checkpoint
from molgeo.predictor.header import Facts
from molgeo.runtime.errors import InputError
from molgeo.simulation import relaxation
from molgeo.simulation.calculator import MolgeoCalculator, UnsupportedAtomsError
from molgeo.simulation.familiarity import UnfamiliarWarning
from molgeo.simulation.relaxation import relax, relax_all, relax_each

MODEL = Path(__file__).parents[1] / "fixtures" / "force_field" / "force_field.safetensors"


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


# many


def calculator(dtype="float64", **options):
    return MolgeoCalculator(str(MODEL), "cpu", dtype, check_geometry=False, **options)


def shaken(*names):
    rng = np.random.default_rng(0)
    all_atoms = [molecule(name) for name in names]
    for k, atoms in enumerate(all_atoms):
        atoms.info["name"] = str(k)
        atoms.positions += 0.05 * rng.standard_normal((len(atoms), 3))
    return all_atoms


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_many_come_to_the_minima_of_one_by_one(dtype):
    all_atoms = shaken("CH3CH2OH", "H2O", "C2H6", "CO2", "CH3OH", "C6H6")
    before = [atoms.positions.copy() for atoms in all_atoms]
    calc, seen = calculator(dtype), []
    together = relax_all(all_atoms, calc, 0.005, report=lambda *call: seen.append(call))
    assert [each.atoms.info["name"] for each in together] == list("012345")
    assert [done for done, *_ in seen] == [1, 2, 3, 4, 5, 6]
    for atoms, start, one in zip(all_atoms, before, together, strict=True):
        np.testing.assert_array_equal(atoms.positions, start)
        assert atoms.calc is None
        atoms.calc = calc
        alone = relax(atoms, 0.005)
        assert one.converged == alone.converged is True
        assert (one.broken, one.refused) == ([], None)
        assert abs(one.n_steps - alone.n_steps) <= 2
        assert 0 < one.fmax < 0.005
        apart = one.atoms.positions - alone.atoms.positions
        assert np.sqrt((apart**2).sum(1).mean()) < 0.01
        energy = alone.atoms.get_potential_energy()
        assert one.atoms.get_potential_energy() == pytest.approx(energy, abs=1e-3)
        # The results are those of the structure as it is now, in the calculator's precision.
        fmax = np.linalg.norm(one.atoms.get_forces(apply_constraint=False), axis=1).max()
        assert fmax == pytest.approx(one.fmax)
        exact = one.atoms.copy()
        exact.calc = calc
        exact.get_forces()
        assert one.atoms.get_potential_energy() == pytest.approx(
            exact.get_potential_energy(), abs=1e-9 if dtype == "float64" else 1e-4
        )
        assert one.atoms.calc.results.keys() == calc.results.keys()


def test_a_bad_one_fails_alone():
    chloride, squeezed = molecule("CH3Cl"), molecule("CH4")
    squeezed.positions[1] = squeezed.positions[0] + 0.01
    lost = molecule("H2O")
    lost.positions[0, 0] = np.nan
    water, ethanol = shaken("H2O", "CH3CH2OH")
    found = relax_all([water, chloride, squeezed, lost, ethanol], calculator(), 0.05)
    assert [each.converged for each in found] == [True, False, False, False, True]
    assert "element Cl is outside" in found[1].refused
    assert "Å apart: expected at least" in found[2].refused
    assert "expected finite coordinates" in found[3].refused
    assert np.isnan(found[1].fmax)
    assert found[1].atoms.get_chemical_formula() == "CH3Cl"


def test_what_fails_in_a_batch_is_tried_by_itself():
    """Carbon has no finite features."""
    calc = calculator()
    for module in calc.models[0].modules():
        if isinstance(module, torch.nn.Embedding):
            module.weight.data[6] = torch.nan
    methane, water, other = shaken("CH4", "H2O", "H2O")
    found = relax_all([water, methane, other], calc, 0.05)
    assert [each.converged for each in found] == [True, False, True]
    assert "no finite" in found[1].refused


def test_an_ensemble_and_models_that_are_none():
    water, methane = shaken("H2O", "CH4")
    models = [force_field(seed=0), force_field(seed=1)]
    models[1].header = Facts(trained_on_forces=True, level_of_theory="not stated")
    apart = MolgeoCalculator(models, "cpu", "float64", check_geometry=False)
    for one in relax_all([water, methane], apart, 5.0, 2):
        assert "expected models of one level of theory" in one.refused
    models = [force_field(seed=0), force_field("spectrum_net", seed=0)]
    ensemble = MolgeoCalculator(models, "cpu", "float64", check_geometry=False)
    for one in relax_all([water, methane], ensemble, 0.5, 5):
        assert one.refused is None
        assert one.atoms.calc.results["forces_std"].shape == (len(one.atoms),)


def test_constraints_hold_and_others_go_one_by_one():
    fixed, line, spring, free = shaken("H2O", "CH3OH", "CH3CH2OH", "H2O")
    fixed.set_constraint(FixAtoms([0]))
    line.set_constraint(FixCartesian(1, [True, False, True]))
    spring.set_constraint(Hookean(0, 1, k=5.0, rt=1.2))
    found = relax_all([fixed, line, spring, free], calculator(), 0.05)
    assert all(each.converged for each in found)
    moved = [
        a.atoms.positions != b.positions
        for a, b in zip(found, (fixed, line, spring, free), strict=True)
    ]
    assert not moved[0][0].any()
    assert moved[1][1].tolist() == [False, True, False]
    assert moved[0][1:].all()
    assert moved[2].all()
    for atoms, one in zip((fixed, line, spring), found, strict=False):
        atoms.calc = calculator()
        alone = relax(atoms, 0.05)
        np.testing.assert_allclose(one.atoms.positions, alone.atoms.positions, atol=5e-3)


def test_periodic_ones_among_open_ones():
    box = molecule("H2O", cell=[6.0, 6.5, 7.0], pbc=True)
    box.positions += [5.5, 6.2, 0.1]  # through the boundary
    found = relax_all([*shaken("CH3OH"), box], calculator(), 0.05)
    assert all(each.converged for each in found)
    assert "stress" in found[1].atoms.calc.results
    assert "stress" not in found[0].atoms.calc.results
    box.calc = calculator()
    alone = relax(box, 0.05)
    np.testing.assert_allclose(found[1].atoms.positions, alone.atoms.positions, atol=5e-3)
    np.testing.assert_allclose(found[1].atoms.get_stress(), alone.atoms.get_stress(), atol=1e-5)


def test_bonds_that_break_among_many():
    stretched, water = molecule("H2"), molecule("H2O")
    model = force_field()  # whose bonds mean nothing
    model.domain = None
    calc = MolgeoCalculator(model, "cpu", "float64", check_geometry=False)
    many = relax_all([stretched, water], calc, 0.5, 50)
    for atoms, one in zip((stretched, water), many, strict=True):
        atoms.calc = calc
        assert one.broken == relax(atoms, 0.5, 50).broken


def test_molecules_unlike_the_training_data_are_told():
    model = checkpoint.load(str(MODEL))
    record = Environments(500, 0, dict.fromkeys(("O(H,H)", "H(O)"), 300))
    model.domain = replace(model.domain, environments=record)
    calc = MolgeoCalculator(model, "cpu", check_geometry=False)
    with pytest.warns(UnfamiliarWarning, match="CO2"):
        relax_all(shaken("H2O", "CO2"), calc, 0.5, 2)


@pytest.mark.parametrize("size", [0, -1, "many", 1.5])
def test_batch_sizes_out_of_range(size):
    with pytest.raises(InputError, match="batch_size must be 'auto' or at least 1"):
        relax_all([molecule("H2O")], calculator(), batch_size=size)


def test_none_and_one():
    assert relax_all([], calculator()) == []
    (one,) = relax_all(shaken("H2O"), calculator(), 0.05)
    assert one.converged
    assert one.atoms.get_potential_energy() < 0


def springs(all_atoms):
    for atoms in all_atoms:
        atoms.set_constraint(Hookean(0, 1, k=5.0, rt=1.2))
    return all_atoms


@pytest.mark.parametrize(("make", "size"), [(list, 1), (springs, "auto")])
def test_one_by_one_each_is_there_at_once(make, size):
    taken = []

    def given():
        for atoms in make(shaken("H2O", "CH4", "CO2", "H2O", "CH4")):
            taken.append(atoms)
            yield atoms

    found = relax_each(given(), calculator(), 0.5, batch_size=size)
    for n in range(5):
        key, relaxed = next(found)
        assert (key, relaxed.refused) == (n, None)
        assert len(taken) <= max(2, n + 1)
    assert list(found) == []


def test_what_is_done_is_there_if_one_by_itself_is_interrupted(monkeypatch):
    """The last of two that cannot go along, beside one that can."""
    calls = []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return relax(*args)

    monkeypatch.setattr(relaxation, "relax", interrupted)
    free, *others = shaken("CH4", "H2O", "H2O")
    done = []

    def collect():
        for key, _ in relax_each([free, *springs(others)], calculator(), 0.5):
            done.append(key)

    with pytest.raises(KeyboardInterrupt):
        collect()
    assert done == [0, 1]


def test_one_whose_optimiser_finds_no_step_fails_alone(monkeypatch):
    """As ASE's BFGS after a step along which the forces stay the same."""

    def flat(atoms, *options):
        if len(atoms) == 3:
            raise np.linalg.LinAlgError("Eigenvalues did not converge")
        return relax(atoms, *options)

    monkeypatch.setattr(relaxation, "relax", flat)
    water, methane = relax_all(shaken("H2O", "CH4"), calculator(), 0.5, batch_size=1)
    assert "the optimiser found no step: Eigenvalues did not converge" in water.refused
    assert methane.converged


def test_not_all_that_is_put_off_is_kept(monkeypatch):
    monkeypatch.setattr(relaxation, "MOST_PUT_OFF", 2)
    taken = []

    def given():
        for atoms in [*shaken("H2O"), *springs(shaken(*["H2O"] * 6)), *shaken("CH4")]:
            taken.append(atoms)
            yield atoms

    found = relax_each(given(), calculator(), 0.5)
    assert next(found)[0] == 0
    assert len(taken) == 3
    assert sorted(key for key, _ in found) == [*range(1, 8)]
