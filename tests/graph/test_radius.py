"""Edges against ASE's neighbour list and against brute force."""

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st
from no_waiting import counted_waits

from molgeo.graph import Graph, radius, radius_graph
from molgeo.graph.neighbour_list import neighbour_list_graph

pytestmark = pytest.mark.usefixtures("on_device")


def check(graph: Graph) -> None:
    """What every graph promises."""
    index = torch.arange(graph.n_edges)
    reverse = graph.reverse
    assert torch.equal(reverse[reverse], index)
    assert (reverse != index).all()
    assert torch.equal(graph.source[reverse], graph.target)
    assert torch.equal(graph.pair[reverse], graph.pair)
    assert torch.equal(graph.pair[graph.forward], torch.arange(graph.forward.numel()))
    assert 2 * graph.forward.numel() == graph.n_edges
    assert (graph.source.diff() >= 0).all()
    assert graph.ptr.tolist() == [0, *graph.degree.cumsum(0).tolist()]
    for atom in range(graph.n_atoms):
        assert (graph.source[graph.ptr[atom] : graph.ptr[atom + 1]] == atom).all()
    assert torch.equal(graph.batch[graph.source], graph.batch[graph.target])
    if graph.offset is not None:
        assert torch.equal(graph.offset[reverse], -graph.offset)
        assert not graph.offset.requires_grad


def keys(graph: Graph, cell: np.ndarray) -> list[tuple[int, ...]]:
    """(source, target, shift) of every edge, in the graph's order."""
    offset = torch.zeros(graph.n_edges, 3) if graph.offset is None else graph.offset
    shift = np.rint(np.linalg.solve(cell.T, offset.double().cpu().numpy().T).T).astype(int)
    ends = zip(graph.source.tolist(), graph.target.tolist(), strict=True)
    return [(j, i, *s) for (j, i), s in zip(ends, shift.tolist(), strict=True)]


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    seed=st.integers(0, 10**6),
    n_atoms=st.integers(1, 12),
    length=st.floats(1.5, 7.0),
    skew=st.floats(0.0, 0.3),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    cutoff=st.floats(1.0, 6.0),
)
def test_agrees_with_ase(seed, n_atoms, length, skew, pbc, cutoff):
    # Small, skewed and partly periodic cells; atoms inside and outside.
    rng = np.random.default_rng(seed)
    cell = length * (np.eye(3) + skew * rng.normal(size=(3, 3)))
    if abs(np.linalg.det(cell)) < 0.3 * length**3:
        cell = length * np.eye(3)
    pos = rng.uniform(-1.0, 2.0, (n_atoms, 3)) @ cell
    atoms = Atoms("H" * n_atoms, pos, cell=cell, pbc=pbc)
    i, j, shift = neighbor_list("ijS", atoms, cutoff)
    expected = sorted(zip(i.tolist(), j.tolist(), *shift.T.tolist(), strict=True))
    graph = radius_graph(
        torch.tensor(pos), cutoff, cell=torch.tensor(cell)[None], pbc=torch.tensor(pbc)[None]
    )
    check(graph)
    assert keys(graph, cell) == expected
    d = graph.distances(torch.tensor(pos))
    assert d.numel() == 0 or d.max() < cutoff


def test_displacement_is_target_minus_source_plus_offset():
    cell = torch.tensor([[[4.0, 0.0, 0.0], [1.0, 4.0, 0.0], [0.0, 0.5, 4.0]]])
    pos = torch.tensor([[0.1, 0.0, 0.0], [3.9, 0.0, 0.0]])
    graph = radius_graph(pos, 1.0, cell=cell, pbc=torch.ones(1, 3, dtype=torch.bool))
    assert graph.source.tolist() == [0, 1]
    torch.testing.assert_close(graph.displacements(pos), torch.tensor([[-0.2, 0.0, 0.0]]))
    torch.testing.assert_close(graph.offset[0], torch.tensor([-4.0, 0.0, 0.0]))


def test_an_atom_is_its_own_neighbour_through_the_boundary():
    pos = torch.zeros(1, 3)
    graph = radius_graph(
        pos, 2.5, cell=2.0 * torch.eye(3)[None], pbc=torch.tensor([[True, False, True]])
    )
    check(graph)
    assert graph.source.tolist() == graph.target.tolist() == [0] * 4
    torch.testing.assert_close(graph.distances(pos), torch.full((2,), 2.0))


def brute_force(pos: torch.Tensor, batch: torch.Tensor, cutoff: float) -> list[tuple[int, int]]:
    n = range(len(pos))
    return [
        (j, i)
        for j, i in itertools.product(n, n)
        if i != j and batch[i] == batch[j] and (pos[i] - pos[j]).square().sum() < cutoff**2
    ]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("build", ["pairs", "list"])
def test_open_agrees_with_brute_force(seed, build):
    torch.manual_seed(seed)
    sizes = torch.tensor([5, 1, 12, 2, 9])
    batch = torch.repeat_interleave(torch.arange(5), sizes)
    pos = 4.0 * torch.rand(int(sizes.sum()), 3)
    if build == "pairs":
        graph = radius_graph(pos, 2.0, batch)
    else:
        graph = neighbour_list_graph(pos, 2.0, batch, 5)
    check(graph)
    found = list(zip(graph.source.tolist(), graph.target.tolist(), strict=True))
    assert found == brute_force(pos, batch, 2.0)
    assert graph.offset is None


