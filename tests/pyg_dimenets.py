"""What the tests of both DimeNets share: molecules, and the comparison with PyG."""

import torch
from ase.build import molecule
from pyg_weights import pyg_edges

from molgeo.graph import radius_graph


def batch_of(names):
    """Slightly distorted molecules of the G2 set as one batch."""
    atoms = [molecule(name) for name in names]
    z = torch.cat([torch.tensor(a.numbers) for a in atoms])
    pos = torch.cat([torch.tensor(a.positions) for a in atoms])
    pos += 0.05 * torch.randn_like(pos)  # PyG has no forces at exactly linear or planar atoms
    batch = torch.repeat_interleave(torch.arange(len(names)), torch.tensor([len(a) for a in atoms]))
    return z, pos.requires_grad_(), batch


def agree(ours, theirs, z, pos, batch):
    """Compare energies and forces of both sides."""
    with pyg_edges(radius_graph(pos, ours.cutoff, batch)):
        expected = theirs(z, pos, batch)
    energy = ours(z, pos, batch)
    torch.testing.assert_close(energy, expected, rtol=1e-6, atol=1e-12)
    (force,) = torch.autograd.grad(expected.sum(), pos)
    (own,) = torch.autograd.grad(energy.sum(), pos)
    assert force.abs().max() > 1e-6
    torch.testing.assert_close(own, force, rtol=1e-6, atol=1e-6 * force.abs().max().item())
