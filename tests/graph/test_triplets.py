"""Triplets against a naive loop."""

import pytest
import torch

from molgeo.graph import radius_graph
from molgeo.graph.triplets import triplets


@pytest.mark.parametrize("periodic", [False, True])
def test_agrees_with_a_naive_loop(periodic):
    torch.manual_seed(0)
    batch = torch.tensor([0] * 6 + [1] + [2] * 4)
    pos = 2.5 * torch.rand(11, 3)
    lattice = (
        2.6 * torch.eye(3).repeat(3, 1, 1),
        torch.tensor([[True] * 3, [True, True, False], [False] * 3]),
    )
    graph = radius_graph(pos, 2.2, batch, *(lattice if periodic else ()))
    j, i, reverse = graph.source.tolist(), graph.target.tolist(), graph.reverse.tolist()
    expected = {
        (kj, ji)
        for kj in range(graph.n_edges)
        for ji in range(graph.n_edges)
        if i[kj] == j[ji] and reverse[kj] != ji
    }
    edge_kj, edge_ji = triplets(graph)
    found = list(zip(edge_kj.tolist(), edge_ji.tolist(), strict=True))
    assert len(found) == len(expected) > 100
    assert set(found) == expected
    assert (edge_ji.diff() >= 0).all()


@pytest.mark.parametrize("n_atoms", [0, 1, 2])
def test_too_few_atoms_have_none(n_atoms):
    graph = radius_graph(torch.eye(3)[:n_atoms], 2.0)
    edge_kj, edge_ji = triplets(graph)
    assert edge_kj.numel() == edge_ji.numel() == 0
