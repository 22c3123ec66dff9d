"""Triplets against a naive loop."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from neighbourhoods import roomier

from molgeo.graph import radius_graph
from molgeo.graph.triplets import triplets

pytestmark = pytest.mark.usefixtures("on_device")


def naive(graph):
    """In the documented order: by j→i, then by j→k."""
    j, i, reverse = graph.source.tolist(), graph.target.tolist(), graph.reverse.tolist()
    return [
        (reverse[jk], ji)
        for ji in range(graph.n_edges)
        for jk in range(graph.n_edges)
        if i[reverse[jk]] == j[ji] and jk != ji
    ]


def found(*edges):
    return list(zip(*(edge.tolist() for edge in edges), strict=True))


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
    expected = naive(graph)
    assert len(expected) > 100
    edge_kj, edge_ji = triplets(graph)
    assert edge_kj.dtype == edge_ji.dtype == torch.long
    assert found(edge_kj, edge_ji) == expected
    if not periodic:
        assert all(a < b for a, b in pairwise(expected) if a[1] == b[1])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(0, 12), cutoff=st.floats(0.3, 2.5))
def test_agrees_with_a_naive_loop_on_random_graphs(seed, n, cutoff):
    generator = torch.Generator().manual_seed(seed)
    batch = torch.randint(0, 2, (n,), generator=generator).sort().values
    batch = batch - batch.min() if n else batch
    graph = radius_graph(2 * torch.rand(n, 3, generator=generator), cutoff, batch)
    assert found(*triplets(graph)) == naive(graph)


def test_a_known_number_need_not_be_read():
    torch.manual_seed(0)
    graph = radius_graph(2.5 * torch.rand(8, 3), 2.0)
    number = int((graph.degree * (graph.degree - 1)).sum())
    assert found(*triplets(graph, number)) == found(*triplets(graph))


@pytest.mark.parametrize("n_atoms", [0, 1, 2])
def test_too_few_atoms_have_none(n_atoms):
    graph = radius_graph(torch.eye(3)[:n_atoms], 2.0)
    edge_kj, edge_ji = triplets(graph)
    assert edge_kj.numel() == edge_ji.numel() == 0


def test_padding_has_none():
    torch.manual_seed(0)
    graph = radius_graph(2.5 * torch.rand(8, 3), 2.0)
    assert found(*triplets(roomier(graph))) == found(*triplets(graph))
