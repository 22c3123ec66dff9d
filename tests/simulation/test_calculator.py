"""The ASE calculator: physics, bookkeeping and what it refuses."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import CalculationFailed, PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.constraints import FixAtoms
from ase.filters import FrechetCellFilter
from ase.md.verlet import VelocityVerlet
from ase.optimize import FIRE
from force_fields import BACKBONES, crystal, force_field

from molgeo.data.qm9.properties import PROPERTIES
from molgeo.predictor import checkpoint
from molgeo.predictor.checkpoint import catalogue
from molgeo.predictor.ensemble import advice
from molgeo.predictor.header import Facts
from molgeo.simulation.calculator import MolgeoCalculator, UnsupportedAtomsError
from molgeo.units import DEBYE


def calculator(**options):
    options = {"device": "cpu", "dtype": "float64", "check_geometry": False, **options}
    return MolgeoCalculator(options.pop("model", force_field()), **options)


def ethanol(calc=None):
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=1)
    atoms.calc = calc or calculator()
    return atoms


def periodic(calc=None):
    atoms = crystal()
    atoms.calc = calc or calculator()
    return atoms


@pytest.mark.parametrize("make", [ethanol, periodic])
def test_energy_is_the_models_own(make):
    """Against the predictor, called without the calculator's graph."""
    atoms, predictor = make(), force_field().double()
    graph = None
    if atoms.pbc.any():
        from molgeo.graph import radius_graph

        cell, pbc = torch.tensor(atoms.cell.array)[None], torch.tensor(atoms.pbc)[None]
        graph = radius_graph(torch.tensor(atoms.positions), predictor.cutoff, None, cell, pbc)
    z, pos = torch.tensor(atoms.numbers), torch.tensor(atoms.positions)
    energy, forces = predictor.energy_and_forces(z, pos, graph=graph)
    assert type(atoms.get_potential_energy()) is float
    assert atoms.get_potential_energy() == pytest.approx(energy.item(), abs=1e-9)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    np.testing.assert_allclose(atoms.get_forces(), forces.numpy(), atol=1e-9)
    assert atoms.get_forces().dtype == np.float64


@pytest.mark.parametrize("model", BACKBONES)
@pytest.mark.parametrize("make", [ethanol, periodic])
def test_forces_are_ases_numerical_forces(make, model):
    atoms = make(calculator(model=force_field(model)))
    expected = calculate_numerical_forces(atoms, eps=1e-4)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(atoms.get_forces(), expected, atol=1e-6)


@pytest.mark.parametrize("model", BACKBONES)
@pytest.mark.parametrize("pbc", [(1, 1, 1), (1, 1, 0), (0, 1, 0)])
def test_stress_is_the_numerical_stress(model, pbc):
    atoms = periodic(calculator(model=force_field(model)))
    atoms.pbc = pbc
    expected = calculate_numerical_stress(atoms, eps=1e-5, force_consistent=False)
    assert np.abs(expected).max() > 1e-4
    np.testing.assert_allclose(atoms.get_stress(), expected, atol=1e-7)


def test_stress_needs_a_periodic_cell():
    atoms = ethanol()
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()
    atoms.set_cell([20, 20, 20])  # a cell alone is fine, and changes nothing
    assert atoms.get_potential_energy() == ethanol().get_potential_energy()
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


@pytest.mark.parametrize("make", [ethanol, periodic])
def test_energies_of_atoms_sum_to_the_energy(make):
    atoms = make()
    energies = atoms.get_potential_energies()
    assert energies.shape == (len(atoms),)
    assert energies.sum() == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    # References included: far apart, an atom has what it has alone.
    apart = Atoms("OH", positions=[[0, 0, 0], [0, 0, 50.0]])
    apart.info["charge"] = -1
    predictor = force_field()
    predictor.domain = None
    apart.calc = calculator(model=predictor)
    with pytest.raises(UnsupportedAtomsError, match=r"charge -1: .* says nothing of charges"):
        apart.get_potential_energies()
    waters = molecule("H2O") + molecule("H2O")
    waters.positions[3:] += 50.0
    waters.calc = calculator()
    np.testing.assert_allclose(*waters.get_potential_energies().reshape(2, 3), atol=1e-9)


