"""Batches: whole, in an order that seed and epoch determine, resumable anywhere."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from molgeo.data.loader import FlatLoader
from molgeo.data.molecules import MoleculeSet


def molecules(sizes):
    """Molecules of these sizes whose tensors all tell where they come from."""
    n = sum(sizes)
    return MoleculeSet(
        z=torch.arange(1, n + 1, dtype=torch.uint8),
        pos=torch.arange(3.0 * n).view(n, 3),
        ptr=torch.tensor([0, *sizes]).cumsum(0),
        y=torch.arange(2.0 * len(sizes), dtype=torch.float64).view(-1, 2),
        idx=100 + torch.arange(len(sizes)),
        properties=("u0", "gap"),
    )


def ids(loader, epochs=1):
    return [batch.idx.tolist() for _ in range(epochs) for batch in loader]


SIZES = st.lists(st.integers(1, 7), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(sizes=SIZES, data=st.data())
def test_a_batch_is_the_concatenation_of_its_molecules(sizes, data):
    chosen = data.draw(st.lists(st.integers(0, len(sizes) - 1), min_size=1, max_size=12))
    whole = molecules(sizes)
    batch = whole.batch(torch.tensor(chosen))
    rows = [slice(int(whole.ptr[m]), int(whole.ptr[m + 1])) for m in chosen]
    assert torch.equal(batch.z, torch.cat([whole.z[r] for r in rows]).long())
    assert torch.equal(batch.pos, torch.cat([whole.pos[r] for r in rows]))
    number = [b for b, m in enumerate(chosen) for _ in range(sizes[m])]
    assert batch.batch.tolist() == number
    assert batch.ptr.diff().tolist() == [sizes[m] for m in chosen]
    assert torch.equal(batch.y, whole.y[chosen])
    assert batch.y.dtype == torch.float64
    assert batch.idx.tolist() == [100 + m for m in chosen]


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 40), batch_size=st.integers(1, 9), world=st.integers(1, 4))
def test_unshuffled_ranks_share_all_molecules(n, batch_size, world):
    whole = molecules([1] * n)
    got = [
        FlatLoader(whole, torch.arange(n), batch_size, rank=rank, world_size=world)
        for rank in range(world)
    ]
    seen = [m for loader in got for batch in ids(loader) for m in batch]
    assert sorted(seen) == list(range(100, 100 + n))
    for loader in got:
        assert len(ids(loader)) == len(loader)
        assert all(ids(loader)), "no batch is empty"


@settings(max_examples=60, deadline=None)
@given(n=st.integers(4, 40), batch_size=st.integers(1, 9), world=st.integers(1, 4))
def test_shuffled_ranks_are_disjoint_and_drop_the_last(n, batch_size, world):
    whole = molecules([1] * n)
    got = [
        ids(FlatLoader(whole, torch.arange(n), batch_size, seed=3, rank=r, world_size=world))
        for r in range(world)
    ]
    seen = [m for rank in got for batch in rank for m in batch]
    assert len(set(seen)) == len(seen)
    assert {len(rank) for rank in got} == {max(1, n // world // batch_size)}
    if n // world >= batch_size:
        assert {len(batch) for rank in got for batch in rank} == {batch_size}


def test_fewer_molecules_than_a_batch_still_train():
    assert [len(b) for b in ids(FlatLoader(molecules([1] * 3), torch.arange(3), 8, seed=0))] == [3]


def test_order_is_a_function_of_seed_and_epoch():
    whole, rows = molecules([1] * 30), torch.arange(30)
    first = ids(FlatLoader(whole, rows, 4, seed=1), epochs=3)
    assert ids(FlatLoader(whole, rows, 4, seed=1), epochs=3) == first
    assert ids(FlatLoader(whole, rows, 4, seed=2), epochs=3) != first
    assert first[:7] != first[7:14], "epochs are shuffled anew"
    torch.manual_seed(99)  # the global stream has no part in it
    torch.rand(5)
    assert ids(FlatLoader(whole, rows, 4, seed=1), epochs=3) == first


def test_only_the_given_molecules_are_batched():
    loader = FlatLoader(molecules([2] * 10), torch.tensor([7, 1, 4]), 2)
    assert ids(loader) == [[107, 101], [104]]


@pytest.mark.parametrize("taken", range(15))
def test_state_goes_on_at_every_position(taken):
    whole, rows = molecules([1] * 22), torch.arange(22)
    expected = ids(FlatLoader(whole, rows, 3, seed=5), epochs=3)
    assert len(expected) == 21
    stopped, seen = FlatLoader(whole, rows, 3, seed=5), []
    while len(seen) < taken:
        for batch in stopped:
            seen.append(batch.idx.tolist())
            if len(seen) == taken:
                break
    resumed = FlatLoader(whole, rows, 3, seed=5)
    resumed.load_state_dict(stopped.state_dict())
    rest = ids(resumed, epochs=3)[: 21 - taken]
    assert seen + rest == expected


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 40),
    batch_size=st.integers(1, 5),
    epoch_size=st.integers(0, 50),
    data=st.data(),
)
def test_short_epochs_go_on_through_the_same_pass(n, batch_size, epoch_size, data):
    whole = molecules([1] * n)
    long = FlatLoader(whole, torch.arange(n), batch_size, seed=3)
    short = FlatLoader(whole, torch.arange(n), batch_size, seed=3, epoch_size=epoch_size)
    a_pass = short._epochs_a_pass
    assert a_pass * len(short) <= len(long)
    parts = data.draw(st.integers(1, 3)) * a_pass
    got = ids(short, parts)
    seen = [m for batch in got[: a_pass * len(short)] for m in batch]
    assert len(seen) == len(set(seen)) == a_pass * len(short) * min(batch_size, n)
    seen = ids(long)
    assert got[: len(short)] == seen[: len(short)]
    # A loader that is told its place goes on as the one that was there.
    place = data.draw(st.integers(0, len(got) - 1))
    resumed = FlatLoader(whole, torch.arange(n), batch_size, seed=3, epoch_size=epoch_size)
    epoch, batch = divmod(place, len(short))
    resumed.load_state_dict({"epoch": epoch, "next_batch": batch})
    rest = [b.idx.tolist() for _ in range(parts - epoch) for b in resumed]
    assert rest == got[place:]


def test_forces_follow_their_molecules():
    whole = molecules([2, 3, 1])
    force = torch.arange(18.0, dtype=torch.float64).view(6, 3)
    cell = torch.arange(27.0, dtype=torch.float64).view(3, 3, 3)
    labelled = dataclasses.replace(
        whole,
        y=whole.y[:, :1],
        properties=("energy",),
        force=force,
        cell=cell,
        pbc=torch.tensor([[True] * 3, [False] * 3, [True] * 3]),
    )
    batch = labelled.to("cpu").batch(torch.tensor([2, 0]))
    assert torch.equal(batch.force, force[[5, 0, 1]])
    assert torch.equal(batch.energy, labelled.y[[2, 0], 0])
    assert torch.equal(batch.cell, cell[[2, 0]])
    assert batch.pbc.tolist() == [[True] * 3, [True] * 3]
    assert whole.batch(torch.tensor([0])).force is None
    assert labelled.select(("energy",)).force is force


def test_sets_are_joined_in_order():
    a, b = molecules([2, 3]), molecules([1, 4, 2])
    joined = a.joined(b)
    assert len(joined) == 5
    for m, (one, k) in enumerate([(a, 0), (a, 1), (b, 0), (b, 1), (b, 2)]):
        got, expected = joined.batch(torch.tensor([m])), one.batch(torch.tensor([k]))
        for name in ("z", "pos", "y", "idx"):
            assert torch.equal(getattr(got, name), getattr(expected, name))


def test_sets_of_other_labels_are_not_joined():
    a = molecules([2])
    with pytest.raises(ValueError, match="properties: expected u0, gap, got gap"):
        a.joined(a.select(("gap",)))
    forces = dataclasses.replace(a, force=torch.zeros(2, 3))
    with pytest.raises(ValueError, match="force: expected both sets or none to have it"):
        a.joined(forces)


def mixed(**place):
    """Eleven molecules in batches of five, of which two are others: of seven, from 200 on."""
    whole = molecules([1] * 11).joined(
        dataclasses.replace(molecules([1] * 7), idx=200 + torch.arange(7))
    )
    others = {"others": torch.arange(11, 18), "n_others": 2}
    return FlatLoader(whole, torch.arange(11), 5, seed=3, **others, **place)


def test_each_batch_has_as_many_others():
    """Passes through the others go on through epochs, each in another order."""
    loader = mixed()
    assert len(loader) == 3, "epochs count the loader's own molecules"
    batches = ids(loader, 7)
    own = [[m for m in batch if m < 200] for batch in batches]
    others = [m for batch in batches for m in batch if m >= 200]
    assert {len(batch) for batch in own} == {3}
    assert len({m for batch in own[:3] for m in batch}) == 9, "none twice in an epoch"
    passes = [others[k : k + 7] for k in range(0, 42, 7)]
    assert all(sorted(one) == list(range(200, 207)) for one in passes)
    assert len({tuple(one) for one in passes}) == 6
    assert ids(mixed(), 7) == batches


@pytest.mark.parametrize("taken", [1, 3, 5, 11])
def test_others_go_on_at_every_position(taken):
    expected, loader, before = ids(mixed(), 6), mixed(), []
    while len(before) < taken:
        for batch in loader:
            before.append(batch.idx.tolist())
            if len(before) == taken:
                break
    rest = mixed()
    rest.load_state_dict(loader.state_dict())
    assert before + ids(rest, 7)[: 18 - taken] == expected


def test_ranks_share_the_others():
    ranks = [mixed(rank=rank, world_size=2) for rank in range(2)]
    others = [[m for batch in ids(loader, 4) for m in batch if m >= 200] for loader in ranks]
    steps = [m for pair in zip(*others, strict=True) for m in pair]
    assert len(steps) == 16, "two processes, four epochs of one batch, two others in each"
    assert sorted(steps[:7]) == list(range(200, 207))
