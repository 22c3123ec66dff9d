import copy
import pickle

import numpy as np
import pytest
import torch

from molgeo.graph import radius_graph
from molgeo.graph.skin import SkinGraph

OPEN = np.zeros((3, 3)), np.zeros(3, dtype=bool)
BOX = np.array([[6.0, 0, 0], [1.0, 7.0, 0], [0, 0.5, 8.0]]), np.ones(3, dtype=bool)


def neighbours(cutoff=3.0, skin=1.0):
    return SkinGraph(cutoff, skin, torch.float64, torch.device("cpu"))


def some_positions(n=30, seed=0):
    return 6.0 * np.random.default_rng(seed).random((n, 3))


def distances_within(cutoff, pos, graph):
    d = graph.distances(pos)
    return d[d < cutoff].sort().values


@pytest.mark.parametrize("lattice", [OPEN, BOX], ids=["open", "periodic"])
def test_a_graph_with_a_skin_has_every_edge_within_the_cutoff(lattice):
    """Along a random walk far beyond the skin, against a graph that is made at each step."""
    rng = np.random.default_rng(1)
    positions, skinned = some_positions(), neighbours()
    cell, pbc = lattice
    for _ in range(100):
        positions = positions + 0.08 * rng.standard_normal(positions.shape)
        pos, graph = skinned(positions, cell, pbc)
        fresh = radius_graph(
            torch.tensor(positions), 3.0, None, torch.tensor(cell)[None], torch.tensor(pbc)[None]
        )
        expected = distances_within(3.0, torch.tensor(positions), fresh)
        torch.testing.assert_close(distances_within(3.0, pos, graph), expected, rtol=0, atol=1e-12)
    assert 2 < skinned.n_built < 80


def test_rebuilt_beyond_half_the_skin_and_not_before():
    positions, skinned = some_positions(), neighbours(skin=1.0)
    _, first = skinned(positions, *OPEN)
    for step, kept in ((0.0, True), (0.499, True), (0.501, False)):
        moved = positions.copy()
        moved[4] += step * np.array([0.6, 0.0, 0.8])
        _, graph = skinned(moved, *OPEN)
        assert (graph is first) == kept
    # Measured from where the graph was made, not from the last step.
    walked, skinned = positions.copy(), neighbours(skin=1.0)
    skinned(walked, *OPEN)
    for _ in range(6):
        walked[4, 0] += 0.1
        skinned(walked, *OPEN)
    assert skinned.n_built == 2


@pytest.mark.parametrize("what", ["cell", "pbc", "number of atoms"])
def test_rebuilt_when_the_system_changes(what):
    positions, skinned = some_positions(), neighbours()
    cell, pbc = BOX
    skinned(positions, cell, pbc)
    if what == "cell":
        cell = cell * 1.000001
    elif what == "pbc":
        pbc = np.array([True, True, False])
    else:
        positions = positions[:-1]
    skinned(positions, cell, pbc)
    assert skinned.n_built == 2
    skinned(positions, cell, pbc)
    assert skinned.n_built == 2


def test_an_open_directions_lattice_vector_does_not_matter():
    positions, skinned = some_positions(), neighbours()
    cell, pbc = BOX[0].copy(), np.array([True, True, False])
    skinned(positions, cell, pbc)
    cell[2] = 0.0
    skinned(positions, cell, pbc)
    assert skinned.n_built == 1


def test_without_a_skin_every_move_makes_a_graph():
    positions, skinned = some_positions(), neighbours(skin=0.0)
    skinned(positions, *OPEN)
    skinned(positions, *OPEN)
    assert skinned.n_built == 1
    skinned(positions + 1e-9, *OPEN)
    assert skinned.n_built == 2


@pytest.mark.parametrize("lattice", [OPEN, BOX], ids=["open", "periodic"])
def test_float32_keeps_its_digits_far_from_the_origin(lattice):
    cell, pbc = lattice
    positions = some_positions()
    if pbc.any():
        rng = np.random.default_rng(3)
        far = positions + rng.integers(-5000, 5000, positions.shape) @ cell
    else:
        far = positions + 1e5
    single = SkinGraph(3.0, 0.0, torch.float32, torch.device("cpu"))
    pos, graph = single(far, cell, pbc)
    exact, reference = neighbours(skin=0.0)(positions, cell, pbc)
    expected = distances_within(2.999, exact, reference)
    found = distances_within(2.999, pos, graph).double()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_graph_can_be_made_again_where_it_was():
    positions = some_positions()
    first = neighbours()
    first(positions, *BOX)
    moved = positions + 0.1
    pos, graph = first(moved, *BOX)
    second = neighbours()
    second.restore(first.state())
    again, same = second(moved, *BOX)
    assert second.n_built == 1
    assert torch.equal(pos, again)
    assert torch.equal(graph.edge_index, same.edge_index)
    assert neighbours().state() == {}


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_make_graphs_of_their_own(clone):
    first = neighbours()
    _, graph = first(some_positions(), *OPEN)
    second = clone(first)
    _, other = second(some_positions(), *OPEN)
    assert other is not graph
    assert torch.equal(other.edge_index, graph.edge_index)
    assert first(some_positions(), *OPEN)[1] is graph


def test_nothing_that_is_given_is_changed_or_kept():
    positions, (cell, pbc) = some_positions(), BOX
    given = positions.copy(), cell.copy(), pbc.copy()
    skinned = neighbours()
    skinned(positions, cell, pbc)
    for now, before in zip((positions, cell, pbc), given, strict=True):
        assert np.array_equal(now, before)
    positions[0] += 10.0
    skinned(positions, cell, pbc)
    assert skinned.n_built == 2


def test_bad_values():
    with pytest.raises(ValueError, match=r"skin: expected a number of Å, zero or more, got -1"):
        neighbours(skin=-1.0)
    with pytest.raises(ValueError, match="skin"):
        neighbours(skin=float("nan"))
    positions = some_positions()
    skinned = neighbours()
    skinned(positions, *OPEN)
    positions[3, 1] = np.nan
    with pytest.raises(ValueError, match="pos: expected finite coordinates"):
        skinned(positions, *OPEN)
    with pytest.raises(ValueError, match="cell: expected linearly independent"):
        skinned(some_positions(), np.zeros((3, 3)), np.ones(3, dtype=bool))


def test_the_graph_has_the_charge_of_its_atoms():
    where = np.random.default_rng(0).random((4, 3)), np.zeros((3, 3)), np.zeros(3, bool)
    kept = neighbours()
    assert kept(*where)[1].charge is None
    for charge in (1, 0, -1):
        kept.take_charge(charge)
        first = kept(*where)[1]
        kept.take_charge(charge)
        assert first.charge.tolist() == [charge]
        assert kept(*where)[1] is first


def test_a_complete_graph_stays_and_its_origin_follows_the_molecule():
    keeps = SkinGraph(3.0, 1.0, torch.float32, torch.device("cpu"), most_complete=1000)
    pos = some_positions(10)
    _, graph = keeps(pos, *OPEN)
    assert graph.n_edges == 10 * 9
    for away in (5.0, 1e4, 1e7):
        local, same = keeps(pos + away, *OPEN)
        assert same is graph
        apart = np.linalg.norm((pos[:, None] - pos) - (local[:, None] - local).numpy(), axis=-1)
        assert apart.max() < 1e-5
    assert keeps.n_built == 3
    with pytest.raises(ValueError):
        keeps(pos * np.nan, *OPEN)
