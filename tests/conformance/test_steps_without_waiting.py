"""No evaluation with a given graph makes the host wait: every model, padded or not."""

import dataclasses
from contextlib import nullcontext

import pytest
import torch
from neighbourhoods import roomier
from no_waiting import no_waiting
from small_models import every_model, small

from molgeo.data.forces.properties import ENERGY
from molgeo.graph import radius_graph
from molgeo.graph.padding import Capacity, load_of, padded_atoms
from molgeo.graph.slots import ranked_slots
from molgeo.predictor import Predictor
from molgeo.predictor.potential import standardised_forces
from molgeo.testing.case import MOLECULES, atoms_of, collated


def gathered(z, pos, graph):
    """As a batch's graph is on a card: not searched, its slots known from what the host knows."""
    blocks = Capacity(tuple(load_of(graph.degree.cpu()).tolist())).blocks
    return z, pos, dataclasses.replace(graph, slots=ranked_slots(graph.ptr, graph.n_edges, blocks))


def padded(z, pos, graph):
    """In a larger shape."""
    more = roomier(graph)
    return *padded_atoms(z, pos, Capacity((more.n_atoms, more.n_edges))), more


def a_step(predictor, z, pos, graph):
    """All that is asked of a model, to the gradient of a loss of energies and forces."""
    predictor(z, pos, graph=graph)
    predictor.energy_and_forces(z, pos, allow_untrained_forces=True, graph=graph)
    predictor.potential(z, pos, graph, strain=True)
    energy, forces = standardised_forces(predictor, z, pos, graph, create_graph=True)
    (energy.square().sum() + forces.square().sum()).backward()
    y = predictor.to_units(predictor.standardised(z, pos, graph), z, pos, graph)
    predictor.to_standardised(y, z, pos, graph).sum().backward()


@pytest.mark.parametrize("kind", [gathered, padded])
@every_model
def test_nothing_waits(name, kind, device):
    predictor = small(name, device).predictor().float().train()
    z, pos, batch = (x.to(device) for x in collated([atoms_of(one) for one in MOLECULES]))
    z, pos, graph = kind(z, pos.float(), radius_graph(pos.float(), predictor.cutoff, batch))
    a_step(predictor, z, pos, graph.clone())  # what is made once and kept
    with no_waiting(pos.device):
        a_step(predictor, z, pos, graph.clone())


@every_model
def test_all_of_a_step_is_on_the_device(name, monkeypatch):
    """A device without memory stands for a card: it mixes with no other, and has no values."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # there is none on it
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)
    predictor = small(name).predictor().float().train()
    z, pos, batch = collated([atoms_of(one) for one in MOLECULES])
    given = padded(z, pos.float(), radius_graph(pos.float(), predictor.cutoff, batch))
    predictor.to("meta")
    nothing = [False] * len(predictor.properties)
    monkeypatch.setattr(predictor, "_has_free_atoms", lambda: nothing)  # read once
    z, pos, graph = (x.to("meta") for x in given)
    a_step(predictor, z, pos, graph.clone())
    with no_waiting("meta"):
        a_step(predictor, z, pos, graph.clone())
    assert all(w.grad.device == w.device for w in predictor.parameters() if w.grad is not None)


def test_what_a_model_asks_the_device_is_seen():
    """Blocks of a graph that does not know its slots need a look at its degrees."""
    predictor = small("spectrum_net").predictor()
    z, pos, batch = collated([atoms_of(one) for one in MOLECULES])
    graph = radius_graph(pos, predictor.cutoff, batch)
    a_step(predictor, z, pos, graph.clone())
    with pytest.raises((AssertionError, RuntimeError), match=r"wait|synchroniz"), no_waiting():
        a_step(predictor, z, pos, graph.clone())


@pytest.mark.parametrize("kind", [gathered, padded])
def test_charges_and_the_repulsion_do_not_wait(kind, device):
    torch.manual_seed(0)
    fields = {**small("spectrum_net").fields, "charges": True}
    predictor = Predictor("spectrum_net", fields, [ENERGY], 8, repulsion=True).to(device)
    z, pos, batch = (x.to(device) for x in collated([atoms_of(one) for one in MOLECULES]))
    charge = torch.arange(len(MOLECULES), device=device) % 3 - 1
    graph = radius_graph(pos.float(), predictor.cutoff, batch).with_known(charge)
    z, pos, graph = kind(z, pos.float(), graph)
    a_step(predictor, z, pos, graph.clone())
    with no_waiting(pos.device):
        a_step(predictor, z, pos, graph.clone())