def test_periodic_images_wrap():
    """Atoms anywhere, cells any number of times: the same crystal."""
    atoms = periodic()
    energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    moved = atoms.copy()
    shifts = np.random.default_rng(0).integers(-4, 5, (len(atoms), 3))
    moved.positions += shifts @ atoms.cell.array + [0.3, -2.0, 1.0]
    moved.calc = calculator()
    assert moved.get_potential_energy() == pytest.approx(energy, abs=1e-9)
    np.testing.assert_allclose(moved.get_forces(), forces, atol=1e-9)
    np.testing.assert_allclose(moved.get_stress(), stress, atol=1e-11)
    many = atoms.repeat((2, 1, 3))
    many.calc = calculator()
    assert many.get_potential_energy() == pytest.approx(6 * energy, abs=1e-8)
    np.testing.assert_allclose(many.get_forces(), np.tile(forces, (6, 1)), atol=1e-9)
    np.testing.assert_allclose(many.get_stress(), stress, atol=1e-11)


@pytest.mark.parametrize("make", [ethanol, periodic])
def test_a_skin_changes_nothing_along_a_trajectory(make):
    atoms, calc = make(calculator(skin=0.6, replay=False)), calculator(skin=0.0, replay=False)
    rng = np.random.default_rng(2)
    # No model moves atoms as far as this without a reason: the walk is what the list must follow.
    for _ in range(40):
        atoms.positions += 0.03 * rng.standard_normal(atoms.positions.shape)
        plain = atoms.copy()
        plain.calc = calc
        assert atoms.get_potential_energy() == pytest.approx(plain.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(atoms.get_forces(), plain.get_forces(), atol=1e-9)
    assert 1 < atoms.calc.neighbours.n_built < 30
    assert calc.neighbours.n_built == 40


def test_every_change_of_the_atoms_gives_fresh_results():
    atoms = periodic(calculator(skin=1.0))
    seen = {atoms.get_potential_energy()}

    def fresh(what):
        expected = atoms.copy()
        expected.calc = calculator()
        energy = atoms.get_potential_energy()
        assert energy == pytest.approx(expected.get_potential_energy(), abs=1e-9), what
        assert energy not in seen, what
        seen.add(energy)

    atoms.positions[0] += 0.01
    fresh("positions")
    atoms.set_cell(1.01 * atoms.cell.array)
    fresh("cell")
    atoms.numbers[[1, 2]] = atoms.numbers[[2, 1]]
    fresh("numbers")
    atoms.pbc = [True, True, False]
    fresh("pbc")
    del atoms[[0, 5]]
    fresh("number of atoms")


def test_one_calculator_for_one_molecule_then_another():
    calc = calculator()
    water, other = molecule("H2O"), ethanol(calc)
    water.calc = calc
    expected = [ethanol().get_potential_energy(), calculator().get_potential_energy(water)]
    for _ in range(2):
        assert other.get_potential_energy() == expected[0]
        assert other.get_forces().shape == (9, 3)
        assert water.get_potential_energy() == pytest.approx(expected[1], abs=1e-10)
        assert water.get_forces().shape == (3, 3)


def test_results_are_kept_until_something_changes(monkeypatch):
    atoms = ethanol()
    atoms.get_forces()
    monkeypatch.setattr(atoms.calc, "_evaluate", None)
    assert atoms.get_potential_energy() == atoms.calc.results["energy"]
    atoms.set_momenta(np.ones((9, 3)))
    atoms.get_forces()


def test_structures_in_turn_are_not_computed_twice(monkeypatch):
    calc, n = calculator(), []
    some = [ethanol(calc), ethanol(calc), molecule("CH3CH2OH"), molecule("H2O")]
    some[1].positions[0] += 0.01
    inner = type(calc)._evaluate
    monkeypatch.setattr(type(calc), "_evaluate", lambda *a: n.append(1) or inner(*a))
    first = [calc.get_forces(atoms) for atoms in some]
    for _ in range(2):
        for atoms, forces in zip(some, first, strict=True):
            np.testing.assert_array_equal(calc.get_forces(atoms), forces)
            calc.get_potential_energy(atoms)
    assert len(n) == len(some)
    some[3].positions[0] += 0.01
    assert not np.array_equal(calc.get_forces(some[3]), first[3])


def test_an_energy_alone_costs_no_gradient():
    atoms = ethanol()
    energy = atoms.get_potential_energy()
    assert "forces" not in atoms.calc.results
    atoms.get_forces()
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-10)


