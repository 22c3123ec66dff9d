"""PyTorch's compiler takes every model as one graph, for molecules of any size."""

import dataclasses

import pytest
import torch
from small_models import every_model, small

from molgeo.graph import radius_graph
from molgeo.graph.slots import ranked_slots
from molgeo.testing.case import atoms_of, collated

# PyTorch's compiler does so itself.
pytestmark = pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")

BATCHES = [("methanol", "water", "acetylene"), ("ethylene", "one atom", "ammonia", "methanol")]


def batch_of(names, cutoff, device):
    """Atoms and their graph, all neighbourhoods in one block: the number of blocks is fixed."""
    z, pos, batch = (x.to(device) for x in collated([atoms_of(name) for name in names]))
    graph = radius_graph(pos, cutoff, batch)
    slots = ranked_slots(graph.ptr, graph.n_edges, [(graph.n_atoms, int(graph.degree.max()))])
    return z, pos, dataclasses.replace(graph, slots=slots)


@pytest.fixture(autouse=True)
def _anew():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@every_model
def test_compiled_inference_equals_eager(name, device):
    predictor = small(name, device).predictor().double().eval()
    compiled = torch.compile(predictor, fullgraph=True, dynamic=True, backend="eager")
    for k, names in enumerate(BATCHES):
        z, pos, graph = batch_of(names, predictor.cutoff, device)
        expected = predictor(z, pos, graph=graph.clone())
        with torch.compiler.set_stance("fail_on_recompile" if k else "default"), torch.no_grad():
            found = compiled(z, pos, graph=graph)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value.detach())


def test_gradients_of_a_compiled_loss_equal_eager_ones(device):
    predictor = small("spectrum_net", device).predictor().double().train()
    weights = list(predictor.parameters())

    def loss(z, pos, graph):
        return predictor.standardised(z, pos, graph).square().mean()

    compiled = torch.compile(loss, fullgraph=True, dynamic=True, backend="aot_eager")
    for k, names in enumerate(BATCHES):
        z, pos, graph = batch_of(names, predictor.cutoff, device)
        expected = torch.autograd.grad(loss(z, pos, graph.clone()), weights)
        with torch.compiler.set_stance("fail_on_recompile" if k else "default"):
            found = torch.autograd.grad(compiled(z, pos, graph), weights)
        assert any(bool(value.any()) for value in expected)
        torch.testing.assert_close(found, expected)
