"""Structures that break formulas: crowded, on a line, in a plane, and in small cells."""

from collections.abc import Iterator

import torch
from torch import Tensor

from molgeo.graph import Graph, radius_graph
from molgeo.models import Backbone


def unruly(cutoff: float, n: int = 250, atoms: int = 4) -> Iterator[tuple[Tensor, Tensor, Graph]]:
    """A thousand random structures, a batch of each of the four kinds: z, positions and graph.

    Args:
        cutoff: Å.
        n: structures of each kind.
        atoms: of each structure.
    """
    random = torch.Generator().manual_seed(11)
    batch = torch.arange(n).repeat_interleave(atoms)
    z = torch.randint(1, 18, (n * atoms,), generator=random)
    x = torch.rand(n * atoms, 3, generator=random, dtype=torch.float64)
    turns, _ = torch.linalg.qr(torch.randn(n, 3, 3, generator=random, dtype=torch.float64))
    whole = torch.arange(atoms, dtype=torch.float64).repeat(n)  # no two atoms in one place
    line = torch.stack([whole + 0.3 * x[:, 0], 0 * whole, 0 * whole], dim=-1)
    plane = torch.stack([whole, 2 * x[:, 1], 0 * whole], dim=-1)
    for pos in (1.2 * x, line, plane):
        turned = torch.einsum("ax,axy->ay", pos, turns[batch])
        yield z, turned, radius_graph(turned, cutoff, batch)
    cell = 2.6 * torch.eye(3).double() + 0.3 * torch.rand(n, 3, 3, generator=random).double()
    pos = torch.einsum("as,asx->ax", x, cell[batch])
    periodic = torch.ones(n, 3, dtype=torch.bool)
    yield z, pos, radius_graph(pos, cutoff, batch, cell, periodic)


def assert_finite(model: Backbone) -> None:
    """Energies, forces and their derivatives of a model on all of them are finite."""
    for z, pos, graph in unruly(model.cutoff):
        pos.requires_grad_()
        energy = model(z, pos, graph.batch, graph)
        (force,) = torch.autograd.grad(energy.sum(), pos, create_graph=True)
        force.square().sum().backward()
        assert energy.isfinite().all()
        assert force.isfinite().all()
        assert pos.grad.isfinite().all()
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
