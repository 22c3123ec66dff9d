"""What is captured on a card: replays on the same memory give what a fresh evaluation gives.

`StaticReplay` stands in for CUDA graphs, so that the same code is tried on a CPU.
"""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from force_fields import BACKBONES, crystal, force_field
from no_waiting import counted_waits, no_waiting
from static_replay import StaticReplay

from molgeo.graph import radius_graph
from molgeo.graph.padding import Capacity
from molgeo.predictor.ensemble import on_host
from molgeo.simulation import captured, replay
from molgeo.simulation.calculator import MolgeoCalculator, UnsupportedAtomsError
from molgeo.simulation.captured import Captured
from molgeo.simulation.replay import Replayed


class Captures:
    """Captures as on a card, and counts them."""

    def __init__(self):
        self.n = 0

    def __call__(self, function):
        self.n += 1
        return StaticReplay.capture(function)


@pytest.fixture
def captures(monkeypatch):
    made = Captures()
    monkeypatch.setattr(replay, "capture_on", lambda device: made)
    return made


def graph_of(atoms, dtype, cutoff=4.0):
    pos = torch.tensor(atoms.positions).to(dtype)
    lattice = torch.tensor(atoms.cell.array)[None], torch.tensor(atoms.pbc)[None]
    graph = radius_graph(pos, cutoff, None, *(lattice if atoms.pbc.any() else ()))
    return torch.tensor(atoms.numbers), pos, graph


def assert_same(found, expected, tolerance):
    for name, value in expected._asdict().items():
        own = getattr(found, name)
        assert (own is None) == (value is None), name
        if value is not None:
            scale = 1.0 if name in ("energy", "energies") else float(value.abs().max())
            torch.testing.assert_close(own, value, rtol=1e-12, atol=tolerance * max(scale, 1.0))
            assert not own.requires_grad


