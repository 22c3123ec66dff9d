"""SchNet against PyG's with the same weights."""

import pytest
import torch
from ase.build import molecule
from pyg_weights import pyg_schnet

from molgeo.graph import radius_graph
from molgeo.models.schnet import SchNet


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)


def batch_of(names):
    atoms = [molecule(name) for name in names]
    z = torch.cat([torch.tensor(a.numbers) for a in atoms])
    pos = torch.cat([torch.tensor(a.positions) for a in atoms])
    batch = torch.repeat_interleave(torch.arange(len(names)), torch.tensor([len(a) for a in atoms]))
    return z, pos.requires_grad_(), batch


@pytest.mark.parametrize("fields", [{}, {"cutoff": 2.0, "n_features": 24, "n_filters": 16}])
@pytest.mark.parametrize(
    "names", [["CH3CH2OH"], ["C6H6"], ["CO2"], ["CH3CH2OH", "H2O", "C5H5N", "C2H2"]]
)
def test_agrees_with_pyg(fields, names):
    ours = SchNet(n_blocks=3, **fields)
    z, pos, batch = batch_of(names)
    theirs = pyg_schnet(ours, radius_graph(pos, ours.cutoff, batch))
    expected = theirs(z, pos, batch)
    energy = ours(z, pos, batch)
    torch.testing.assert_close(energy, expected, rtol=1e-6, atol=1e-12)
    (force,) = torch.autograd.grad(expected.sum(), pos)
    (own,) = torch.autograd.grad(energy.sum(), pos)
    assert force.abs().max() > 1e-6
    torch.testing.assert_close(own, force, rtol=1e-6, atol=1e-6 * force.abs().max().item())


def test_training_gradients_agree_with_pyg():
    ours = SchNet(n_blocks=2)
    z, pos, batch = batch_of(["CH3CH2OH", "CH4"])
    theirs = pyg_schnet(ours, radius_graph(pos, ours.cutoff, batch))
    ours(z, pos, batch).square().sum().backward()
    theirs(z, pos, batch).square().sum().backward()
    own = sorted(p.grad.norm().item() for p in ours.parameters())
    expected = sorted(p.grad.norm().item() for p in theirs.parameters())
    assert own == pytest.approx(expected, rel=1e-6)
