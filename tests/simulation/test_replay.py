"""Replays give what the evaluation gives, and come when they pay."""

import copy
import pickle

import numpy as np
import pytest
import torch
from ase.build import molecule
from force_fields import BACKBONES, crystal, force_field

from molgeo.graph import radius_graph
from molgeo.ops import dense
from molgeo.simulation import replay
from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.replay import Replayed


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(replay, "REPLAY_AFTER", 3)


def inputs(atoms, dtype):
    pos = torch.tensor(atoms.positions).to(dtype)
    lattice = torch.tensor(atoms.cell.array)[None], torch.tensor(atoms.pbc)[None]
    graph = radius_graph(pos, 4.0, None, *(lattice if atoms.pbc.any() else ()))
    return torch.tensor(atoms.numbers), pos, graph


@pytest.mark.parametrize("model", BACKBONES)
@pytest.mark.parametrize("make", [lambda: molecule("CH3CH2OH"), crystal], ids=["open", "periodic"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_replay_is_the_evaluation(model, make, dtype):
    predictor = force_field(model, ("energy", "mu")).requires_grad_(False).to(dtype)
    recorded = Replayed(predictor)
    z, pos, graph = inputs(make(), dtype)
    strain = graph.offset is not None
    torch.manual_seed(0)
    for n in range(1, 8):
        moved = pos + 0.05 * torch.randn_like(pos)
        found = recorded.potential(z, moved, graph, strain=strain)
        expected = predictor.potential(z, moved, graph, strain=strain)
        assert (recorded._made is not None) == (n > 3)
        for name, value in expected._asdict().items():
            if value is None:
                assert getattr(found, name) is None
                continue
            if dtype == torch.float32:
                assert torch.equal(getattr(found, name), value), name
            torch.testing.assert_close(getattr(found, name), value, rtol=1e-12, atol=1e-12)
            assert not getattr(found, name).requires_grad


def test_another_graph_begins_anew():
    recorded = Replayed(force_field().requires_grad_(False))
    z, pos, graph = inputs(molecule("H2O"), torch.float32)
    for _ in range(5):
        recorded.potential(z, pos, graph)
    assert (recorded.uses, recorded._made is None) == (5, False)
    recorded.potential(z, pos, graph.clone())
    assert (recorded.uses, recorded._made is None) == (1, True)


def test_what_is_not_recorded(monkeypatch):
    recorded = Replayed(force_field().requires_grad_(False))
    z, pos, graph = inputs(molecule("H2O"), torch.float32)
    for _ in range(9):
        recorded.potential(z, pos, graph, derivatives=False)
    assert recorded.uses == 0
    monkeypatch.setattr(replay, "MOST_EDGES", 5)
    for _ in range(9):
        recorded.potential(z, pos, graph)
    assert recorded._made is None


def raising(*_, **__):
    raise RuntimeError("not in this version")


def wrong(operations, example, **_):
    return lambda pos: tuple(value + 0.01 for value in operations(pos))


@pytest.mark.parametrize("trace", [raising, wrong])
def test_what_cannot_be_recorded_is_evaluated(monkeypatch, trace):
    monkeypatch.setattr(torch.jit, "trace", trace)
    predictor = force_field().requires_grad_(False)
    recorded = Replayed(predictor)
    z, pos, graph = inputs(molecule("H2O"), torch.float32)
    for _ in range(6):
        found = recorded.potential(z, pos, graph)
        assert torch.equal(found.forces, predictor.potential(z, pos, graph).forces)
    assert recorded._made is None


def walk(calc, n=12, atoms=None):
    atoms = atoms or molecule("CH3CH2OH")
    atoms.calc = calc
    rng = np.random.default_rng(0)
    found = []
    for _ in range(n):
        atoms.positions += 0.02 * rng.standard_normal(atoms.positions.shape)
        found.append((atoms.get_forces(), atoms.get_potential_energy()))
    return found


def test_a_calculator_replays(monkeypatch):
    models = [force_field(seed=k) for k in range(2)]
    replayed = walk(calc := MolgeoCalculator(models, "cpu", skin=2.0))
    assert all(each._made is not None for each in calc._replayed)
    monkeypatch.setattr(replay, "REPLAY_AFTER", 1000)
    for (forces, energy), (expected, same) in zip(
        replayed, walk(MolgeoCalculator(models, "cpu", skin=2.0)), strict=True
    ):
        np.testing.assert_array_equal(forces, expected)
        assert energy == same


def test_the_same_edges_are_the_same_graph():
    """Of a molecule whose atoms all see each other, rebuilding changes nothing."""
    calc = MolgeoCalculator(force_field("dimenet_pp"), "cpu", skin=0.02)
    walk(calc, atoms=molecule("H2O"))
    assert calc.neighbours.n_built > 8
    assert calc._replayed[0].uses == 12


def test_a_small_molecule_keeps_its_graph(monkeypatch):
    """All pairs are in it, those beyond the cutoff too; what is computed stays the same."""
    calc, plain = (MolgeoCalculator(force_field(), "cpu", replay=r) for r in ("auto", False))
    found = walk(calc, atoms=molecule("C6H6"))
    n = calc.neighbours
    assert (n.n_built, n.graph.n_edges) == (1, 12 * 11)
    assert calc._replayed[0]._made is not None
    for (forces, energy), (expected, same) in zip(
        found, walk(plain, atoms=molecule("C6H6")), strict=True
    ):
        np.testing.assert_allclose(forces, expected, rtol=0, atol=1e-4)
        assert energy == pytest.approx(same, abs=1e-4)
    assert plain.neighbours.graph.n_edges < 12 * 11
    monkeypatch.setattr("molgeo.simulation.calculator.MOST_EDGES", 12 * 11 - 1)
    calc = MolgeoCalculator(force_field(), "cpu")
    walk(calc, atoms=molecule("C6H6"))
    assert calc.neighbours.graph.n_edges < 12 * 11


def test_large_products_are_recorded(monkeypatch):
    """By whatever library they are multiplied."""
    monkeypatch.setattr(dense, "LEAST_PRODUCTS", 0)
    monkeypatch.setattr(dense, "onednn_is_faster", lambda _: dense._HAS_ONEDNN)
    calc = MolgeoCalculator(force_field("spectrum_net"), "cpu", replay=True)
    walk(calc, atoms=molecule("CH3OH"))
    assert calc._replayed[0]._made is not None


def test_other_atoms_on_the_same_places_begin_anew():
    calc = MolgeoCalculator(force_field(), "cpu")
    water = molecule("H2O")
    walk(calc, atoms=water)
    water.numbers[[0, 1]] = water.numbers[[1, 0]]
    expected = MolgeoCalculator(force_field(), "cpu").get_forces(water)
    np.testing.assert_allclose(water.get_forces(), expected, atol=1e-6)
    assert calc._replayed[0].uses == 1


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_record_for_themselves(clone):
    calc = MolgeoCalculator(force_field(), "cpu")
    walk(calc)
    other = clone(calc)
    assert other._replayed[0]._made is None
    assert other._replayed[0].model is other.models[0]
    np.testing.assert_array_equal(walk(other)[-1][0], walk(calc)[-1][0])


def test_replay_is_a_choice():
    model = force_field()
    always, never = (MolgeoCalculator(model, "cpu", replay=choice) for choice in (True, False))
    (first, _), *rest = walk(always)
    assert always._replayed[0]._made is not None
    expected = walk(never)
    assert never._replayed[0]._made is None
    np.testing.assert_array_equal(first, expected[0][0])
    assert len(rest) == 11
    walk(other := MolgeoCalculator(model, "cpu", replay=True), n=1)
    assert other._replayed[0]._made is not None


@pytest.mark.parametrize("model", BACKBONES)
def test_the_first_evaluation_of_a_graph_can_be_recorded(model):
    """As in a run that was resumed: nothing of the graph has been derived by then."""
    found = {}
    for choice in (True, False):
        calc = MolgeoCalculator(force_field(model), "cpu", replay=choice)
        found[choice] = walk(calc, n=2)
        assert (calc._replayed[0]._made is not None) == choice
    for (forces, energy), (expected, same) in zip(found[True], found[False], strict=True):
        np.testing.assert_array_equal(forces, expected)
        assert energy == same


def test_a_choice_of_replay_that_there_is_not():
    calc = MolgeoCalculator(force_field(), "cpu")
    with pytest.raises(ValueError, match="replay: expected True, False, 'auto' or 'compiled', got"):
        calc.set(replay="often")
    assert calc.set(replay=True) == {"replay": True}


def test_a_replay_that_was_asked_for_and_cannot_be(monkeypatch):
    monkeypatch.setattr(torch.jit, "trace", raising)
    calc = MolgeoCalculator(force_field(), "cpu", replay=True)
    with pytest.warns(RuntimeWarning, match="replay=True: .* cannot be replayed"):
        forces = walk(calc, n=1)[0][0]
    expected = walk(MolgeoCalculator(force_field(), "cpu", replay=False), n=1)[0][0]
    np.testing.assert_array_equal(forces, expected)
