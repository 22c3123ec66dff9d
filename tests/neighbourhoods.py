"""Crowded graphs for tests of sums over neighbours."""

import torch

from molgeo.graph import radius_graph
from molgeo.graph.padding import Capacity, load_of, padded


def clusters():
    """Molecules of 9, 1, 2 and 14 atoms, hence all degrees."""
    torch.manual_seed(0)
    pos = torch.cat([2.5 * torch.rand(n, 3, dtype=torch.float64) for n in (9, 1, 2, 14)])
    batch = torch.repeat_interleave(torch.arange(4), torch.tensor([9, 1, 2, 14]))
    return pos, radius_graph(pos, 2.0, batch)


def crystal():
    """Three atoms in a small cell: every atom is its own neighbour, and k may be an image of i."""
    torch.manual_seed(1)
    pos = 2.2 * torch.rand(3, 3, dtype=torch.float64)
    cell = 2.4 * torch.eye(3, dtype=torch.float64) + 0.2 * torch.rand(3, 3, dtype=torch.float64)
    return pos, radius_graph(pos, 2.6, None, cell[None], torch.ones(1, 3, dtype=torch.bool))


def roomier(graph, atoms=5, edges=6):
    """A graph with that many padding atoms and edges."""
    n, m, *beyond = load_of(graph.degree.cpu()).tolist()
    return padded(graph, Capacity((n + atoms, m + edges, *beyond)))


def pairs_of(graph):
    """The pairs of a graph in another order, some of them turned round, with their offsets."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(graph.forward.numel(), generator=generator)
    turned = torch.rand(order.shape, generator=generator) < 0.5
    edge = graph.forward[order.to(graph.forward.device)]
    edge = torch.where(turned.to(edge.device), graph.reverse[edge], edge)
    pairs = torch.stack([graph.source[edge], graph.target[edge]])
    if graph.offset is None:
        return pairs, torch.zeros(edge.numel(), 3, dtype=torch.float64).to(edge.device)
    return pairs, graph.offset[edge].double()


def arguments(z, pos, n_atoms, graph):
    """What a program takes (`molgeo.predictor.program`)."""
    return z, pos.double(), n_atoms, *pairs_of(graph)