def test_what_a_caller_does_with_results_is_his_own():
    atoms = ethanol()
    atoms.get_forces()[:] = 0.0
    assert np.abs(atoms.get_forces()).max() > 0


def test_constraints_are_not_applied_to_the_calculators_forces():
    atoms = ethanol()
    free = atoms.get_forces()
    atoms.set_constraint(FixAtoms([0]))
    assert not atoms.get_forces()[0].any()
    np.testing.assert_array_equal(atoms.get_forces(apply_constraint=False), free)
    np.testing.assert_array_equal(atoms.calc.results["forces"], free)


def test_the_atoms_and_the_predictor_are_left_alone():
    predictor = force_field().train()
    atoms = ethanol(calculator(model=predictor, dtype="float64"))
    atoms.info.update(charge=0, spin=1)
    before = copy.deepcopy((atoms.arrays, atoms.info, atoms.cell.array))
    atoms.get_forces()
    for name, array in before[0].items():
        assert np.array_equal(atoms.arrays[name], array)
    assert set(atoms.arrays) == set(before[0])
    assert atoms.info == before[1]
    assert predictor.training
    assert all(p.dtype == torch.float32 and p.requires_grad for p in predictor.parameters())
    with torch.no_grad():
        predictor.heads.out_weight.zero_()
    assert np.abs(ethanol(atoms.calc).get_forces()).max() > 0


def test_single_precision_is_close():
    exact, single = ethanol(), ethanol(calculator(dtype="float32"))
    single.positions += 3e4  # where float32 positions would have no digits left
    assert single.get_potential_energy() == pytest.approx(exact.get_potential_energy(), abs=1e-4)
    np.testing.assert_allclose(single.get_forces(), exact.get_forces(), atol=1e-4)
    assert single.get_forces().dtype == np.float64


def test_one_atom():
    predictor = force_field()
    atoms = Atoms("O", positions=[[1.0, 2.0, 3.0]], calculator=calculator(model=predictor))
    assert atoms.get_potential_energy() == pytest.approx(atoms.get_potential_energies().item())
    assert not atoms.get_forces().any()


def test_dipole_is_a_vector_with_the_predicted_norm():
    predictor = force_field(properties=("energy", "mu"))
    atoms = ethanol(calculator(model=predictor))
    z, pos = torch.tensor(atoms.numbers), torch.tensor(atoms.positions)
    mu = predictor.double()(z, pos)["mu"].item()  # Debye
    dipole = atoms.get_dipole_moment()
    assert np.linalg.norm(dipole) == pytest.approx(mu * DEBYE, abs=1e-9)
    assert mu > 1e-2
    turned = atoms.copy()
    turned.rotate(90, "z")
    turned.calc = atoms.calc
    np.testing.assert_allclose(
        turned.get_dipole_moment(), [-dipole[1], dipole[0], dipole[2]], atol=1e-9
    )
    with pytest.raises(PropertyNotImplementedError):
        ethanol().get_dipole_moment()  # not learned
    crystalline = periodic(calculator(model=predictor))
    crystalline.get_potential_energy()
    with pytest.raises(PropertyNotImplementedError):
        crystalline.get_dipole_moment()  # not defined


@pytest.mark.parametrize("make", [ethanol, periodic])
def test_an_ensemble_is_the_mean_with_its_spread(make):
    models = [force_field(seed=k) for k in range(3)]
    each = [make(calculator(model=one)) for one in models]
    atoms = make(calculator(model=models))
    energies = [one.get_potential_energy() for one in each]
    forces = np.array([one.get_forces() for one in each])
    assert atoms.get_potential_energy() == pytest.approx(np.mean(energies), abs=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), forces.mean(0), atol=1e-9)
    assert atoms.calc.results["energy_std"] == pytest.approx(np.std(energies, ddof=1), abs=1e-9)
    np.testing.assert_allclose(
        atoms.calc.get_property("forces_std", atoms),
        np.linalg.norm(forces.std(0, ddof=1), axis=1),
        atol=1e-9,
    )
    assert atoms.get_potential_energies().sum() == pytest.approx(np.mean(energies), abs=1e-9)
    if atoms.pbc.any():
        stress = [one.get_stress() for one in each]
        np.testing.assert_allclose(atoms.get_stress(), np.mean(stress, 0), atol=1e-11)
    assert set(atoms.calc.export_properties()) >= {"energy", "forces"}  # names that ASE knows
    assert atoms.calc.model_name == "random-schnet-0,random-schnet-1,random-schnet-2"


