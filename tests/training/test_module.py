"""The common part of all training."""

from types import SimpleNamespace

import torch

from molgeo.data.geometries import own_geometries
from molgeo.data.molecules import MoleculeSet
from molgeo.evaluation.properties import Sample, errors
from molgeo.predictor import Predictor
from molgeo.properties import Property
from molgeo.training.module import PropertyTraining

WIDTH = Property("width", "eV")
TINY = {"n_features": 16, "n_filters": 16, "n_blocks": 1, "n_gaussians": 8, "cutoff": 4.0}


def test_properties_of_periodic_molecules_are_fitted_and_measured_across_boundaries():
    torch.manual_seed(0)
    predictor = Predictor("schnet", TINY, [WIDTH])
    periodic = MoleculeSet(
        z=torch.tensor([8, 1, 1, 6], dtype=torch.uint8),
        pos=torch.rand(4, 3) * 3.0,
        ptr=torch.tensor([0, 3, 4]),
        y=torch.tensor([[1.0], [2.0]], dtype=torch.float64),
        idx=torch.arange(2),
        properties=("width",),
        cell=3.0 * torch.eye(3, dtype=torch.float64).repeat(2, 1, 1),
        pbc=torch.ones(2, 3, dtype=torch.bool),
    )
    batch = periodic.batch(torch.arange(2))
    assert batch.graph(4.0).offset is not None
    found, isolated = (
        predictor(batch.z, batch.pos, batch.batch, graph)["width"].detach()
        for graph in (batch.graph(4.0), None)
    )
    expected = (found - batch.y[:, 0]).abs().mean()
    assert not torch.isclose(expected, (isolated - batch.y[:, 0]).abs().mean())
    config = SimpleNamespace(loss_weights={})
    loss = PropertyTraining(predictor, config).losses(batch)["train_loss"]
    torch.testing.assert_close(loss.detach().double(), expected / predictor.scale[0])
    one_each = own_geometries(periodic)
    sample = Sample(lambda rows: (one_each, rows), torch.arange(2), (WIDTH,))
    torch.testing.assert_close(errors(predictor, sample)["mae"]["width_eV"], float(expected))
