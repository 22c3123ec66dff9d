"""From a batch to its gradients nothing makes the host wait: every model, properties and forces."""

from pathlib import Path

import pytest
import torch
from no_waiting import counted_waits, no_waiting
from small_models import every_model, small

from molgeo.data.forces.properties import ENERGY
from molgeo.data.qm9.dataset import QM9
from molgeo.data.qm9.properties import named
from molgeo.datasets import ForceDataModule
from molgeo.graph.padding import Capacity
from molgeo.predictor import Predictor
from molgeo.training.forces import ForceConfig, ForceTraining
from molgeo.training.module import PropertyTraining
from molgeo.training.qm9 import QM9Config
from molgeo.training.references import fit_references

SENT = {"aten.lift_fresh.default", "Tensor.cpu", "Tensor.numpy"}
"""What makes tensors of the host's own numbers, which `sent` sends without waiting."""

GFN2 = Path(__file__).parents[1] / "fixtures" / "forces" / "gfn2.npz"


@pytest.fixture(scope="module")
def of_forces():
    data = ForceDataModule(GFN2, batch_size=6)
    data.setup()
    return data.molecules.with_neighbours(4.0, torch.arange(len(data.molecules)))


@pytest.fixture(scope="module")
def of_properties(small_data):
    molecules = QM9(small_data / "qm9").molecules
    return molecules.with_neighbours(4.0, torch.arange(len(molecules)))


def training(name, molecules):
    """A small model's training on energies and forces, or on properties."""
    if molecules.force is not None:
        properties, cls, config = [ENERGY], ForceTraining, ForceConfig(data_file=["x"])
    else:
        properties, cls, config = named(molecules.properties), PropertyTraining, QM9Config()
    predictor = Predictor(name, small(name).fields, properties, 16)
    fit_references(predictor, molecules, torch.arange(len(molecules)), {})
    return cls(predictor, config)


def padded_batch(molecules, numbers):
    atoms, edges, *beyond = molecules.neighbours.load(numbers.numpy()).tolist()
    return molecules.batch(numbers, Capacity((atoms + 30, edges + 200, *beyond)))


@pytest.mark.parametrize("data", ["of_forces", "of_properties"])
@every_model
def test_nothing_waits(name, data, request, device):
    molecules = request.getfixturevalue(data)
    module = training(name, molecules).to(device)
    first, second = (padded_batch(molecules, torch.arange(n, n + 6)).to(device) for n in (0, 6))
    module.losses(first)["train_loss"].backward()
    with no_waiting(device):
        module.losses(second)["train_loss"].backward()


def test_a_batch_is_gathered_without_waiting(of_forces, device):
    """But for its numbers, which the host knows and sends."""
    molecules = of_forces.to(device)
    with counted_waits(device) as found:
        padded_batch(molecules, torch.arange(6))
    assert set(found) <= SENT


def test_a_gathered_graph_knows_its_slots_on_a_card(of_forces):
    """A device without memory stands for one: no value can be looked at there."""
    molecules, there = torch.arange(6).numpy(), torch.device("meta")
    rows, batch, _ = of_forces.atoms(torch.arange(6))
    graph = of_forces.neighbours.to(there).graph(molecules, rows.to(there), batch.to(there))
    here = of_forces.neighbours.graph(molecules, rows, batch)
    assert here.slots is None
    assert sum(len(block.atoms) for block in graph.slots) == int((here.degree > 0).sum())
    assert graph.slots[0].edge.shape[1] >= int(here.degree.max())