def test_models_with_different_cutoffs_share_a_graph():
    models = [force_field("schnet"), force_field("dimenet_pp")]
    models[1].backbone.cutoff = 3.0
    with pytest.raises(ValueError, match="at least one"):
        MolgeoCalculator([])
    assert calculator(model=models).neighbours.cutoff == 4.0


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies(clone):
    atoms = ethanol()
    forces = atoms.get_forces()
    other = clone(atoms.calc)
    assert other.results["energy"] == atoms.calc.results["energy"]
    moved = ethanol(other)
    np.testing.assert_allclose(moved.get_forces(), forces, atol=1e-12)
    moved.positions[0] += 0.1
    moved.get_forces()
    np.testing.assert_array_equal(atoms.get_forces(), forces)
    assert atoms.calc.results["energy"] != other.results["energy"]


def test_deep_copies_share_the_weights():
    calc = calculator()
    assert copy.deepcopy(calc).models[0] is calc.models[0]


def test_a_state_goes_on_to_the_last_digit():
    """Single precision, where the order of sums shows: with the edges of another graph it would."""
    first = periodic(calculator(dtype="float32", skin=0.8))
    first.get_forces()
    first.positions += 0.05 * np.random.default_rng(0).standard_normal((6, 3))
    forces = first.get_forces()
    second = first.copy()
    second.calc = calculator(dtype="float32", skin=0.8)
    second.calc.restore(second, first.calc.state())
    np.testing.assert_array_equal(second.get_forces(), forces)
    for atoms in (first, second):
        atoms.positions += 0.01
    np.testing.assert_array_equal(first.get_forces(), second.get_forces())
    assert second.calc.neighbours.n_built == 1


def test_it_goes_through_ases_integrators():
    atoms = ethanol()
    with VelocityVerlet(atoms, 0.1 * units.fs) as dynamics:
        start = atoms.get_total_energy()
        dynamics.run(50)
    assert atoms.get_kinetic_energy() > 1e-3
    assert atoms.get_total_energy() == pytest.approx(start, abs=1e-4)


# Options that change, and threads.


def test_a_skin_that_is_set_is_taken():
    atoms = ethanol(calculator(skin=0.0))
    energy = atoms.get_potential_energy()
    assert atoms.calc.set(skin=1.0) == {"skin": 1.0}
    assert (atoms.calc.neighbours.skin, atoms.calc.parameters["skin"]) == (1.0, 1.0)
    assert atoms.calc.results == {}
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-9)
    n_built = atoms.calc.neighbours.n_built
    atoms.positions[0] += 0.1
    atoms.get_potential_energy()
    assert atoms.calc.neighbours.n_built == n_built
    assert atoms.calc.set(skin=1.0) == {}
    assert atoms.calc.results != {}
    expected = {"model": "random-schnet-0", "dtype": "float64", "skin": 1.0, "replay": "auto"}
    assert atoms.calc.todict() == expected


def test_every_option_can_be_set(tmp_path):
    path = tmp_path / "other.safetensors"
    other = force_field(seed=1)
    checkpoint.save_checkpoint(other, path, other.header)
    calc = calculator(dtype="float32")
    copied = copy.deepcopy(calc)
    assert set(calc.set(dtype="float64", device="cpu")) == {"dtype"}
    expected = ethanol().get_potential_energy()
    assert ethanol(calc).get_potential_energy() == pytest.approx(expected, abs=1e-10)
    assert next(copied.models[0].parameters()).dtype == torch.float32
    calc.set(model=str(path))
    assert calc.model_name == calc.parameters["model"] == "other"
    expected = ethanol(calculator(model=other)).get_potential_energy()
    assert ethanol(calc).get_potential_energy() == pytest.approx(expected, abs=1e-10)
    calc.set(model=[other, force_field()])
    assert "forces_std" in calc.implemented_properties
    property_model = force_field(properties=("u0",))
    property_model.header = Facts()
    with pytest.raises(ValueError, match="allow_untrained_forces=True"):
        calc.set(model=property_model)
    calc.set(model=property_model, allow_untrained_forces=True)
    assert ethanol(calc).get_potential_energy() < 0


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"foo": 1}, TypeError, "foo: expected some of model, device, dtype, skin"),
        ({"Skin": 1}, TypeError, "did you mean 'skin'"),
        ({"dtype": "half"}, ValueError, "dtype: expected one of float32, float64, got 'half'"),
        ({"skin": -1.0}, ValueError, "skin: expected"),
        ({"skin": "wide"}, ValueError, "skin: expected a number of Å, got 'wide'"),
        ({"skin": 1.0, "model": "no-such"}, ValueError, "neither a file nor a shipped model"),
    ],
)
def test_options_that_cannot_be_set(options, error, match):
    """All stays as it was."""
    atoms = ethanol()
    energy = atoms.get_potential_energy()
    with pytest.raises(error, match=match):
        atoms.calc.set(**options)
    assert atoms.calc.parameters["skin"] == atoms.calc.neighbours.skin == 0.5
    assert atoms.calc.results["energy"] == energy
    assert atoms.calc.set(skin=0.5) == {}


