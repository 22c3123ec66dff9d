"""What the bonds of a fit's molecules say, for kernels and the 2D baseline: computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molgeo.chem.descriptors import Descriptors, groups, mol_of, names, substructures
from molgeo.chem.molecule import Molecule, SmilesRow
from molgeo.elements import SYMBOLS

COMMON: Final = 3
"""Training molecules that have a substructure, for it to be a feature."""

MOST_COUNTED: Final = 2000
"""Substructures, those that are in the most molecules: more hardly tell more, and each is a column
of the training molecules in the file."""

Columns = NDArray[np.float32]


@dataclass(frozen=True)
class Features:
    """Descriptors of molecules.

    Attributes:
        descriptors: (rows, d).
        counts: (rows, substructures), logarithms of one plus the counts; (rows, 0) if only the
            composition is known.
        groups: (rows, groups), counts of those that are charged in water; likewise.
        names: of all columns, in the order above; none if only the composition is known.
    """

    descriptors: Columns
    counts: Columns
    groups: Columns
    names: tuple[str, ...]

    def of(self, rows: Any) -> Features:
        """Those of some rows."""
        return Features(self.descriptors[rows], self.counts[rows], self.groups[rows], self.names)

    @property
    def columns(self) -> Columns:
        """(rows, names) all of them, as `molgeo.chem.descriptors` gives them by their names."""
        return np.hstack([self.descriptors, self.counts, self.groups])

    @property
    def common(self) -> NDArray[np.bool_]:
        """(substructures,) which of them `COMMON` of the molecules have."""
        return np.asarray((self.counts > 0).sum(0) >= COMMON)


def features_of(
    rows: Sequence[Molecule | SmilesRow], kept: NDArray[np.int64], learned: NDArray[np.int64]
) -> Features:
    """Descriptors and counts of molecules; numbers of their atoms if one of them has no SMILES.

    Args:
        rows: molecules.
        kept: (n,) places of those that are used; what is told of others is 0.
        learned: (m,) places of those that are learned from. They say which substructures count.
    """
    own = [rows[k] for k in kept.tolist()]
    wanted: tuple[str, ...] = ()
    if all(row.smiles and mol_of(row) for row in own):
        mols = (mol for k in learned.tolist() if (mol := mol_of(rows[k])))
        found = substructures(mols, COMMON, MOST_COUNTED)
        wanted, sizes = (*names(), *found, *groups()), [len(names()), len(found)]
        each = Descriptors(wanted).of_rows(own)
    else:
        atoms: list[Any] = [row.z if isinstance(row, Molecule) else [] for row in own]
        each = np.array([np.bincount(z, minlength=len(SYMBOLS)) for z in atoms], np.float32)
        sizes = [len(SYMBOLS), 0]
    whole = np.zeros((len(rows), each.shape[1]), np.float32)
    whole[kept] = each
    descriptors, counts, charged = np.split(whole, np.cumsum(sizes), axis=1)
    return Features(descriptors, counts, charged, wanted)