@pytest.mark.parametrize("model", BACKBONES)
@pytest.mark.parametrize(
    "make",
    [lambda: molecule("CH3CH2OH"), crystal, lambda: Atoms("OH", [[0, 0, 0], [9, 0, 0]])],
    ids=["open", "periodic", "no neighbours"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_replays_with_other_graphs_are_evaluations(model, make, dtype, captures):
    predictor = force_field(model, ("energy", "mu")).requires_grad_(False).to(dtype)
    replayed = Replayed(predictor, replay=True)
    atoms = make()
    strain = bool(atoms.pbc.any())
    tolerance = 1e-6 if dtype == torch.float32 else 1e-12
    rng = np.random.default_rng(0)
    sizes = set()
    for n in range(6):
        z, pos, graph = graph_of(atoms, dtype, 4.0 + 0.03 * n)
        sizes.add(graph.n_edges)
        for _ in range(2):
            pos = pos + 0.01 * torch.tensor(rng.standard_normal(pos.shape)).to(dtype)
            found = replayed.potential(z, pos, graph, strain=strain)
            assert_same(found, predictor.potential(z, pos, graph, strain=strain), tolerance)
        atoms.positions += 0.05 * rng.standard_normal(atoms.positions.shape)
    assert len(sizes) > 1 or len(atoms) == 2
    assert captures.n == 1


def collated(names, cutoff):
    each = [molecule(name) for name in names]
    z = torch.tensor(np.concatenate([atoms.numbers for atoms in each]))
    pos = torch.tensor(np.concatenate([atoms.positions for atoms in each]))
    batch = torch.repeat_interleave(torch.arange(len(each)), torch.tensor([len(a) for a in each]))
    return z, pos, radius_graph(pos, cutoff, batch)


@pytest.mark.parametrize("model", BACKBONES)
def test_many_molecules_at_once(model, captures):
    """Also others, and fewer of them."""
    predictor = force_field(model, ("energy", "mu", "alpha")).requires_grad_(False).double()
    replayed = Replayed(predictor, replay=True)
    for names, cutoff in (
        (["H2O", "CH4", "C2H2", "CH3OH"], 4.0),
        (["H2O", "CH4", "C2H2", "CH3OH"], 4.2),
        (["CH3OH", "H2O"], 4.2),
        (["C2H2", "H2O", "H2O", "CH4", "H2O"], 4.0),
    ):
        z, pos, graph = collated(names, cutoff)
        found = replayed.potential(z, pos, graph)
        assert_same(found, predictor.potential(z, pos, graph), 1e-12)
        assert len(found.energy) == len(names)
        replayed.forget()
    assert captures.n == 1


def test_other_atoms_use_a_capture_that_is_not_too_large(captures, monkeypatch):
    predictor = force_field().requires_grad_(False).double()
    replayed = Replayed(predictor)
    names = [*["CH3CH2OH"] * 4, "CH4", "H2O", "CH3CH2OH", "C6H6"]
    for k, name in enumerate(names):
        if name != names[k - 1]:
            replayed.forget()
        z, pos, graph = graph_of(molecule(name), torch.float64)
        found = replayed.potential(z, pos, graph)
        assert_same(found, predictor.potential(z, pos, graph), 1e-12)
        assert (replayed._made is None) == (k < 3 or name == "C6H6")
    monkeypatch.setattr(captured, "LAVISH", (4, 0))
    for name, n in (("CH3CH2OH", 2), ("C2H6", 2), ("H2O", 3)):
        for _ in range(4):
            replayed.potential(*graph_of(molecule(name), torch.float64))
        assert captures.n == n


def test_a_graph_that_does_not_fit_is_captured_with_more_room(captures):
    predictor = force_field("spectrum_net").requires_grad_(False).double()
    replayed = Replayed(predictor, replay=True)
    for cutoff, n in ((2.0, 1), (2.1, 1), (4.0, 2), (3.9, 2)):
        z, pos, graph = graph_of(molecule("CH3CH2OH"), torch.float64, cutoff)
        found = replayed.potential(z, pos, graph)
        assert_same(found, predictor.potential(z, pos, graph), 1e-12)
        assert captures.n == n
        assert Capacity(tuple(replayed.limits)).edges > graph.n_edges


def test_auto_captures_after_some_evaluations_whatever_their_graphs(captures):
    replayed = Replayed(force_field().requires_grad_(False))
    for n in range(1, 7):
        replayed.potential(*graph_of(molecule("H2O"), torch.float32))
        assert captures.n == (n > replay.CAPTURE_AFTER)
    replayed.forget()
    replayed.potential(*graph_of(molecule("CH4"), torch.float32))
    assert (captures.n, replayed.uses, replayed.limits) == (1, 1, [])


def test_results_stay_if_the_next_are_computed(captures):
    replayed = Replayed(force_field().requires_grad_(False), replay=True)
    z, pos, graph = graph_of(molecule("H2O"), torch.float32)
    found = replayed.potential(z, pos, graph)
    forces = found.forces.clone()
    replayed.potential(z, pos + 0.05 * torch.rand(3, 3), graph)
    assert torch.equal(found.forces, forces)


@pytest.mark.parametrize("model", BACKBONES)
def test_a_replay_does_not_wait(model, captures):
    predictor = force_field(model, ("energy", "mu")).requires_grad_(False)
    z, pos, graph = graph_of(crystal(), torch.float32)
    made = Captured(predictor, z, pos, graph, True, captures)
    other = graph.clone()
    assert made.holds(other, True)
    with no_waiting():
        made(z, pos, other)
        made(z, pos + 0.01, other)


def test_a_step_waits_once(captures):
    """To read all that two models give, and the shortest distance."""
    models = [force_field("spectrum_net", seed=k).requires_grad_(False) for k in range(2)]
    z, pos, graph = graph_of(molecule("H2O"), torch.float32)
    replayed = [Replayed(model, replay=True) for model in models]
    for each in replayed:
        each.potential(z, pos, graph)
    with counted_waits() as found:
        potentials = [each.potential(z, pos, graph) for each in replayed]
        distances = graph.distances(pos)
        here, least = on_host(potentials, distances.min())
    assert found == ["Tensor.cpu"]
    assert float(least) == float(distances.min())
    for own, other in zip(here, potentials, strict=True):
        assert own.dipole is other.dipole is None
        assert torch.equal(own.energies, other.energies)
        assert torch.equal(own.forces, other.forces.double())


def keeping(self, z, pos, graph):
    """As of a model that keeps for itself what it has seen."""
    self.kept = getattr(self, "kept", None) or [pos.detach().clone()]
    return type(self).atom_features(self, z, pos, graph) * self.kept[0].sum()


def counting(self, z, pos, graph):
    """As of a model that takes numbers from the device."""
    return type(self).atom_features(self, z, pos, graph) * float(pos.sum().detach())


@pytest.mark.parametrize("features", [keeping, counting])
def test_what_cannot_be_captured_is_evaluated(features, captures):
    predictor = force_field().requires_grad_(False)
    own = predictor.backbone
    own.__dict__["atom_features"] = features.__get__(own)
    z, pos, graph = graph_of(molecule("H2O"), torch.float32)
    replayed = Replayed(predictor, replay=True)
    if features is keeping:  # what the first call keeps is in every call, so nothing is wrong
        replayed.potential(z, pos, graph)
    else:
        with pytest.warns(RuntimeWarning, match="cannot be recorded here .*reads a number"):
            replayed.potential(z, pos, graph)
    found = replayed.potential(z, pos + 0.1, graph)
    assert_same(found, predictor.potential(z, pos + 0.1, graph), 1e-5)
    assert captures.n == 1


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
    assert calc.neighbours.n_built > 3
    assert captures.n == 2
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
        second = MolgeoCalculator(model, "cpu", skin=0.1, check_geometry=False)
        second.restore(atoms, first.state())
        rest = [walk(calc, atoms.copy(), 6) for calc in (first, second)]
        assert second._replayed[0].limits == first._replayed[0].limits != []
        for a, b in zip(*rest, strict=True):
            np.testing.assert_array_equal(a, b)


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