def test_threads_share_a_calculator():
    """Molecules of several sizes, a few of them moving: each thread has its own numbers."""
    names = ("H2O", "CH3CH2OH", "CH4", "CO2")
    calc = calculator()

    def walk(name, calc):
        atoms, rng, found = molecule(name), np.random.default_rng(0), []
        atoms.calc = calc
        for _ in range(8):
            atoms.positions += 0.01 * rng.standard_normal(atoms.positions.shape)
            found.append((atoms.get_potential_energy(), atoms.get_forces()))
        return found

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda name: walk(name, calc), names))
    for name, steps in zip(names, found, strict=True):
        for (energy, forces), expected in zip(steps, walk(name, calculator()), strict=True):
            assert energy == pytest.approx(expected[0], abs=1e-9)
            np.testing.assert_allclose(forces, expected[1], atol=1e-9)


# What it refuses.


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda a: a.set_atomic_numbers([9] * 9),
            r"element F is outside .* trained on H, C, O only",
        ),
        (lambda a: a.info.update(charge=1), r"charge \+1 is outside the model's domain"),
        (lambda a: a.info.update(Total_Charge=-2), r"charge -2 is outside"),
        (lambda a: a.info.update(charge="much"), "charge must be a number"),
        (lambda a: a.set_initial_charges([2] + [0] * 8), r"charge \+2 is outside"),
        (lambda a: a.set_initial_magnetic_moments([1] + [0] * 8), "initial_magnetic_moments"),
        (lambda a: a.info.update(spin=3), r"spin is 3: expected a closed shell \(1\)"),
        (lambda a: a.info.update(multiplicity=2), "multiplicity is 2"),
        (lambda a: a.__delitem__(8), r"odd number of electrons \(C2H5O\)"),
        (lambda a: a.__delitem__(slice(None)), "no atoms"),
        (lambda a: a.set_positions(0 * a.positions), r"atoms \d \(\w\) and \d \(\w\) are 0.000 Å"),
        (lambda a: a.set_pbc(True), r"pbc is \[True, True, True\]: expected a lattice vector"),
        (lambda a: a.set_positions(a.positions * np.nan), "pos: expected finite coordinates"),
    ],
)
def test_atoms_outside_the_domain(change, match):
    """Each says why, again and again, and spoils nothing."""
    calc = calculator()
    atoms = ethanol(calc)
    energy = atoms.get_potential_energy()
    change(atoms)
    for _ in range(2):
        with pytest.raises(UnsupportedAtomsError, match=match):
            atoms.get_potential_energy()
        with pytest.raises(ValueError, match=match):
            atoms.get_forces()
    assert ethanol(calc).get_potential_energy() == pytest.approx(energy, abs=1e-10)


def test_dependent_lattice_vectors():
    atoms = ethanol()
    atoms.set_cell([[5, 0, 0], [10, 0, 0], [0, 0, 5]])
    atoms.pbc = True
    with pytest.raises(UnsupportedAtomsError, match="cell: expected linearly independent"):
        atoms.get_potential_energy()


