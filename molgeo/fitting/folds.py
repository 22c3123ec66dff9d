"""Which rows a model is tested on, and which fold of the others each member is stopped by."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from molgeo.data.split import (
    TEST,
    UNDECIDED,
    VALIDATION,
    folds,
    has_groups,
    numbered,
    split_groups,
)
from molgeo.generate.table import Table
from molgeo.runtime.plain_text import say

Ints = NDArray[np.int64]


class Folds(NamedTuple):
    """Parts of a table.

    Attributes:
        test: (n,) rows that no member sees.
        fold: (rows,) the fold of each row from 0; -1 for those of the test part.
        strange: (rows,) whether no other fold has the row's scaffold, as of a new one.
        group: (rows,) int64, equal for rows that no folds may part: of one scaffold, else of one
            molecule; -1 for those of the test part.
        by_scaffold: whether the folds are.
    """

    test: Ints
    fold: Ints
    strange: NDArray[np.bool_]
    group: Ints
    by_scaffold: bool

    def among(self, kept: Ints, n: int) -> Folds:
        """The same, in a table of more rows.

        Args:
            kept: (rows,) places of these rows in the table.
            n: rows of the table; those that are not kept are in no part.
        """
        fold, group, strange = np.full(n, -1), np.full(n, -1), np.zeros(n, bool)
        fold[kept], group[kept], strange[kept] = self.fold, self.group, self.strange
        return Folds(kept[self.test], fold, strange, group, self.by_scaffold)


def folds_of(table: Table, split: str, test_fraction: float, n: int, seed: int) -> Folds:
    """Divide rows into a test part and folds.

    Rows of one molecule are in one part. So are those of one scaffold, but for scaffolds so common
    that a fold of one would be most of it: their molecules are in all folds, as the most common
    scaffolds are in every training set. If a column says what is tested on, nobody knows how far
    that is from the other rows: the folds are by scaffold, so that bars are rather too wide.

    Args:
        table: its rows.
        split: ``scaffold``, ``random``, or the title of a column that says the part.
        test_fraction: of the rows, if no column tells a test part; 0 for none.
        n: folds.
        seed: of the order of groups.

    Raises:
        InputError: there are too few groups of rows.
    """
    rows = np.arange(len(table.rows))
    molecules = table.groups
    if not has_groups(molecules):
        say("the rows are of one or two molecules: they are split one by one")
        molecules = np.full_like(molecules, -1)
    by_scaffold = split != "random"
    if by_scaffold and not all(row.smiles for row in table.rows):
        if split == "scaffold":
            say("the rows have no SMILES, of which scaffolds could be told: the split is random")
        by_scaffold = False
    groups = table.families(rows) if by_scaffold else molecules
    if by_scaffold and not has_groups(groups):
        say("the rows are of one or two scaffolds: the split is random")
        groups, by_scaffold = molecules, False
    is_test = table.parts == TEST
    free = np.where(table.parts == VALIDATION, UNDECIDED, table.parts)
    if not is_test.any() and test_fraction and not (free == UNDECIDED).any():
        say(f"{split}: no row is called test: errors are those of the folds")
    elif not is_test.any() and test_fraction:
        found = split_groups(groups, free, 1e-9, test_fraction, seed, by_rows=by_scaffold)
        is_test[found.test.numpy()] = True
    rest = np.flatnonzero(~is_test)
    _, places, sizes = np.unique(groups[rest], return_inverse=True, return_counts=True)
    is_common = sizes[places] > len(rest) / (2 * n)
    is_common &= by_scaffold
    own = np.where(
        is_common & (molecules[rest] >= 0), groups.max() + 1 + molecules[rest], groups[rest]
    )
    of_rest = Folds(rest[:0], folds(own, n, seed), ~is_common, numbered(own), by_scaffold)
    return of_rest.among(rest, len(rows))._replace(test=np.flatnonzero(is_test))
