"""A short ladder of capacities, chosen from the loads of a data set's own random batches.

Each batch is padded to the smallest capacity that holds it. So batches stay as random as they are
without padding, which they would not be if molecules were sorted by their size.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from molgeo.graph.padding import SPARE_ATOMS, STEP, Capacity, Load

BATCHES: Final = 2048
"""Random batches whose loads are looked at, about."""

LEVELS: Final = 64
"""Quantiles of the loads from which capacities are taken."""

ROOM: Final = 5.0
"""Standard deviations above the mean load that the largest capacity holds at least."""

MOST: Final = 6
"""Capacities at most: for each, a step is recorded once more."""

ENOUGH: Final = 0.05
"""Waste below which no more capacities are added."""

GAIN: Final = 0.005
"""Less waste than this is not worth one more capacity."""

WIDTHS: Final = 6
"""Blocks of slots at most: of atoms with more neighbours, blocks differ by more than `STEP`."""

ATOMS_UNIT, EDGES_UNIT, ROWS_UNIT = 8, 64, 8
"""Limits are multiples of these: atoms, edges, atoms of blocks."""

Loads = NDArray[np.int64]
"""(n, entries) the load of each of n batches."""


class Ladder(NamedTuple):
    """Capacities of batches, the smallest first.

    Attributes:
        capacities: at least one.
        waste: padding of atoms, edges and slots on average over random batches, as a part of what
            the batches have. The slots of a batch are counted in blocks of the same widths.
    """

    capacities: tuple[Capacity, ...]
    waste: tuple[float, float, float]

    def of(self, load: Load) -> Capacity | None:
        """The smallest capacity that holds a batch; None if none does."""
        return next((one for one in self.capacities if one.holds(load)), None)


def ladder_of(loads: NDArray[np.int32], batch_size: int) -> Ladder:
    """Choose capacities for random batches of some molecules.

    The first one holds practically every batch. The next ones are those of `LEVELS` that lower the
    waste most. Equal molecules and batch sizes give equal capacities, so that a resumed run is
    exact.

    Args:
        loads: (molecules, entries) of each molecule, of which there is at least one.
        batch_size: molecules per batch.
    """
    of_batches = _merged(_random_batches(loads, batch_size))
    levels = _levels(of_batches, _merged(_largest(loads, batch_size)[None])[0])
    smallest = (of_batches[:, None] <= levels).all(2).argmax(1)  # level of each batch
    limits = _limits(levels)
    sizes, own = _sizes(limits), _sizes(of_batches).mean(0)

    def waste(chosen: list[int]) -> NDArray[np.float64]:
        taken = np.array(chosen)[np.searchsorted(chosen, smallest)]
        found: NDArray[np.float64] = (sizes[taken].mean(0) - own) / np.maximum(own, 1)
        return found

    chosen = [len(levels) - 1]
    while waste(chosen).max() > ENOUGH and len(chosen) < MOST:
        more = [sorted([*chosen, k]) for k in range(len(levels)) if k not in chosen]
        best = min(more, key=lambda one: float(waste(one).max()))
        if waste(best).max() > waste(chosen).max() - GAIN:
            break
        chosen = best
    capacities = tuple(Capacity(tuple(limits[k].tolist())) for k in chosen)
    atoms, edges, slots = waste(chosen).tolist()
    return Ladder(capacities, (atoms, edges, slots))


def _random_batches(loads: NDArray[np.int32], batch_size: int) -> Loads:
    """Loads of batches of shuffled molecules, as a run has them."""
    n = len(loads)
    size = min(batch_size, n)
    per_pass = min(n // size, BATCHES)
    random = np.random.RandomState(0)  # whose stream is frozen across versions
    passes = [random.permutation(n)[: per_pass * size] for _ in range(-(-BATCHES // per_pass))]
    sums = [loads[rows].reshape(per_pass, size, -1).sum(1, dtype=np.int64) for rows in passes]
    return np.concatenate(sums)


def _largest(loads: NDArray[np.int32], batch_size: int) -> Load:
    """A load that no batch exceeds: in each entry, that of the largest molecules."""
    return np.sort(loads, axis=0)[-batch_size:].sum(0, dtype=np.int64)


def _levels(of_batches: Loads, largest: Load) -> Loads:
    """(levels, entries) quantiles of each entry, and last what holds practically every batch."""
    parts = np.arange(1, LEVELS) / LEVELS
    quantiles = np.ceil(np.quantile(of_batches, parts, axis=0))
    beyond = np.ceil(of_batches.mean(0) + ROOM * of_batches.std(0))
    top = np.maximum(of_batches.max(0), np.minimum(beyond, largest))
    return np.concatenate([quantiles, top[None]]).astype(np.int64)


def _merged(loads: Loads) -> Loads:
    """The same, with atoms counted as if they were in the wider ones of at most `WIDTHS` blocks."""
    n_steps = loads.shape[1] - 2
    if n_steps <= WIDTHS:
        return loads
    width = -(-n_steps // WIDTHS)
    return loads[:, [0, 1, *(2 + k // width * width for k in range(n_steps))]]


def _limits(levels: Loads) -> Loads:
    """Limits of capacities that hold some loads."""
    units = np.array([ATOMS_UNIT, EDGES_UNIT, *[ROWS_UNIT] * (levels.shape[1] - 2)])
    needed = levels + np.array([SPARE_ATOMS, *[0] * (levels.shape[1] - 1)])
    limits = -(-needed // units) * units
    limits[:, 1] = np.maximum(limits[:, 1], EDGES_UNIT)
    # No entry may be less than the next: spreads, and so the largest level, need not descend.
    limits[:, 2:] = np.maximum.accumulate(limits[:, :1:-1], axis=1)[:, ::-1]
    limits[:, 2:] = np.minimum(limits[:, 2:], limits[:, :1])
    return limits


def _sizes(loads: Loads) -> Loads:
    """(n, 3) atoms, edges and slots."""
    beyond = np.pad(loads[:, 2:], ((0, 0), (0, 1)))
    widths = STEP * np.arange(1, beyond.shape[1])
    slots = (beyond[:, :-1] - beyond[:, 1:]) @ widths
    return np.stack([loads[:, 0], loads[:, 1], slots], axis=1)
