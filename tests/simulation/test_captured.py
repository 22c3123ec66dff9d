"""What is captured on a card: replays on the same memory give what a fresh evaluation gives.

On a CPU `StaticReplay` stands in for CUDA graphs, so that the same code is tried there.
"""

import numpy as np
import pytest
import torch
from compounds import compound
from devices import MadeThere, placed
from no_waiting import counted_waits, no_waiting
from small_models import every_model, small
from static_replay import StaticReplay

from molgeo.graph import radius_graph
from molgeo.graph.padding import Capacity
from molgeo.predictor.ensemble import on_host
from molgeo.runtime.cuda_graphs import CudaGraphs
from molgeo.simulation import captured, replay
from molgeo.simulation.captured import Captured
from molgeo.simulation.minimisation import Start, _Batch
from molgeo.simulation.replay import Replayed
from molgeo.simulation.together import Structure, Together
from molgeo.testing import Case

pytestmark = pytest.mark.usefixtures("on_device")

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-10}


class Captures:
    """Captures as on a card, and counts them."""

    def __init__(self):
        self.n = 0

    def __call__(self, function):
        self.n += 1
        device = MadeThere.active
        is_card = device.type == "cuda"
        return CudaGraphs(device)(function) if is_card else StaticReplay.capture(function)


@pytest.fixture
def captures(monkeypatch):
    made = Captures()
    monkeypatch.setattr(replay, "capture_on", lambda device: made)
    return made


def model_of(name="schnet", dtype=torch.float64):
    return placed(small(name).predictor().requires_grad_(False).to(dtype))


def graph_of(names, dtype=torch.float64, cutoff=4.0):
    """Compounds side by side: elements, positions and graph."""
    each = [compound(name) for name in names.split()]
    sizes = torch.tensor([len(z) for z, _ in each])
    batch = torch.repeat_interleave(torch.arange(len(each)), sizes)
    pos = torch.cat([pos for _, pos in each]).to(dtype)
    return torch.cat([z for z, _ in each]), pos, radius_graph(pos, cutoff, batch)


def crystal(dtype, cutoff=4.0):
    """Ethanol in a cell that is too small for it."""
    z, pos = compound("CH3CH2OH")
    cell = torch.tensor([[[4.8, 0.1, 0.0], [0.0, 4.9, 0.4], [0.2, 0.3, 5.2]]], dtype=torch.float64)
    graph = radius_graph(pos.to(dtype), cutoff, None, cell, torch.tensor([[True, True, True]]))
    return z, pos.to(dtype), graph


def two_atoms(dtype, cutoff=4.0):
    """Without neighbours."""
    pos = torch.tensor([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]], dtype=dtype)
    return torch.tensor([8, 1]), pos, radius_graph(pos, cutoff)


def ethanol(dtype, cutoff=4.0):
    return graph_of("CH3CH2OH", dtype, cutoff)


def assert_same(found, expected, name=""):
    tolerance = TOLERANCE[expected.forces.dtype]
    if tolerance > 1e-8:  # forces of these have such errors of rounding in float32, padded or not
        if name.startswith("dimenet"):
            tolerance = 1e-4
        elif name == "spherenet":
            tolerance = 2e-6
    if expected.forces.device.type == "cuda":
        tolerance *= 10  # sums over atoms are added in any order
    largest = 1.0 + float(expected.forces.abs().max())
    for field, value in expected._asdict().items():
        own = getattr(found, field)
        assert (own is None) == (value is None), field
        if value is not None:
            scale = largest if field == "forces" else 1.0 + float(value.abs().max())
            torch.testing.assert_close(own, value, rtol=0, atol=tolerance * scale, msg=field)
            assert not own.requires_grad


@pytest.mark.parametrize(
    ("make", "dtype"),
    [
        (ethanol, torch.float32),
        (crystal, torch.float32),
        (crystal, torch.float64),
        (two_atoms, torch.float64),
    ],
    ids=lambda x: getattr(x, "__name__", str(x)),
)
@every_model
def test_replays_with_other_graphs_are_evaluations(name, make, dtype, captures):
    predictor = model_of(name, dtype)
    replayed = Replayed(predictor, replay=True)
    strain = make is crystal
    generator = torch.Generator().manual_seed(0)
    sizes = set()
    for n in range(3):
        z, pos, graph = make(dtype, 4.0 + 0.15 * n)
        sizes.add(graph.n_edges)
        for _ in range(2):
            pos = pos + 0.01 * torch.randn(pos.shape, generator=generator, dtype=dtype)
            found = replayed.potential(z, pos, graph, strain=strain)
            assert_same(found, predictor.potential(z, pos, graph, strain=strain), name)
    assert len(sizes) > 1 or make is two_atoms
    assert captures.n == 1


