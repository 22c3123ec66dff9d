"""Capacities hold the batches of a run, waste little, and are the same every time."""

import numpy as np
import pytest
import torch

from molgeo.data.capacity import ENOUGH, MOST, WIDTHS, _limits, ladder_of
from molgeo.data.loader import FlatLoader
from molgeo.graph.padding import SPARE_ATOMS, Capacity

from .test_neighbours import molecules


def loads_of(sizes, per_atom):
    """Loads of molecules of these sizes: what each atom adds to each entry."""
    return np.outer(sizes, [1, *per_atom]).astype(np.int32)


RANDOM = np.random.RandomState(1)
SETS = {
    "qm9": (loads_of(np.clip(RANDOM.normal(18, 3, 5000), 3, 29), [16, 1, 0.9, 0.4]), 128),
    "one size": (loads_of([21] * 900, [14, 1, 0.9, 0.1]), 32),
    "5 to 200 atoms": (loads_of(RANDOM.randint(5, 201, 3000), [40, 1, 1, 1, 1, 1, 0.6, 0.1]), 8),
    "5 or 200 atoms": (loads_of(RANDOM.choice([5, 200], 3000), [40, 1, 1, 1, 1, 1, 0.6, 0.1]), 1),
    "fewer than a batch": (loads_of([3, 8, 9], [4, 1]), 8),
    "no edges": (loads_of([1] * 50, [0]), 4),
    "crystals": (loads_of([64] * 300, [150, *[1] * 15, 0.9, 0.4, 0.1]), 4),
}


@pytest.mark.parametrize(("loads", "batch_size"), SETS.values(), ids=SETS)
def test_ladder(loads, batch_size):
    ladder = ladder_of(loads, batch_size)
    assert ladder == ladder_of(loads, batch_size)
    assert 1 <= len(ladder.capacities) <= MOST
    for below, above in zip(ladder.capacities, ladder.capacities[1:], strict=False):
        assert all(a <= b for a, b in zip(below.limits, above.limits, strict=True))
    for one in ladder.capacities:
        assert one.edges % 2 == 0
        assert list(one.limits[2:]) == sorted(one.limits[2:], reverse=True)
        assert sum(n for n, _ in one.blocks) <= one.atoms
        assert len(one.blocks) <= WIDTHS
    # Other batches than those that the ladder was chosen from.
    random, size = np.random.RandomState(2), min(batch_size, len(loads))
    batches = [loads[random.permutation(len(loads))[:size]].sum(0) for _ in range(1500)]
    taken = [ladder.of(one) for one in batches]
    assert np.mean([one is None for one in taken]) < 0.002
    pairs = [(one, load) for one, load in zip(taken, batches, strict=True) if one]
    assert all(one.holds(load) for one, load in pairs)
    for k, name in enumerate(("atoms", "edges")):
        capacity, own = (
            np.mean([x[k] for x in xs])
            for xs in zip(*((p[0].limits, p[1]) for p in pairs), strict=True)
        )
        assert abs(capacity / max(own, 1) - 1 - ladder.waste[k]) < 0.03 or own < 1, name


def test_limits_descend_if_what_batches_need_does_not():
    """Spreads of batches may be larger for atoms with more neighbours."""
    (limits,) = _limits(np.array([[400, 4000, 300, 100, 250, 60]]))
    assert list(limits[2:]) == sorted(limits[2:], reverse=True)
    assert (limits[2:] >= [300, 250, 250, 60]).all()
    assert all(n > 0 for n, _ in Capacity(tuple(limits.tolist())).blocks)


def test_little_is_wasted():
    assert max(ladder_of(*SETS["qm9"]).waste) < ENOUGH
    assert max(ladder_of(*SETS["5 to 200 atoms"]).waste) < 0.10
    assert max(ladder_of(*SETS["5 or 200 atoms"]).waste) < 0.10
    assert len(ladder_of(*SETS["one size"]).capacities) == 1
    assert len(ladder_of(*SETS["qm9"]).capacities) > 1


def test_what_no_capacity_holds():
    ladder = ladder_of(loads_of([10] * 100, [4, 1]), 4)
    assert ladder.of(np.array([40, 160, 40])) is ladder.capacities[0]
    assert ladder.of(np.array([400, 160, 40])) is None
    assert ladder.of(np.array([40, 160, 40, 1])) is None, "an atom has more neighbours than slots"


def test_loader_pads_to_the_smallest_that_holds():
    whole = molecules(np.random.RandomState(3).randint(2, 30, 200).tolist())
    known = whole.with_neighbours(3.0, torch.arange(200))
    ladder = ladder_of(known.neighbours.loads, 8)
    assert len(ladder.capacities) > 1
    plain = FlatLoader(known, torch.arange(200), 8, seed=4)
    seen = set()
    for batch, more in zip(
        plain, FlatLoader(known, torch.arange(200), 8, seed=4, ladder=ladder), strict=True
    ):
        load = known.neighbours.load((batch.idx - 100).numpy())
        assert more.capacity == ladder.of(load)
        assert torch.equal(more.idx, torch.cat([batch.idx, torch.tensor([-1])]))
        seen.add(more.capacity)
    assert len(seen) > 1
    tight = ladder._replace(capacities=(Capacity((SPARE_ATOMS, 64, 8)),))
    assert next(iter(FlatLoader(known, torch.arange(200), 8, ladder=tight))).capacity is None
