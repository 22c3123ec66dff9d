"""A batch's gathered graph is the one that a search finds, and a padded batch holds the same."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.plugins.precision import DoublePrecision

from molgeo.data.molecules import Edges, MoleculeSet
from molgeo.graph import radius_graph
from molgeo.graph.padding import APART, STEP, Capacity


def molecules(sizes, density=0.05, seed=0):
    """Molecules of these sizes, with as many atoms per Å³."""
    torch.manual_seed(seed)
    n = sum(sizes)
    box = torch.tensor([(size / density) ** (1 / 3) for size in sizes for _ in range(size)])
    return MoleculeSet(
        z=torch.randint(1, 10, (n,), dtype=torch.uint8),
        pos=box[:, None] * torch.rand(n, 3),
        ptr=torch.tensor([0, *sizes]).cumsum(0),
        y=torch.randn(len(sizes), 1, dtype=torch.float64),
        idx=100 + torch.arange(len(sizes)),
        properties=("energy",),
        force=torch.randn(n, 3, dtype=torch.float64),
    )


def crystals():
    """A cell that is smaller than the cutoff, an open molecule, a slab, a single atom."""
    whole = molecules([2, 9, 6, 1])
    torch.manual_seed(1)
    cell = torch.diag_embed(torch.tensor([[2.5, 3.0, 2.8], [0, 0, 0], [6, 7, 0], [2, 2, 2.0]]))
    cell = cell.double() + 0.1 * torch.rand(4, 3, 3, dtype=torch.float64)
    pbc = torch.tensor([[1, 1, 1], [0, 0, 0], [1, 1, 0], [1, 1, 1]]).bool()
    return dataclasses.replace(whole, cell=cell, pbc=pbc)


def same(gathered, searched):
    """Whether two graphs are equal to the bit; no offset is one of zero."""
    assert gathered.n_molecules == searched.n_molecules
    for field in dataclasses.fields(searched):
        a, b = getattr(gathered, field.name), getattr(searched, field.name)
        if field.name == "offset" and b is None and a is not None:
            b = torch.zeros_like(a)
        if isinstance(b, torch.Tensor):
            assert a.dtype == b.dtype, field.name
            assert torch.equal(a, b), field.name
        else:
            assert a == b, field.name


def check(whole, cutoff, chosen):
    known = whole.with_neighbours(cutoff, torch.tensor(sorted(set(chosen))))
    batch = known.batch(torch.tensor(chosen))
    assert batch.graph(cutoff) is batch.edges.graph
    assert batch.edges.graph.batch is batch.batch
    same(batch.edges.graph, radius_graph(batch.pos, cutoff, batch.batch, batch.cell, batch.pbc))
    same(batch.graph(0.7 * cutoff), whole.batch(torch.tensor(chosen)).graph(0.7 * cutoff))
    return known


@settings(max_examples=40, deadline=None, derandomize=True)
@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=9), data=st.data())
def test_gathered_is_searched(sizes, data):
    chosen = data.draw(st.lists(st.integers(0, len(sizes) - 1), min_size=1, max_size=12))
    check(molecules(sizes), data.draw(st.sampled_from([0.5, 2.0, 9.0])), chosen)


def test_gathered_is_searched_through_boundaries():
    known = check(crystals(), 4.0, [3, 1, 0, 2, 0])
    assert known.neighbours.offset.any()
    loop = known.batch(torch.tensor([3])).graph(4.0)
    assert loop.n_edges
    assert torch.equal(loop.source, loop.target)
    check(crystals(), 4.0, [1])  # crosses no boundary, unlike others of the set
    check(crystals(), 4.0, [1, 3])


def test_integers_are_as_wide_as_they_must_be():
    small = check(molecules([5, 11, 1]), 3.0, [0, 1, 2]).neighbours
    assert {x.dtype for x in vars(small).values() if isinstance(x, torch.Tensor)} == {torch.int8}
    wide = check(molecules([3, 280, 300], density=1.0), 4.0, [2, 0, 1, 2])
    assert wide.neighbours.loads[:, 1].max() > 32_767
    assert wide.neighbours.target.dtype == torch.int16
    assert wide.neighbours.reverse.dtype == torch.int32


def test_no_edges_at_all():
    known = check(molecules([1, 2, 1]), 0.01, [2, 0, 1])
    assert known.neighbours.loads.tolist() == [[1, 0], [2, 0], [1, 0]]


def test_molecules_that_were_not_looked_at_are_searched(monkeypatch):
    whole = molecules([4, 5, 6])
    known = whole.with_neighbours(3.0, torch.tensor([2, 0]))
    assert known.batch(torch.tensor([0, 2])).edges is not None
    batch = known.batch(torch.tensor([0, 1]))
    assert batch.edges is None
    assert batch.capacity is None
    same(batch.graph(3.0), whole.batch(torch.tensor([0, 1])).graph(3.0))
    assert known.joined(whole).neighbours is None
    assert known.select(("energy",)).to("cpu").batch(torch.tensor([2])).edges is not None


def test_parts_of_a_search_make_one_table(monkeypatch):
    whole = molecules([7, 3, 9, 1, 5, 8])
    once, told = whole.with_neighbours(3.0, torch.arange(6)).neighbours, []
    monkeypatch.setattr("molgeo.data.molecules.ATOMS_AT_ONCE", 10)
    parts = whole.with_neighbours(3.0, torch.arange(6), lambda *n: told.append(n)).neighbours
    assert told[-1] == (6, 6)
    assert len(told) > 2
    for name, x in vars(once).items():
        if isinstance(x, torch.Tensor):
            assert torch.equal(x, getattr(parts, name))
        elif isinstance(x, np.ndarray):
            assert np.array_equal(x, getattr(parts, name))


def test_load_of_a_batch():
    known = molecules([4, 30, 6], density=0.3).with_neighbours(3.0, torch.arange(3))
    degree = known.batch(torch.tensor([1, 1, 2])).graph(3.0).degree
    beyond = [int((degree > k * STEP).sum()) for k in range(known.neighbours.loads.shape[1] - 2)]
    expected = [66, int(degree.sum()), *beyond]
    assert known.neighbours.load(np.array([1, 1, 2])).tolist() == expected


@pytest.mark.parametrize("whole", [molecules([5, 1, 8]), crystals()], ids=["open", "periodic"])
def test_padded_batch(whole):
    known = whole.with_neighbours(4.0, torch.arange(len(whole)))
    chosen = torch.tensor([2, 0, 1])
    load = known.neighbours.load(chosen.numpy())
    capacity = Capacity((int(load[0]) + 5, int(load[1]) + 8, *load[2:].tolist()))
    batch, more = known.batch(chosen), known.batch(chosen, capacity)
    n = len(batch.z)
    assert more.capacity == capacity
    assert batch.capacity is None
    for name in ("z", "pos", "batch", "force"):
        assert torch.equal(getattr(more, name)[:n], getattr(batch, name))
        assert len(getattr(more, name)) == n + 5
    for name in ("y", "idx", "energy", "cell", "pbc"):
        if getattr(batch, name) is not None:
            assert torch.equal(getattr(more, name)[:3], getattr(batch, name))
            assert len(getattr(more, name)) == 4
    assert more.y[3].isnan().all()
    assert more.energy[3].isnan()
    assert more.force[n:].isnan().all()
    assert more.idx[3] == -1
    assert more.ptr[-1] == n + 5
    assert (more.batch[n:] == 3).all()
    graph = more.graph(4.0)
    assert graph.n_molecules == 4
    assert graph.slots is not None
    assert graph.batch is more.batch
    assert graph.distances(more.pos)[batch.graph(4.0).n_edges // 2 :].min() == APART
    assert more.pbc is None or not more.pbc[3].any()
    assert [x.shape for x in more.map(torch.clone).tensors()] == [x.shape for x in more.tensors()]
    alone = more.molecule(1)
    assert alone.edges is None
    assert torch.equal(alone.pos, batch.molecule(1).pos)
    with pytest.raises(ValueError, match=r"cutoff: expected that of the padded batch, 4.0, got 3"):
        more.graph(3.0)
    with pytest.raises(ValueError, match="capacity: expected a batch with its graph"):
        whole.batch(chosen, capacity)


@pytest.mark.parametrize("whole", [molecules([5, 1, 8]), crystals()], ids=["open", "periodic"])
def test_batches_of_a_set_on_another_device(whole):
    """A device without memory stands for a card: nothing can be read from it."""
    here = whole.with_neighbours(4.0, torch.arange(len(whole)))
    there, chosen = here.to("meta"), torch.tensor([2, 0, 1])
    load = here.neighbours.load(chosen.numpy())
    capacity = Capacity((int(load[0]) + 5, int(load[1]) + 8, *load[2:].tolist()))
    for wanted in (None, capacity):
        expected, got = here.batch(chosen, wanted), there.batch(chosen, wanted)
        assert expected.to("cpu") is expected
        sent = expected.to("meta").tensors()
        assert [x.shape for x in sent] == [x.shape for x in expected.tensors()]
        assert {x.device.type for x in sent} == {"meta"}
        if wanted is None:  # on a CPU the slots come later
            graph = dataclasses.replace(got.edges.graph, slots=None)
            got = got._replace(edges=Edges(graph, 4.0))
        for a, b in zip(expected.tensors(), got.tensors(), strict=True):
            assert b.device.type == "meta"
            assert (a.shape, a.dtype) == (b.shape, b.dtype)


def test_lightning_leaves_the_graph_alone():
    known = molecules([5, 8]).with_neighbours(4.0, torch.arange(2))
    batch = known.batch(torch.arange(2))
    converted = DoublePrecision().convert_input(batch)
    assert converted.pos.dtype == torch.float64
    assert converted.graph(4.0) is batch.edges.graph


def test_charges_are_in_every_graph():
    whole = dataclasses.replace(molecules([5, 1, 8]), charge=torch.tensor([1, 0, -1]))
    known = whole.with_neighbours(4.0, torch.arange(3))
    chosen = torch.tensor([2, 0])
    for batch in (whole.batch(chosen), known.batch(chosen)):
        assert batch.graph(4.0).charge.tolist() == [-1, 1]
        assert batch.graph(4.0).to("cpu").charge.tolist() == [-1, 1]
        assert batch.molecule(1).graph(4.0).charge.tolist() == [1]
    load = known.neighbours.load(chosen.numpy())
    capacity = Capacity((int(load[0]) + 5, int(load[1]) + 8, *load[2:].tolist()))
    more = known.batch(chosen, capacity)
    assert more.graph(4.0).charge.tolist() == [-1, 1, 0]
    assert known.joined(whole).charge.tolist() == [1, 0, -1, 1, 0, -1]
    assert whole.joined(molecules([3])).charge.tolist() == [1, 0, -1, 0]
    assert molecules([3]).joined(whole).charge.tolist() == [0, 1, 0, -1]
