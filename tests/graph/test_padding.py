"""Padded graphs hold the same edges, and what is added leads nowhere."""

import numpy as np
import pytest
import torch

from molgeo.graph import radius_graph
from molgeo.graph.padding import STEP, Capacity, load_of, padded, padded_atoms
from molgeo.graph.slots import ranked_slots

pytestmark = pytest.mark.usefixtures("on_device")


def molecules():
    torch.manual_seed(3)
    sizes = torch.tensor([1, 6, 14])
    pos = 3.0 * torch.rand(int(sizes.sum()), 3, dtype=torch.float64)
    return pos, radius_graph(pos, 2.5, torch.repeat_interleave(torch.arange(3), sizes))


def capacity_of(graph, atoms=5, edges=6):
    load = load_of(graph.degree.cpu(), 2)
    return Capacity((int(load[0]) + atoms, int(load[1]) + edges, *(int(n) for n in load[2:])))


def test_load_counts_atoms_edges_and_neighbours():
    load = load_of([0, 1, STEP, STEP + 1], 2)
    assert load.tolist() == [4, 2 * STEP + 2, 3, 1]
    assert load_of([0, 1, STEP, STEP + 1]).tolist() == load.tolist()
    assert load_of([1, STEP]).tolist() == [2, STEP + 1, 2]
    assert load_of([]).tolist() == [0, 0]


def test_the_same_edges_then_padding():
    pos, graph = molecules()
    capacity = capacity_of(graph)
    more = padded(graph, capacity)
    n = graph.n_edges
    for name in ("source", "target", "reverse", "pair"):
        assert torch.equal(getattr(more, name)[:n], getattr(graph, name))
    assert (more.n_atoms, more.n_edges) == (capacity.atoms, capacity.edges)
    assert torch.equal(more.reverse[more.reverse], torch.arange(more.n_edges))
    assert torch.equal(more.source[more.reverse], more.target)
    assert torch.equal(more.pair[more.reverse], more.pair)
    assert torch.equal(more.pair[more.forward], torch.arange(more.n_edges // 2))
    assert (more.source[n:] >= graph.n_atoms).all()
    assert (more.degree[graph.n_atoms :] == 0).all()
    assert more.n_molecules == graph.n_molecules + 1
    _, where = padded_atoms(torch.ones(len(pos), dtype=torch.long), pos, capacity)
    assert more.distances(where)[graph.n_edges // 2 :].min() > 30


def test_every_edge_has_a_slot():
    _, graph = molecules()
    more = padded(graph, capacity_of(graph))
    held = torch.cat([block.edge[block.filled] for block in more.slots])
    assert torch.equal(held.sort().values, torch.arange(graph.n_edges))
    for block in more.slots:
        assert torch.equal(
            graph.source[block.edge[block.filled]],
            block.atoms[:, None].expand_as(block.edge)[block.filled],
        )


def test_what_does_not_fit():
    _, graph = molecules()
    load = load_of(graph.degree.cpu(), 2)
    limits = (int(load[0]) + 2, *(int(n) for n in load[1:]))
    assert Capacity(limits).holds(load)
    for k in range(4):
        less = [n - (k == place) for place, n in enumerate(limits)]
        assert not Capacity(tuple(less)).holds(load)
    assert not Capacity(limits[:3]).holds(np.array([*load[:3], 1]))
    with pytest.raises(ValueError, match="capacity: expected at least 23 atoms"):
        padded(graph, Capacity((22, graph.n_edges, 21)))


def test_map_takes_every_tensor():
    _, graph = molecules()
    more = padded(graph, capacity_of(graph))
    twin = more.clone()
    pairs = list(zip(more.tensors(), twin.tensors(), strict=True))
    assert len(pairs) == 7 + 3 * len(more.slots)
    assert all(torch.equal(a, b) and a.data_ptr() != b.data_ptr() for a, b in pairs)
    assert twin.to("cpu").n_molecules == more.n_molecules


def test_ranked_slots_of_atoms_without_neighbours():
    found = ranked_slots(torch.tensor([0, 2, 2, 4]), 4, ((2, 2), (1, 1)))
    assert [block.filled.tolist() for block in found] == [[[True, True], [True, True]], [[False]]]


def test_a_capacity_around_a_load():
    """It holds the load and some more, without atoms that there are not."""
    for degree in ([8] * 9, [6] * 4, [30] * 200 + [17] * 40):
        load = load_of(degree, 4)
        capacity = Capacity.around(load, 0.25)
        n, extra = len(degree), 8 + len(degree) // 8
        assert capacity.holds(load)
        assert capacity.holds(load_of([d + 2 for d in degree[:extra]] + degree[extra:], 5))
        assert not capacity.holds(load + load)
        assert capacity.atoms == n + 2
        assert capacity.edges % 2 == 0
        assert sum(atoms for atoms, _ in capacity.blocks) <= n
        assert list(capacity.limits[2:]) == sorted(capacity.limits[2:], reverse=True)