def test_a_closed_shell_may_be_said_in_many_ways():
    atoms = ethanol()
    expected = atoms.get_potential_energy()
    atoms.info.update(charge=0.0, spin=0, multiplicity=1)
    atoms.set_initial_magnetic_moments([0.0] * 9)
    atoms.set_initial_charges([0.3, -0.3] + [0.0] * 7)
    assert atoms.get_potential_energy() == expected
    atoms.info["spin"] = 1
    assert atoms.get_potential_energy() == expected


def test_the_state_sees_charges():
    atoms = ethanol()
    atoms.get_potential_energy()
    assert atoms.calc.check_state(atoms) == []
    atoms.info["comment"] = "irrelevant"
    assert atoms.calc.check_state(atoms) == []
    atoms.info["charge"] = 1
    assert atoms.calc.check_state(atoms) == ["charge"]


def test_overlapping_atoms_are_seen_at_every_step():
    """Also while the graph is an old one."""
    atoms = ethanol(calculator(skin=4.0))
    atoms.get_forces()
    atoms.positions[1] = atoms.positions[0] + 0.1
    with pytest.raises(UnsupportedAtomsError, match=r"atoms 1 \(C\) and 2 \(C\) are 0.173 Å apart"):
        atoms.get_forces()
    assert atoms.calc.neighbours.n_built == 1


def test_a_property_model_has_no_forces(tmp_path):
    predictor = force_field(properties=("u0", "gap"))
    predictor.header = Facts()
    with pytest.raises(ValueError, match="allow_untrained_forces=True"):
        MolgeoCalculator(predictor)
    with pytest.raises(ValueError, match="schnet-qm9 was trained on properties"):
        MolgeoCalculator("schnet-qm9")
    predictor.name = "mine"
    atoms = ethanol(calculator(model=predictor, allow_untrained_forces=True))
    np.testing.assert_allclose(
        atoms.get_forces(), calculate_numerical_forces(atoms, eps=1e-4), atol=1e-6
    )
    gap = force_field(properties=("gap",))
    with pytest.raises(ValueError, match="forces need an energy; it predicts gap"):
        calculator(model=gap, allow_untrained_forces=True)


def test_thermal_energies_of_atoms_share_the_pv():
    """U and H of one model are tied by pV, which is no atom's own."""
    predictor = force_field(properties=("u298", "h298"))
    atoms = ethanol(calculator(model=predictor))
    z, pos = torch.tensor(atoms.numbers), torch.tensor(atoms.positions)
    expected = predictor.double()(z, pos)["u298"].item()
    assert PROPERTIES["u298"].is_energy
    assert atoms.get_potential_energy() == pytest.approx(expected, abs=1e-9)
    assert atoms.get_potential_energies().sum() == pytest.approx(expected, abs=1e-9)


def test_a_model_that_gives_nan(monkeypatch):
    atoms = ethanol()
    with torch.no_grad():
        atoms.calc.models[0].heads.out_bias.fill_(float("nan"))
    with pytest.raises(CalculationFailed, match="gave no finite"):
        atoms.get_potential_energy()


def test_checkpoints_by_path(tmp_path):
    predictor = force_field()
    path = tmp_path / "mine.safetensors"
    checkpoint.save_checkpoint(predictor, path, predictor.header)
    atoms = ethanol(calculator(model=path))
    assert atoms.get_potential_energy() == pytest.approx(ethanol().get_potential_energy(), abs=1e-9)
    assert (
        ethanol(calculator(model=[str(path), predictor])).calc.model_name == "mine,random-schnet-0"
    )
    expected = {"model": "mine", "dtype": "float64", "skin": 0.5, "replay": "auto"}
    assert atoms.calc.parameters == expected


def test_the_default_is_said_not_to_be_there(monkeypatch):
    monkeypatch.setattr(catalogue, "shipped", dict)
    with pytest.raises(ValueError, match=r"default force field '[\w-]+' is not shipped"):
        MolgeoCalculator()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"dtype": "float16"}, "dtype: expected one of float32, float64, got 'float16'"),
        ({"skin": -0.1}, "skin: expected"),
        ({"device": "tpu5"}, "device: expected auto, cpu or cuda"),
        ({"model": "no-such-model"}, "neither a file nor a shipped model"),
    ],
)
def test_bad_options(options, match):
    with pytest.raises(ValueError, match=match):
        calculator(**options)