@every_model
def test_many_molecules_at_once(name, captures):
    """Also others, and fewer of them."""
    predictor = model_of(name)
    replayed = Replayed(predictor, replay=True)
    for names, cutoff in (
        ("H2O CH4 C2H2 C2H6", 4.0),
        ("H2O CH4 C2H2 C2H6", 4.2),
        ("C2H4 H2O", 4.2),
        ("C2H2 H2O H2O CH4 H2O", 4.0),
    ):
        z, pos, graph = graph_of(names, cutoff=cutoff)
        found = replayed.potential(z, pos, graph)
        assert_same(found, predictor.potential(z, pos, graph))
        assert len(found.energy) == len(names.split())
        replayed.forget()
    assert captures.n == 1


def test_structures_together_use_one_capture(captures):
    """While their positions and their number change, and if one of them is lost."""
    predictor = model_of("spectrum_net")
    found, expected = (Together([predictor], 0.1, replay) for replay in (True, False))
    generator = torch.Generator().manual_seed(0)
    for names in ("C2H6 H2O CH4", "H2O CH4", "CH4 C2H4 H2O"):
        each = [Structure(*(x.cpu().numpy() for x in compound(one))) for one in names.split()]
        pos = torch.cat([compound(one)[1] for one in names.split()])
        for together in (found, expected):
            together.take(each)
        for _ in range(3):
            pos = pos + 0.04 * torch.randn(pos.shape, generator=generator, dtype=pos.dtype)
            pos[0] = pos[1]  # on top of each other
            torch.testing.assert_close(found(pos), expected(pos), equal_nan=True)
            own, other = found.results(1), expected.results(1)
            np.testing.assert_allclose(own["energy"], other["energy"], rtol=1e-12)
    assert captures.n == 1


def test_other_atoms_use_a_capture_that_is_not_too_large(captures, monkeypatch):
    predictor = model_of()
    replayed = Replayed(predictor)
    names = [*["CH3CH2OH"] * 4, "CH4", "H2O", "CH3CH2OH", "C6H6"]
    for k, name in enumerate(names):
        if name != names[k - 1]:
            replayed.forget()
        z, pos, graph = graph_of(name)
        assert_same(replayed.potential(z, pos, graph), predictor.potential(z, pos, graph))
        assert (replayed._made is None) == (k < 3 or name == "C6H6")
    monkeypatch.setattr(captured, "LAVISH", (4, 0))
    for name, n in (("CH3CH2OH", 2), ("C2H6", 2), ("H2O", 3)):
        for _ in range(4):
            replayed.potential(*graph_of(name))
        assert captures.n == n


def test_a_graph_that_does_not_fit_is_captured_with_more_room(captures):
    predictor = model_of("spectrum_net")
    replayed = Replayed(predictor, replay=True)
    for cutoff, n in ((2.0, 1), (2.1, 1), (4.0, 2), (3.9, 2)):
        z, pos, graph = ethanol(torch.float64, cutoff)
        assert_same(replayed.potential(z, pos, graph), predictor.potential(z, pos, graph))
        assert captures.n == n
        assert Capacity(tuple(replayed.limits)).edges > graph.n_edges


def test_auto_captures_after_some_evaluations_whatever_their_graphs(captures):
    replayed = Replayed(model_of())
    for n in range(1, 7):
        replayed.potential(*graph_of("H2O"))
        assert captures.n == (n > replay.CAPTURE_AFTER)
    replayed.forget()
    replayed.potential(*graph_of("CH4"))
    assert (captures.n, replayed.uses, replayed.limits) == (1, 1, [])


def test_results_stay_if_the_next_are_computed(captures):
    replayed = Replayed(model_of(), replay=True)
    z, pos, graph = graph_of("H2O")
    found = replayed.potential(z, pos, graph)
    forces = found.forces.clone()
    replayed.potential(z, pos + 0.05 * torch.rand(3, 3), graph)
    assert torch.equal(found.forces, forces)


@every_model
def test_a_replay_does_not_wait(name, captures, device):
    z, pos, graph = crystal(torch.float32)
    made = Captured(model_of(name, torch.float32), z, pos, graph, True, captures)
    other = graph.clone()
    assert made.holds(other, True)
    with no_waiting(device):
        made(z, pos, other)
        made(z, pos + 0.01, other)


