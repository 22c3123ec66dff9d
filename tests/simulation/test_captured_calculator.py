"""Calculators whose evaluations are captured as on a card; `StaticReplay` stands in for it."""

import numpy as np
import pytest
from ase.build import molecule
from force_fields import crystal, force_field
from no_waiting import counted_waits
from static_replay import StaticReplay

from molgeo.predictor.ensemble import on_host
from molgeo.simulation import calculator, replay
from molgeo.simulation.calculator import MolgeoCalculator, UnsupportedAtomsError
from molgeo.simulation.relaxation import relax_all


@pytest.fixture
def captures(monkeypatch):
    """A list of what was captured."""
    made = []

    def capture(function):
        made.append(function)
        return StaticReplay.capture(function)

    monkeypatch.setattr(replay, "capture_on", lambda device: capture)
    return made


def walk(calc, atoms, n=12):
    rng = np.random.default_rng(0)
    atoms.calc = calc
    found = []
    for _ in range(n):
        atoms.positions += 0.03 * rng.standard_normal(atoms.positions.shape)
        stress = [atoms.get_stress()] if atoms.pbc.any() else []
        found.append(np.concatenate([atoms.get_forces().ravel(), *stress]))
        found.append(atoms.get_potential_energy())
    return found


@pytest.mark.parametrize("make", [lambda: molecule("CH3CH2OH"), crystal], ids=["open", "periodic"])
def test_a_calculator_of_an_ensemble_replays(make, monkeypatch, captures):
    models = [force_field("spectrum_net", ("energy", "mu"), seed=k) for k in range(2)]
    found = walk(calc := MolgeoCalculator(models, "cpu", skin=0.2, check_geometry=False), make())
    # The graph of an open molecule has all pairs, and holds for each step.
    assert (calc.neighbours.n_built > 3) == calc.atoms.pbc.any()
    assert len(captures) == 2
    monkeypatch.undo()
    for own, expected in zip(
        found, walk(MolgeoCalculator(models, "cpu", check_geometry=False), make()), strict=True
    ):
        np.testing.assert_allclose(own, expected, rtol=0, atol=2e-5)


def test_a_restored_calculator_goes_on_to_the_bit(captures):
    """After the capacity was made for another graph than the present one."""
    model = force_field("spectrum_net")
    for n in (2, 9):
        atoms = crystal()
        walk(first := MolgeoCalculator(model, "cpu", skin=0.1, check_geometry=False), atoms, n)
        walk(second := MolgeoCalculator(model, "cpu", skin=0.1, check_geometry=False), crystal(), 5)
        second.restore(atoms, first.state())
        rest = [walk(calc, atoms.copy(), 6) for calc in (first, second)]
        assert second._replayed[0].limits == first._replayed[0].limits != []
        for a, b in zip(*rest, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("make", [lambda: molecule("CH3CH2OH"), crystal], ids=["open", "periodic"])
def test_a_calculation_waits_for_nothing_but_its_results(make, monkeypatch, captures):
    """All come to the host by one copy; before, only positions are `sent`, which is no wait."""
    models = [force_field("spectrum_net", seed=k) for k in range(2)]
    calc, atoms = MolgeoCalculator(models, "cpu", check_geometry=False, replay=True), make()
    walk(calc, atoms, 2)
    before = []
    monkeypatch.setattr(calculator, "on_host", lambda *x: before.append([*found]) or on_host(*x))
    atoms.positions[0] += 0.01
    with counted_waits() as found:
        calc.calculate(atoms, ["forces", "stress"], ["positions"])
    assert before == [["aten.lift_fresh.default"]]
    assert len(found) > 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_many_are_relaxed_by_replays_only_if_the_calculator_is(dtype, captures):
    for option in (False, True):
        calc = MolgeoCalculator(force_field(), "cpu", dtype, check_geometry=False, replay=option)
        relax_all([molecule("H2O"), molecule("H2O")], calc, 1e-3, max_steps=2)
        assert bool(captures) == option


def test_atoms_on_top_of_each_other_are_refused(captures):
    calc = MolgeoCalculator(force_field(), "cpu", replay=True)
    water = molecule("H2O")
    walk(calc, water, 2)
    water.positions[1] = water.positions[0] + 0.05
    with pytest.raises(
        UnsupportedAtomsError, match=r"atoms 1 \(O\) and 2 \(H\) are 0\.087 Å apart"
    ):
        water.get_forces()
    assert calc.results == {}
