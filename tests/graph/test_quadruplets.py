"""Quadruplets against a naive loop over atoms and their images."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from molgeo.graph import radius_graph
from molgeo.graph.quadruplets import quadruplets


def start(graph, edge, cell):
    """Number and lattice image of an edge's source, with its target in the home cell."""
    image = (0, 0, 0)
    if graph.offset is not None:
        shift = torch.linalg.solve(cell.T, graph.offset[edge].double())
        image = tuple((-shift.round()).int().tolist())
    return graph.source[edge].item(), image


def naive(graph, interaction, cell=None):
    """In the documented order, by atoms as (number, image) with a in the home cell."""
    emb, hop = (
        [(*start(g, e, cell), g.target[e].item()) for e in range(g.n_edges)]
        for g in (graph, interaction)
    )
    chains = []
    for ca, (c, image_c, a) in enumerate(emb):
        for ba, (b, image_b, target) in enumerate(hop):
            if target != a or (b, image_b) == (c, image_c):
                continue
            for db, (d, image_d, target) in enumerate(emb):
                image = tuple(p + q for p, q in zip(image_b, image_d, strict=True))
                if target == b and (d, image) not in ((a, (0, 0, 0)), (c, image_c)):
                    chains.append((ca, ba, db))

    def order(chain):
        ca, ba, db = chain
        return ca, interaction.reverse[ba].item(), graph.reverse[db].item()

    return sorted(chains, key=order)


def found(graph, interaction):
    edges = quadruplets(graph, interaction)
    assert all(edge.dtype == torch.long for edge in edges)
    return list(zip(*(edge.tolist() for edge in edges), strict=True))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(0, 8),
    cutoffs=st.tuples(st.floats(0.3, 2.0), st.floats(0.3, 2.0)),
)
def test_agrees_with_a_naive_loop_on_random_graphs(seed, n, cutoffs):
    generator = torch.Generator().manual_seed(seed)
    batch = torch.randint(0, 2, (n,), generator=generator).sort().values
    batch = batch - batch.min() if n else batch
    pos = 2 * torch.rand(n, 3, generator=generator)
    graphs = [radius_graph(pos, cutoff, batch) for cutoff in cutoffs]
    assert found(*graphs) == naive(*graphs)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 3),
    cutoffs=st.sampled_from([(2.1, 2.6), (1.2, 2.6), (2.4, 1.5), (2.2, 2.2)]),
    periodic=st.sampled_from([(True, True, True), (True, False, False), (False, True, True)]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_agrees_with_a_naive_loop_in_periodic_cells(seed, n, cutoffs, periodic, dtype):
    generator = torch.Generator().manual_seed(seed)
    pos = 3 * torch.rand(n, 3, generator=generator, dtype=torch.float64) - 0.5
    cell = 2.2 * torch.eye(3).double()
    cell += 0.3 * torch.rand(3, 3, generator=generator, dtype=torch.float64)
    pbc = torch.tensor([periodic])
    graphs = [radius_graph(pos.to(dtype), c, None, cell[None].to(dtype), pbc) for c in cutoffs]
    assert found(*graphs) == naive(*graphs, cell)


def test_only_the_longer_edges_cross_the_boundary():
    """Then one graph has offsets and the other has none."""
    cell, pbc = 4.0 * torch.eye(3), torch.ones(1, 3, dtype=torch.bool)
    pos = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    graph = radius_graph(pos, 1.5, None, cell[None], pbc)
    interaction = radius_graph(pos, 3.5, None, cell[None], pbc)
    assert graph.offset is None
    assert interaction.offset is not None
    expected = naive(graph, interaction, cell.double())
    assert len(expected) > 50
    assert found(graph, interaction) == expected


def test_ethane_has_its_dihedral_angles():
    from ase.build import molecule

    atoms = molecule("C2H6")
    pos = torch.tensor(atoms.positions)
    bonds = radius_graph(pos, 1.6)
    chains = quadruplets(bonds, bonds)
    assert all(len(edge) == 2 * 9 for edge in chains)  # H–C–C–H, in both directions
    carbon = torch.tensor(atoms.numbers)[bonds.edge_index[:, chains[1]]]
    assert (carbon == 6).all()


@pytest.mark.parametrize("n_atoms", [0, 1, 2, 3])
def test_too_few_atoms_have_none(n_atoms):
    graph = radius_graph(torch.eye(3)[:n_atoms], 2.0)
    assert all(edge.numel() == 0 for edge in quadruplets(graph, graph))


def test_other_atoms_are_refused():
    a, b = radius_graph(torch.eye(3), 2.0), radius_graph(torch.eye(3)[:2], 2.0)
    with pytest.raises(ValueError, match="interaction: expected the 3 atoms of graph, got 2"):
        quadruplets(a, b)
