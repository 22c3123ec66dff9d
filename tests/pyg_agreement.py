"""What the comparisons with PyG's models share: molecules, energies and forces."""

import torch
from compounds import compound
from pyg_weights import pyg_edges

from molgeo.graph import radius_graph


def batch_of(names, noise=0.05):
    """Slightly distorted molecules of the G2 set as one batch; ``noise`` in Å."""
    molecules = [compound(name) for name in names]
    z, pos = (torch.cat(part) for part in zip(*molecules, strict=True))
    # PyG's DimeNets have no forces at exactly linear or planar atoms.
    pos += noise * torch.randn_like(pos)
    batch = torch.repeat_interleave(
        torch.arange(len(names)), torch.tensor([len(compound(name)[0]) for name in names])
    )
    return z, pos.requires_grad_(), batch


def agree(ours, theirs, z, pos, batch):
    """Compare energies and forces of both sides."""
    with pyg_edges(radius_graph(pos, ours.cutoff, batch)):
        expected = theirs(z, pos, batch)
    same_energy_and_forces(ours(z, pos, batch), expected, pos)


def same_energy_and_forces(energy, expected, pos):
    """Compare energies, and their gradients by the positions."""
    torch.testing.assert_close(energy, expected, rtol=1e-6, atol=1e-12)
    (force,) = torch.autograd.grad(expected.sum(), pos)
    (own,) = torch.autograd.grad(energy.sum(), pos)
    assert force.abs().max() > 1e-6
    torch.testing.assert_close(own, force, rtol=1e-6, atol=1e-6 * force.abs().max().item())