@pytest.mark.parametrize("replay", [True, False])
@pytest.mark.parametrize("make", [ethanol, periodic])
def test_on_the_device(make, device, replay):
    expected, found = make(), make(calculator(device=device.type, replay=replay))
    for _ in range(3):
        np.testing.assert_allclose(found.get_forces(), expected.get_forces(), atol=1e-8)
        energies = [atoms.get_potential_energy() for atoms in (found, expected)]
        assert energies[0] == pytest.approx(energies[1], abs=1e-8)
        for atoms in (expected, found):
            atoms.rattle(0.02, seed=3)


def test_a_trajectory_on_the_device(device):
    """Energy is conserved, and the steps are those of the CPU as long as rounding lets them be."""
    runs = [ethanol(calculator(device=where)) for where in ("cpu", device.type)]
    for atoms in runs:
        VelocityVerlet(atoms, 0.5 * units.fs).run(20)
    np.testing.assert_allclose(runs[1].positions, runs[0].positions, atol=1e-6)


def test_what_ase_writes_of_it(tmp_path):
    """Trajectories, databases and extended xyz take the results that ASE knows, and no more."""
    atoms = ethanol(calculator(model=[force_field(seed=k) for k in range(2)]))
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    for name in ("a.traj", "a.db", "a.json", "a.extxyz"):
        ase.io.write(tmp_path / name, atoms)
        found = ase.io.read(tmp_path / name)
        assert found.get_potential_energy() == pytest.approx(energy, abs=1e-6)
        np.testing.assert_allclose(found.get_forces(), forces, atol=1e-6)


def test_a_cell_relaxes_by_its_stress():
    atoms = periodic(calculator(model=force_field(seed=3)))
    before = atoms.get_potential_energy()
    with FIRE(FrechetCellFilter(atoms), logfile=None) as optimizer:
        optimizer.run(fmax=0.05, steps=20)
    assert atoms.get_potential_energy() < before - 0.01
    assert not np.allclose(atoms.cell.array, crystal().cell.array)


# Coordinates to start from.


def in_bohr(name="CH3CH2OH"):
    atoms = molecule(name)
    atoms.positions /= 0.529177
    return atoms


def test_a_start_in_another_unit_is_refused():
    calc = calculator(check_geometry=True)
    atoms = in_bohr()
    atoms.calc = calc
    for _ in range(2):
        with pytest.raises(
            UnsupportedAtomsError, match=r"look like bohr: .* by 0\.5292.*check_geo"
        ):
            atoms.get_potential_energy()
    assert np.isfinite(ethanol(calc).get_potential_energy())
    water = in_bohr("H2O")
    water.calc = calc  # elements that are new again
    with pytest.raises(UnsupportedAtomsError, match="look like bohr"):
        water.get_forces()
    calc.set(check_geometry=False)
    assert np.isfinite(water.get_potential_energy())


def test_carbons_alone_are_refused():
    benzene = molecule("C6H6")
    carbons = benzene[benzene.numbers == 6]
    carbons.calc = calculator(check_geometry=True)
    with pytest.raises(UnsupportedAtomsError, match="6 hydrogens are missing"):
        carbons.get_potential_energy()


def test_what_becomes_of_a_start_is_not_looked_at():
    """A bond may be pulled apart, and molecules may be far from each other."""
    atoms = ethanol(calculator(check_geometry=True))
    atoms.get_potential_energy()
    atoms.positions[8] += [0.0, 4.0, 4.0]
    assert np.isfinite(atoms.get_potential_energy())
    second = atoms.copy()
    second.calc = calculator(check_geometry=True)
    second.calc.restore(second, atoms.calc.state())
    second.positions[7] += [0.0, 4.0, 4.0]
    assert np.isfinite(second.get_potential_energy())
    waters = molecule("H2O") + molecule("H2O")
    waters.positions[3:] += 30.0
    waters.calc = calculator(check_geometry=True)
    assert np.isfinite(waters.get_potential_energy())


