"""Padding, and whatever else has no label, counts in no loss and in no error."""

from pathlib import Path

import numpy as np
import pytest
import torch

from molgeo.data.forces.properties import ENERGY
from molgeo.data.molecules import Edges
from molgeo.data.qm9.dataset import QM9
from molgeo.data.qm9.properties import named
from molgeo.datasets import ForceDataModule
from molgeo.evaluation.forces import force_errors
from molgeo.graph.padding import Capacity, load_of
from molgeo.predictor import Predictor
from molgeo.predictor.potential import standardised_forces
from molgeo.training.forces import FORCE_EPSILON, ForceConfig, ForceTraining
from molgeo.training.module import PropertyTraining
from molgeo.training.optimisation import optimiser_of
from molgeo.training.qm9 import QM9Config
from molgeo.training.references import fit_references

GFN2 = Path(__file__).parents[1] / "fixtures" / "forces" / "gfn2.npz"
SMALL = {"n_features": 16, "n_filters": 16, "n_blocks": 2, "n_gaussians": 8, "cutoff": 4.0}


@pytest.fixture(scope="module")
def of_forces():
    data = ForceDataModule(GFN2, batch_size=6)
    data.setup()
    return data.molecules


@pytest.fixture(scope="module")
def of_properties(small_data):
    return QM9(small_data / "qm9").molecules


def training(molecules, **fields):
    """A small SpectrumNet's training on energies and forces, or on properties."""
    torch.manual_seed(0)
    shared = {"learning_rate": 5e-3, **fields}
    if molecules.force is not None:
        properties, cls = [ENERGY], ForceTraining
        config = ForceConfig(data_file=["x"], **shared)
    else:
        properties, cls = named(molecules.properties), PropertyTraining
        config = QM9Config(**shared)
    predictor = Predictor("spectrum_net", {**SMALL, "n_products": 8}, properties, 16)
    fit_references(predictor, molecules, torch.arange(len(molecules)), {})
    return cls(predictor, config)


def with_padding(batch, atoms=30, edges=200):
    """The same batch in a larger shape: padding has no labels."""
    graph = batch.graph(SMALL["cutoff"])
    load = load_of(graph.degree, 4).tolist()
    capacity = Capacity((load[0] + atoms, load[1] + edges, *load[2:]))
    return batch._replace(edges=Edges(graph, SMALL["cutoff"])).padded(capacity)


def batches(molecules, n, size=8):
    generator = torch.Generator().manual_seed(1)
    for _ in range(n):
        yield molecules.batch(torch.randperm(len(molecules), generator=generator)[:size])


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("data", ["of_forces", "of_properties"])
def test_a_run_on_padded_batches_learns_the_same(data, optimizer, request):
    molecules = request.getfixturevalue(data)
    found = []
    for prepared in (lambda batch: batch, with_padding):
        # In float32 any rounding, however small, grows over fifty steps.
        module = training(molecules, optimizer=optimizer).double()
        optimiser = optimiser_of(module.predictor, module.config)
        losses = []
        for batch in 10 * list(batches(molecules, 5)):
            batch = batch._replace(pos=batch.pos.double())
            parts = module.losses(prepared(batch))
            optimiser.zero_grad()
            parts["train_loss"].backward()
            optimiser.step()
            losses.append(torch.stack([*parts.values()]).detach())
        found.append(torch.stack(losses))
    assert found[0][-5:, 0].mean() < 0.9 * found[0][:5, 0].mean()
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-6)


def test_without_padding_a_loss_is_a_plain_mean_to_the_bit(of_forces):
    module = training(of_forces)
    p = module.predictor
    batch = next(batches(of_forces, 1))
    graph = batch.graph(p.cutoff)
    energy, force = standardised_forces(p, batch.z, batch.pos, graph, create_graph=True)
    labels = p.to_standardised(batch.y, batch.z, batch.pos, graph)[:, 0]
    of_energy = ((energy - labels).abs() / batch.ptr.diff()).mean()
    difference = force - (batch.force / p.scale[0]).to(force.dtype)
    of_force = (difference.square().sum(-1) + FORCE_EPSILON**2).sqrt().mean()
    found = module.losses(batch)
    assert torch.equal(found["train_loss_energy"], of_energy)
    assert torch.equal(found["train_loss_forces"], of_force)
    weights = [w for w in p.parameters() if w.requires_grad]
    expected, got = (
        torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
        for loss in (of_energy + of_force, found["train_loss"])
    )
    assert all(map(torch.equal, got, expected))


def test_forces_that_nobody_knows_do_not_count(of_forces):
    """Their errors are those of the batch without them, and gradients stay finite."""
    module = training(of_forces)
    batch = next(batches(of_forces, 1))
    force, y = batch.force.clone(), batch.y.clone()
    force[3, 1], y[2, 0] = torch.nan, torch.nan
    less = batch._replace(force=force, y=y, energy=y[:, 0])
    losses = module.losses(less)
    p = module.predictor
    _, forces = standardised_forces(p, batch.z, batch.pos, batch.graph(p.cutoff))
    errors = (forces.double() - batch.force / p.scale[0]).norm(dim=-1)
    rest = errors[torch.arange(len(errors)) != 3]
    assert float(losses["train_loss_forces"].detach()) == pytest.approx(float(rest.mean()))
    losses["train_loss"].backward()
    assert all(w.grad.isfinite().all() for w in p.parameters() if w.grad is not None)
    whole, found = force_errors(p, batch), force_errors(p, less)
    assert (int(found.n_molecules), int(found.n_atoms)) == (7, len(errors) - 1)
    assert found.sums[2, 0] < whole.sums[2, 0]


def test_logged_means_count_the_molecules_alone(of_properties):
    module = training(of_properties)
    sizes = []
    module.log = lambda *_, batch_size, **__: sizes.append(batch_size)
    for each in batches(of_properties, 1):
        for batch in (each, with_padding(each)):
            module.training_step(batch, 0)
    assert set(sizes) == {8}


def test_errors_of_padded_batches(of_forces, of_properties):
    p = training(of_forces).predictor
    batch = next(batches(of_forces, 1))
    found, expected = (force_errors(p, b).to_vector() for b in (with_padding(batch), batch))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    module = training(of_properties)
    batch = next(batches(of_properties, 1))
    for each in (with_padding(batch), batch):
        module.validation_step(each, 0)
    found, expected = (errors.sum(1) for errors in module._errors)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    np.testing.assert_array_equal(found[1].detach(), 8)