def test_a_step_waits_once(captures, device):
    """To read all that two models give, and the shortest distance."""
    replayed = [Replayed(model_of(name), replay=True) for name in ("schnet", "spectrum_net")]
    z, pos, graph = graph_of("H2O")
    for each in replayed:
        each.potential(z, pos, graph)
    with counted_waits(device) as found:
        potentials = [each.potential(z, pos, graph) for each in replayed]
        distances = graph.distances(pos)
        here, least = on_host(potentials, distances.min())
    assert len(found) == 1
    assert float(least) == float(distances.min())
    for own, other in zip(here, potentials, strict=True):
        for a, b in zip(own, other, strict=True):
            assert a is b is None or torch.equal(a, b.double().cpu())


def test_a_step_of_structures_together_waits_once(captures, device):
    """To know whether the graph holds; who asks for results waits for them."""
    names = ("H2O", "CH4")
    together = Together([model_of(), model_of("spectrum_net")], replay=True)
    together.take([Structure(*(x.cpu().numpy() for x in compound(name))) for name in names])
    pos = torch.cat([compound(name)[1] for name in names])
    for _ in range(2):
        together(pos)
    with counted_waits(device) as found:
        together(pos + 0.01)
    assert len(found) == 1


def test_a_step_of_a_relaxation_waits_twice(captures, device):
    """Once more for what the host must know of all structures."""
    together = Together([model_of()], replay=True)
    pairs = enumerate(("H2O", "CH4"))
    starts = [Start(k, Structure(*(x.cpu().numpy() for x in compound(c)))) for k, c in pairs]
    batch = _Batch(starts, together, "auto", 1.0, springs=False)
    batch.refill()
    hessian = batch._hessian.clone()
    for _ in range(2):
        assert list(batch.step(1e-9, 100)) == []
    batch._hessian = hessian  # positive definite, whatever the model is
    batch._before = batch._pos
    with counted_waits(device) as found:
        assert list(batch.step(1e-9, 100)) == []
    # On a CPU arrays that are `sent`, and what is on the host, are counted too.
    waits = [one for one in found if one not in ("aten.lift_fresh.default", "Tensor.numpy")]
    assert len(waits) == 2


def test_a_capture_holds_for_its_strain(captures):
    predictor = model_of()
    z, pos, graph = crystal(torch.float64)
    made = Captured(predictor, z, pos, graph, False, captures)
    assert made.holds(graph, False)
    assert not made.holds(graph, True)
    replayed = Replayed(predictor, replay=True)
    for strain in (False, True, False):
        found = replayed.potential(z, pos, graph, strain=strain)
        assert_same(found, predictor.potential(z, pos, graph, strain=strain))


def test_other_atoms_on_the_same_graph(captures):
    """Hydrogen sulphide where water was."""
    predictor = model_of()
    replayed = Replayed(predictor, replay=True)
    z, pos, graph = graph_of("H2O")
    before = replayed.potential(z, pos, graph)
    replayed.forget()
    other = torch.where(z == 8, 16, z)
    found = replayed.potential(other, pos, graph)
    assert_same(found, predictor.potential(other, pos, graph))
    assert not torch.allclose(found.energy, before.energy)
    assert captures.n == 1


def counting(self, z, pos, graph):
    """As of a model that takes numbers from the device."""
    return type(self).atom_features(self, z, pos, graph) * float(pos.sum().detach())


def remembering(self, z, pos, graph):
    """As of a model that keeps what it computed for a number of atoms."""
    key = len(z)
    if key not in self.kept:
        self.kept[key] = graph.displacements(pos.detach()).sum()
    return type(self).atom_features(self, z, pos, graph) * self.kept[key]


@pytest.mark.parametrize(
    ("features", "reason"), [(counting, ""), (remembering, "the replay gives another energy")]
)
def test_what_cannot_be_captured_is_evaluated(features, reason, captures):
    predictor = model_of()
    own = predictor.backbone
    own.__dict__.update(atom_features=features.__get__(own), kept={})
    z, pos, graph = graph_of("C2H6")
    replayed = Replayed(predictor, replay=True)
    with pytest.warns(RuntimeWarning, match=f"cannot be replayed here .*{reason}"):
        replayed.potential(z, pos, graph)
    found = replayed.potential(z, pos + 0.1, graph)
    assert_same(found, predictor.potential(z, pos + 0.1, graph))
    assert captures.n == 1


def test_charges_are_replayed(captures):
    case = small("spectrum_net")
    model = Case(case.cls, {**case.fields, "charges": True}).predictor().requires_grad_(False)
    replayed = Replayed(placed(model), True)
    for names, charges in (("CH4 H2O", [1, -1]), ("H2O CH4", [0, 1]), ("H2O", [-1])):
        z, pos, graph = graph_of(names)
        graph = graph.with_known(torch.tensor(charges, device=pos.device))
        for moved in (pos, pos + 0.01):
            assert_same(replayed.potential(z, moved, graph), model.potential(z, moved, graph))
    assert captures.n <= 2
