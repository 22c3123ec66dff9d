"""Which rows a model is tested on, and which fold of the others each member is stopped by."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from molgeo.data.split import TEST, UNDECIDED, VALIDATION

Ints = NDArray[np.int64]


class Folds(NamedTuple):
    """Parts of a table.

    Attributes:
        test: (n,) rows that no member sees.
        fold: (rows,) the fold of each row from 0; -1 for those of the test part.
        strange: (rows,) whether no other fold has the row's group, as of a new scaffold.
    """

    test: Ints
    fold: Ints
    strange: NDArray[np.bool_]


def folds_of(
    molecules: Ints, groups: Ints, parts: Ints, test_fraction: float, n_folds: int, seed: int
) -> Folds:
    """Divide rows into a test part and folds.

    Rows of one molecule are in one part. So are those of one group, but for groups so large that
    the folds would be of very different sizes: their molecules are in all folds, as the most common
    scaffolds are in every training set.

    Args:
        molecules: (rows,) the same number for rows of one molecule; -1 for one of its own.
        groups: (rows,) the same number for rows of one group, such as a scaffold.
        parts: (rows,) as a column tells them, numbers of `molgeo.data.split`.
        test_fraction: of the rows, if no column tells a test part; 0 for none.
        n_folds: how many.
        seed: of the order of groups.
    """
    n = len(molecules)
    molecules = np.where(molecules < 0, molecules.max(initial=-1) + 1 + np.arange(n), molecules)
    is_test = parts == TEST
    if not is_test.any() and test_fraction:
        is_test = _taken(groups, np.isin(parts, (UNDECIDED, VALIDATION)), test_fraction, seed)
    rest = np.flatnonzero(~is_test)
    sizes = np.bincount(np.unique(groups[rest], return_inverse=True)[1])
    most = len(rest) / (2 * n_folds)
    size_of = dict(zip(np.unique(groups[rest]).tolist(), sizes.tolist(), strict=True))
    is_large = np.array([size_of[group] > most for group in groups[rest].tolist()], bool)
    own = np.where(is_large, -1 - molecules[rest], groups[rest])
    random, load = np.random.RandomState(seed + 1), np.zeros(n_folds, int)
    fold = np.full(n, -1, np.int64)
    names, places = np.unique(own, return_inverse=True)
    counts = np.bincount(places)
    order = random.permutation(len(names))
    order = order[np.argsort(-counts[order], kind="stable")]
    for group in order.tolist():  # the largest first, each to the fold that has least
        lightest = int(load.argmin())
        fold[rest[places == group]] = lightest
        load[lightest] += counts[group]
    strange = np.zeros(n, bool)
    strange[rest] = ~is_large
    return Folds(np.flatnonzero(is_test), fold, strange)


def _taken(
    groups: Ints, is_free: NDArray[np.bool_], fraction: float, seed: int
) -> NDArray[np.bool_]:
    """(rows,) which are of a part: in random order each group that fits into what is left of it."""
    names, sizes = np.unique(groups[is_free], return_counts=True)
    room = most = max(1, round(fraction * int(is_free.sum())))
    chosen = []
    for k in np.random.RandomState(seed).permutation(len(names)).tolist():
        if sizes[k] <= room and sizes[k] <= max(1, most / 2):
            chosen.append(names[k])
            room -= sizes[k]
    taken: NDArray[np.bool_] = is_free & np.isin(groups, chosen)
    return taken
