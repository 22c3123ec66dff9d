"""Padded neighbourhoods."""

import pytest
import torch

from molgeo.graph import radius_graph
from molgeo.graph.slots import neighbour_slots

pytestmark = pytest.mark.usefixtures("on_device")


@pytest.mark.parametrize("rows", [10_000, 64, 1])
def test_every_edge_has_one_slot_of_its_source(rows):
    torch.manual_seed(0)
    pos = torch.cat([3.0 * torch.rand(20, 3), torch.full((1, 3), 90.0)])  # the last has no edge
    graph = radius_graph(pos, 2.0)
    blocks, position = neighbour_slots(graph, rows)
    assert (len(blocks) == 1) == (rows == 10_000)
    edge = torch.cat([block.edge.flatten() for block in blocks])
    filled = torch.cat([block.filled.flatten() for block in blocks])
    assert torch.equal(edge[position], torch.arange(graph.n_edges))
    assert int(filled.sum()) == graph.n_edges
    for block in blocks:
        assert block.edge.numel() <= rows or len(block.edge) == 1
        source = graph.source[block.edge]
        assert (source == source[:, :1]).all()  # padding stays with the atom


def test_no_edges():
    blocks, position = neighbour_slots(radius_graph(torch.zeros(1, 3), 2.0), 64)
    assert blocks == []
    assert position.numel() == 0


def test_a_gap_between_degrees_makes_no_empty_block():
    # One crowded cluster and one bond: no atom has between 4 and 12 neighbours.
    torch.manual_seed(0)
    pos = torch.cat([torch.rand(15, 3), torch.tensor([[50.0, 0.0, 0.0], [51.0, 0.0, 0.0]])])
    blocks, _ = neighbour_slots(radius_graph(pos, 2.0), 64)
    assert {tuple(block.edge.shape)[1] for block in blocks} == {4, 16}
    assert all(len(block.edge) > 0 for block in blocks)
