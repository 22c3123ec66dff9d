"""SchNet against PyG's with the same weights."""

import pytest
import torch
from devices import placed
from pyg_agreement import batch_of, same_energy_and_forces
from pyg_weights import pyg_schnet

from molgeo.graph import radius_graph
from molgeo.models.schnet import SchNet

pytestmark = pytest.mark.usefixtures("on_device")


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)


@pytest.mark.parametrize("fields", [{}, {"cutoff": 2.0, "n_features": 24, "n_filters": 16}])
@pytest.mark.parametrize(
    "names", [["CH3CH2OH"], ["C6H6"], ["CO2"], ["CH3CH2OH", "H2O", "C5H5N", "C2H2"]]
)
def test_agrees_with_pyg(fields, names):
    ours = placed(SchNet(n_blocks=3, **fields))
    z, pos, batch = batch_of(names, noise=0.0)
    theirs = pyg_schnet(ours, radius_graph(pos, ours.cutoff, batch))
    same_energy_and_forces(ours(z, pos, batch), theirs(z, pos, batch), pos)


def test_training_gradients_agree_with_pyg():
    ours = placed(SchNet(n_blocks=2))
    z, pos, batch = batch_of(["CH3CH2OH", "CH4"], noise=0.0)
    theirs = pyg_schnet(ours, radius_graph(pos, ours.cutoff, batch))
    ours(z, pos, batch).square().sum().backward()
    theirs(z, pos, batch).square().sum().backward()
    own = sorted(p.grad.norm().item() for p in ours.parameters())
    expected = sorted(p.grad.norm().item() for p in theirs.parameters())
    assert own == pytest.approx(expected, rel=1e-6)
