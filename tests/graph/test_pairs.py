"""Pairs in any order make the same graph as a search."""

import pytest
import torch
from neighbourhoods import clusters, crystal, pairs_of

from molgeo.graph.pairs import graph_of_pairs


@pytest.mark.parametrize("atoms", [clusters, crystal])
def test_pairs_make_the_same_graph(atoms, on_device):
    pos, searched = atoms()
    made = graph_of_pairs(*pairs_of(searched), searched.batch, searched.n_molecules)
    edge = torch.arange(made.n_edges)
    assert torch.equal(made.ptr, searched.ptr)
    assert torch.equal(made.source, searched.source)
    assert torch.equal(made.target[made.reverse], made.source)
    assert torch.equal(made.reverse[made.reverse], edge)
    assert torch.equal(made.pair[made.reverse], made.pair)
    assert torch.equal(made.pair[made.forward], torch.arange(made.n_edges // 2))
    assert torch.equal(made.vectors(pos)[made.reverse], -made.vectors(pos))

    def edges(graph):
        rows = torch.cat([graph.source[:, None], graph.target[:, None], graph.vectors(pos)], dim=1)
        return torch.tensor(sorted(rows.tolist()))

    torch.testing.assert_close(edges(made), edges(searched))


def test_no_pairs_make_a_graph_without_edges():
    batch = torch.zeros(1, dtype=torch.long)
    graph = graph_of_pairs(batch.new_zeros(2, 0), torch.zeros(0, 3), batch, 1)
    assert (graph.n_atoms, graph.n_edges, graph.n_molecules) == (1, 0, 1)
