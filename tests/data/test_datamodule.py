"""A run's edges are found once, of the molecules that it looks at, and batches stay the same."""

import numpy as np
import pytest
import torch

from molgeo.data import datamodule
from molgeo.data.capacity import ladder_of
from molgeo.data.datamodule import FlatDataModule, Rehearsed, placed
from molgeo.data.split import Split

from .test_neighbours import molecules, same


class Module(FlatDataModule):
    def load(self):
        sizes = np.random.RandomState(0).randint(1, 12, 100).tolist()
        return molecules(sizes), Split(*torch.randperm(100).split([70, 20, 10]))


def module(**settings):
    torch.manual_seed(5)
    found = Module(**{"batch_size": 8, **settings})
    found.setup()
    return found


def batches(data):
    loaders = (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    return [list(loader) for loader in loaders]


@pytest.mark.parametrize("padded", [False, True])
def test_batches_are_those_without(padded):
    data = module()
    before = batches(data)
    data.find_edges(3.0, padded=padded)
    train, validation, test = batches(data)
    assert {batch.capacity is not None for batch in train} == {padded}
    assert {batch.capacity for batch in validation} == {None}
    assert {batch.edges for batch in test} == {None}, "nobody looks at them in a run"
    for old, new in zip(before[0] + before[1], train + validation, strict=True):
        assert torch.equal(old.pos, new.pos[: len(old.pos)])
        if new.capacity is None:
            same(new.edges.graph, old.graph(3.0))


def test_short_runs_look_at_few_molecules():
    data = module(first_step=5)
    data.find_edges(3.0, last_step=9)
    looked_at = np.flatnonzero(data._placed.neighbours.loads[:, 1] >= 0)
    loader = data.train_dataloader()  # from step 5 on; a pass has eight
    steps = [batch for _ in range(2) for batch in loader][:4]
    expected = {*data.parts.validation.tolist(), *(int(i) - 100 for b in steps for i in b.idx)}
    assert set(looked_at.tolist()) == expected
    assert all(batch.edges is not None for batch in steps)


def test_a_resumed_run_has_the_capacities_of_the_whole():
    ladders = []
    for first_step, last_step in ((0, 9), (5, 9), (0, -1)):
        data = module(first_step=first_step)
        data.find_edges(3.0, last_step, padded=True)
        ladders.append(data.ladder)
    assert ladders[0] is not None
    assert ladders == ladders[:1] * 3


def test_capacities_are_chosen_for_batches_of_training(monkeypatch):
    """Validation, whose batches are not padded, may have molecules of other sizes."""
    sizes = [6] * 70 + [40] * 20 + [9] * 10
    parts = Split(*torch.arange(100).split([70, 20, 10]))
    monkeypatch.setattr(Module, "load", lambda self: (molecules(sizes), parts))
    data = module()
    data.find_edges(3.0, padded=True)
    assert data.ladder == ladder_of(data._placed.neighbours.loads[:70], 8)
    assert data.ladder.capacities[-1].atoms < 8 * 6 + 16


def test_too_many_edges_are_not_kept(monkeypatch, capsys):
    monkeypatch.setattr(datamodule, "MOST_EDGES", 100)
    data = module()
    data.find_edges(3.0)
    assert not capsys.readouterr().err
    data.find_edges(3.0, padded=True)
    told = capsys.readouterr().err
    assert "replay: 90 molecules have too many edges to keep; batches are not padded, and" in told
    assert "each step is computed" in told
    assert {batch.edges for part in batches(data) for batch in part} == {None}


def test_a_set_lies_on_a_card_if_there_is_room(monkeypatch):
    known = molecules([4, 5]).with_neighbours(3.0, torch.arange(2))
    card, free = torch.device("cuda"), 8 * known.n_bytes
    monkeypatch.setattr(type(known), "to", lambda self, device: device)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))
    assert placed(known, card) is card
    assert placed(known, torch.device("cpu")) is known
    free = 2 * known.n_bytes
    assert placed(known, card) is known


def test_what_is_rehearsed_is_in_each_batch_and_validated_apart():
    data = module()
    others = molecules([3] * 30)
    data.rehearse(Rehearsed(others, torch.arange(25), torch.arange(25, 30), 0.25))
    n_before = len(data.molecules)
    data.find_edges(3.0, padded=True)
    train = list(data.train_dataloader())
    own, kept = (list(loader) for loader in data.val_dataloader())
    assert [len(batch.y) for batch in own + kept] == [20, 5]
    assert len(train) == 70 // 6
    assert all(batch.edges is not None for batch in train + own + kept)
    assert sum(batch.capacity is not None for batch in train) >= len(train) - 1
    assert {batch.n_molecules for batch in train} == {8}
    assert all((batch.ptr.diff()[6:8] == 3).all() for batch in train), "the last two are others"
    assert len(data.molecules) == n_before == 100, "the data stay what they are"
    again = module(first_step=5)
    again.rehearse(data.rehearsed)
    again.find_edges(3.0, padded=True)
    assert again.ladder == data.ladder
    for a, b in zip(train[5:], again.train_dataloader(), strict=False):
        assert torch.equal(a.pos, b.pos)


@pytest.mark.parametrize(("share", "n"), [(0.5, 4), (0.01, 1), (0.99, 7), (0.3, 2)])
def test_a_batch_has_some_of_both(share, n):
    assert Rehearsed(molecules([3]), torch.arange(1), torch.arange(1), share).of_batch(8) == n