@pytest.mark.parametrize(
    ("factor", "said"), [(1 / 0.529177, "bohr"), (0.1, "look like nm"), (10, "taken for nm")]
)
def test_other_atoms_of_the_same_elements_are_looked_at(factor, said):
    """A calculator that goes over many files must not trust the second as it did the first."""
    calc = calculator(check_geometry=True)
    first = molecule("CH3CH2OH")
    calc.get_potential_energy(first)
    other = first.copy()
    other.positions *= factor
    with pytest.raises(UnsupportedAtomsError, match=said):
        calc.get_potential_energy(other)
    first.positions[0] += 3.0  # of these what becomes of them is the user's matter
    calc.get_potential_energy(first)
    near = molecule("CH3CH2OH")
    near.positions += 0.01
    calc.get_potential_energy(near)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_are_named(bad):
    calc = calculator(check_geometry=True)
    atoms = molecule("H2O")
    calc.get_potential_energy(atoms)
    atoms.positions[1, 2] = bad
    with pytest.raises(UnsupportedAtomsError, match=r"pos: expected finite.*row 2"):
        calc.get_potential_energy(atoms)
    atoms = Atoms("H2O", molecule("H2O").positions, cell=[9, 9, bad], pbc=True)
    with pytest.raises(UnsupportedAtomsError, match=r"cell: expected finite.*row 3"):
        calc.get_potential_energy(atoms)


@pytest.mark.parametrize("wrong", ["CCO", 3, [molecule("H2O")]])
def test_what_is_no_atoms_is_told(wrong):
    with pytest.raises(TypeError, match=r"atoms: expected ase\.Atoms, got"):
        calculator().get_potential_energy(wrong)


def test_a_model_without_a_domain_refuses_what_it_has_no_features_of():
    predictor = force_field()
    predictor.domain = None
    atoms = Atoms("Fm2", positions=[[0, 0, 0], [0, 0, 3.0]], calculator=calculator(model=predictor))
    with pytest.raises(UnsupportedAtomsError, match="has no features of Fm"):
        atoms.get_potential_energy()


def test_the_charge_of_info_is_an_input():
    """Of a methyl cation and anion in one place; forces follow, states and copies too."""
    model = force_field("spectrum_net", charges=True)
    calc = calculator(model=model)
    atoms = Atoms("CH3", [[0, 0, 0.1], [0, 1.05, 0], [0.9, -0.5, 0], [-0.9, -0.5, 0]])
    z, pos = torch.tensor(atoms.numbers), torch.tensor(atoms.positions)
    found = {}
    for charge in (1, -1, 1):
        atoms.info["charge"], atoms.calc = charge, calc
        energy, forces = model.double().energy_and_forces(z, pos, charge=torch.tensor([charge]))
        np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-9)
        assert atoms.get_potential_energy() == pytest.approx(float(energy), abs=1e-9)
        numerical = calculate_numerical_forces(atoms, 1e-4)
        np.testing.assert_allclose(atoms.get_forces(), numerical, atol=1e-5)
        found[charge] = atoms.get_potential_energy()
    assert abs(found[1] - found[-1]) > 1e-3
    other = calculator(model=model)
    atoms.rattle(0.01, seed=0)
    energy = atoms.get_potential_energy()
    other.restore(atoms, calc.state())
    assert other.neighbours.graph.charge.tolist() == [1]
    assert pickle.loads(pickle.dumps(calc)).get_potential_energy(atoms) == energy
    atoms.info["charge"] = 3
    with pytest.raises(UnsupportedAtomsError, match="trained on molecules of charge -1, 0, 1 only"):
        atoms.get_forces()


@pytest.mark.parametrize(
    ("atoms", "advised"),
    [
        (Atoms("SHH", [[0, 0, 0.1], [0, 0.97, -0.8], [0, -0.97, -0.8]]), True),
        (Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], info={"charge": -1}), True),
        (Atoms("NaCl", [[0, 0, 0], [0, 0, 2.4]]), False),
    ],
)
def test_a_refusal_names_the_model_that_knows_the_molecule(atoms, advised):
    with pytest.raises(UnsupportedAtomsError) as refused:
        MolgeoCalculator("spectrum_net-gfn2").get_potential_energy(atoms)
    named = "; take the model spectrum_net-aimnet2, which knows such molecules"
    assert str(refused.value).endswith(named) == advised
    if advised:
        energy = MolgeoCalculator().get_potential_energy(atoms)  # the default
        assert np.isfinite(energy)


def test_a_damaged_file_beside_is_no_reason_of_a_refusal(monkeypatch, tmp_path):
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    monkeypatch.setattr(
        "molgeo.predictor.checkpoint.shipped", lambda: {"torn": tmp_path / "torn.safetensors"}
    )
    assert advice([16, 1, 1], 0) == ""