def test_a_batch_is_its_molecules_side_by_side():
    torch.manual_seed(0)
    sizes = [4, 3, 6]
    pos = [3.0 * torch.rand(n, 3, dtype=torch.float64) for n in sizes]
    cell = 3.0 * torch.eye(3, dtype=torch.float64) + 0.3 * torch.rand(3, 3, 3, dtype=torch.float64)
    pbc = torch.tensor([[True, True, True], [False, False, False], [True, False, True]])
    batch = torch.repeat_interleave(torch.arange(3), torch.tensor(sizes))
    graph = radius_graph(torch.cat(pos), 2.5, batch, cell, pbc)
    check(graph)
    source, target, offset, first = [], [], [], 0
    for k, p in enumerate(pos):
        single = radius_graph(p, 2.5, None, cell[k : k + 1], pbc[k : k + 1])
        source.append(single.source + first)
        target.append(single.target + first)
        zeros = torch.zeros(single.n_edges, 3, dtype=torch.float64)
        offset.append(zeros if single.offset is None else single.offset)
        first += len(p)
    assert torch.equal(graph.source, torch.cat(source))
    assert torch.equal(graph.target, torch.cat(target))
    torch.testing.assert_close(graph.offset, torch.cat(offset))


def test_large_systems_never_test_all_pairs(monkeypatch):
    n = 40
    grid = torch.cartesian_prod(*[torch.arange(float(n)), torch.arange(5.0), torch.arange(5.0)])
    expected = 2 * (39 * 25 + 2 * 40 * 4 * 5)  # bonds of a simple cubic lattice, both ways
    assert radius_graph(grid, 1.2).n_edges == expected

    def forbidden(*_):
        raise AssertionError("all pairs of a large system")

    monkeypatch.setattr(radius, "_close_pairs", forbidden)
    graph = radius_graph(grid, 1.2)
    assert graph.n_edges == expected
    check(graph)


@pytest.mark.parametrize("n_atoms", [0, 1, 2])
@pytest.mark.parametrize("lattice", [False, True])
def test_no_edges(n_atoms, lattice):
    pos = 50.0 * torch.arange(3.0 * n_atoms).view(-1, 3)
    n = min(n_atoms, 1)
    cell, pbc = 200.0 * torch.eye(3).repeat(n, 1, 1), torch.ones(n, 3, dtype=torch.bool)
    graph = radius_graph(pos, 5.0, None, *((cell, pbc) if lattice else ()))
    check(graph)
    assert graph.n_atoms == n_atoms
    assert graph.n_molecules == n
    assert graph.n_edges == 0
    assert graph.degree.tolist() == [0] * n_atoms


def test_a_cell_without_pbc_is_open():
    pos = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    cell = torch.zeros(1, 3, 3)
    for pbc in (None, torch.zeros(1, 3, dtype=torch.bool)):
        graph = radius_graph(pos, 1.5, cell=cell, pbc=pbc)
        assert graph.n_edges == 2
        assert graph.offset is None


def test_open_directions_need_no_lattice_vector():
    # A slab as ASE writes it: the third lattice vector is zero.
    cell = torch.tensor([[[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]])
    pos = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    graph = radius_graph(pos, 1.5, cell=cell, pbc=torch.tensor([[True, True, False]]))
    assert graph.n_edges == 2


BOX = torch.eye(3)[None]
ALL = torch.ones(1, 3, dtype=torch.bool)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("cutoff", {"cutoff": 0.0}),
        ("cutoff", {"cutoff": float("nan")}),
        ("pos", {"pos": torch.zeros(2, 2)}),
        ("pos", {"pos": torch.zeros(2, 3, dtype=torch.long)}),
        ("pos", {"pos": torch.tensor([[0.0, 0.0, 0.0], [0.0, float("nan"), 0.0]])}),
        ("batch", {"batch": torch.tensor([1, 0])}),
        ("batch", {"batch": torch.tensor([-1, 0])}),
        ("batch", {"batch": torch.tensor([0])}),
        ("batch", {"batch": torch.tensor([0.0, 0.0])}),
        ("pbc", {"pbc": ALL}),
        ("pbc", {"cell": BOX, "pbc": torch.ones(3, dtype=torch.bool)}),
        ("pbc", {"cell": BOX, "pbc": torch.ones(1, 3)}),
        ("cell", {"cell": torch.eye(3), "pbc": ALL}),
        ("cell", {"cell": torch.ones(1, 3, 3), "pbc": ALL}),
        ("cell", {"cell": torch.zeros(1, 3, 3), "pbc": ALL}),
        ("cell", {"cell": BOX / 0.0, "pbc": ALL}),
    ],
)
def test_bad_input_is_named(field, change):
    arguments = {"pos": torch.eye(3)[:2], "cutoff": 2.0} | change
    there = arguments["pos"].device
    for name, value in arguments.items():
        arguments[name] = value.to(there) if isinstance(value, torch.Tensor) else value
    with pytest.raises(ValueError, match=f"^{field}: expected"):
        radius_graph(**arguments)


def test_the_host_waits_twice_for_a_search():
    """For what is checked, and for the number of edges."""
    pos, batch = torch.rand(7, 3), torch.tensor([0, 0, 0, 1, 1, 1, 1])
    with counted_waits(pos.device) as found:
        radius_graph(pos, 0.5, batch)
    assert len(found) == 2


def test_a_batch_in_any_memory():
    pos = torch.rand(4, 3)
    batch = torch.tensor([[0, 1], [0, 1], [1, 2], [2, 2]])
    for column in batch.T:
        graph = radius_graph(pos, 2.0, column)
        assert torch.equal(graph.reverse, radius_graph(pos, 2.0, column.clone()).reverse)
