"""Quadruplets, counted, against a naive loop."""

import pytest
import torch
from neighbourhoods import clusters, crystal, roomier

from molgeo.graph import radius_graph
from molgeo.graph.pairs import graph_of_pairs
from molgeo.graph.quadruplets import closing_edges, count_quadruplets

pytestmark = pytest.mark.usefixtures("on_device")


def naive(pos, graph, is_near):
    """By the places of the four atoms as seen from a."""
    out = [[] for _ in range(graph.n_atoms)]
    vectors = graph.vectors(pos).tolist()
    for e, (j, i) in enumerate(zip(graph.source.tolist(), graph.target.tolist(), strict=True)):
        out[j].append((e, i, vectors[e], bool(is_near[e])))
    reverse, total = graph.reverse.tolist(), 0
    for a in range(graph.n_atoms):
        for ab, b, v, _ in out[a]:
            near = [(c, w) for ac, c, w, is_c in out[a] if is_c and ac != ab]
            for bd, d, w, is_d in out[b]:
                if is_d and bd != reverse[ab]:
                    there = [x + y for x, y in zip(v, w, strict=True)]
                    same = [
                        c == d and max(abs(x - y) for x, y in zip(place, there, strict=True)) < 1e-6
                        for c, place in near
                    ]
                    total += len(near) - sum(same)
    return total


def water_box(seed):
    """24 atoms in a periodic box, at the density of liquid water."""
    generator = torch.Generator().manual_seed(seed)
    oxygens = 3.1 * torch.cartesian_prod(*[torch.arange(2.0)] * 3).double()
    hydrogens = torch.nn.functional.normalize(torch.randn(8, 2, 3, generator=generator).double())
    pos = torch.cat([oxygens, (oxygens.unsqueeze(1) + 0.96 * hydrogens).flatten(0, 1)])
    return pos, 6.2 * torch.eye(3).double().unsqueeze(0)


def near_of(pos, graph, cutoff):
    return graph.vectors(pos).norm(dim=-1) < cutoff


@pytest.mark.parametrize("near", [1.2, 2.0])
def test_clusters(near):
    pos, graph = clusters()
    is_near = near_of(pos, graph, near)
    expected = naive(pos, graph, is_near)
    assert expected > 100
    assert count_quadruplets(graph, is_near) == expected
    more = roomier(graph)
    spare = torch.zeros(more.n_edges - graph.n_edges, dtype=torch.bool)
    assert count_quadruplets(more, torch.cat([is_near, spare])) == expected


def test_a_molecule_of_a_hundred_atoms():
    torch.manual_seed(0)
    steps = torch.nn.functional.normalize(torch.randn(100, 3).double(), dim=1)
    pos = 1.5 * steps.cumsum(0) + 0.3 * torch.arange(100).unsqueeze(1)
    graph = radius_graph(pos, 10.0)
    is_near = near_of(pos, graph, 5.0)
    expected = naive(pos, graph, is_near)
    assert expected > 100_000
    assert count_quadruplets(graph, is_near) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_box_of_water(dtype):
    pos, cell = water_box(0)
    pos[3] += torch.tensor([6.2, -12.4, 0.0])  # an image, far from the cell
    pos, cell = pos.to(dtype), cell.to(dtype)
    graph = radius_graph(pos, 5.5, None, cell, torch.ones(1, 3, dtype=torch.bool))
    is_near = near_of(pos, graph, 3.5)
    expected = naive(pos.double(), graph, is_near) if dtype == torch.float64 else None
    found = count_quadruplets(graph, is_near)
    assert found > 100_000
    if expected is not None:
        assert found == expected
    else:
        again = radius_graph(pos.double(), 5.5, None, cell.double(), torch.ones(1, 3).bool())
        assert found == count_quadruplets(again, near_of(pos.double(), again, 3.5))


def test_a_small_cell_has_images_of_one_atom():
    pos, graph = crystal()
    is_near = near_of(pos, graph, 2.5)
    assert count_quadruplets(graph, is_near) == naive(pos, graph, is_near) > 1000


@pytest.mark.parametrize("system", [clusters, crystal])
def test_closing_edges(system):
    pos, graph = system()
    first, second = torch.cartesian_prod(*[torch.arange(graph.n_edges)] * 2).unbind(1)
    same = graph.source[first] == graph.source[second]
    first, second = first[same], second[same]
    edge, found = closing_edges(graph, first, second)
    vectors = graph.vectors(pos)
    way = vectors[second] - vectors[first]
    torch.testing.assert_close(vectors[edge[found]], way[found])
    assert (graph.source[edge] == graph.target[first])[found].all()
    assert (graph.target[edge] == graph.target[second])[found].all()
    cutoff = 2.0 if system is clusters else 2.6
    distances = way.norm(dim=-1)
    assert torch.equal(found, (first != second) & (distances < cutoff))


def test_edges_in_another_order():
    pos, graph = crystal()
    pairs = torch.stack([graph.target[graph.forward], graph.source[graph.forward]]).flip(1)
    offset = -graph.offset[graph.forward].flip(0)
    other = graph_of_pairs(pairs, offset, graph.batch, 1)
    found = count_quadruplets(other, near_of(pos, other, 2.5))
    assert found == count_quadruplets(graph, near_of(pos, graph, 2.5))


@pytest.mark.parametrize("n_atoms", [1, 2, 3])
def test_too_few_atoms_have_none(n_atoms):
    graph = radius_graph(torch.eye(3)[:n_atoms], 2.0)
    assert count_quadruplets(graph, torch.ones(graph.n_edges, dtype=torch.bool)) == 0
