"""What the bonds of a fit's molecules say, for kernels and the 2D baseline: computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from molgeo.chem.descriptors import Descriptors, groups, mol_of, names, substructures
from molgeo.chem.molecule import Molecule, SmilesRow
from molgeo.elements import SYMBOLS

COMMON: Final = 3
"""Training molecules that have a substructure, for it to be a feature."""


class Features(NamedTuple):
    """Descriptors of molecules.

    Attributes:
        descriptors: (rows, d) float32.
        counts: (rows, substructures) float32, logarithms of one plus the counts; (rows, 0) if only
            the composition is known.
        groups: (rows, groups) float32, counts of those that are charged in water; likewise.
    """

    descriptors: NDArray[np.float32]
    counts: NDArray[np.float32]
    groups: NDArray[np.float32]

    def of(self, rows: Any) -> Features:
        """Those of some rows."""
        return Features(*(one[rows] for one in self))

    def named(self, wanted: Sequence[str]) -> NDArray[np.float32]:
        """(rows, wanted) those of some names of `molgeo.chem.descriptors`."""
        place = {name: k for k, name in enumerate(_all_names())}
        return np.hstack(self)[:, [place[name] for name in wanted]]

    @property
    def common(self) -> NDArray[np.bool_]:
        """(substructures,) which of them `COMMON` of the molecules have."""
        return np.asarray((self.counts > 0).sum(0) >= COMMON)


def features_of(rows: Sequence[Molecule | SmilesRow], kept: NDArray[np.int64]) -> Features:
    """Descriptors and counts of molecules; numbers of their atoms if one of them has no SMILES.

    Args:
        rows: molecules.
        kept: (n,) places of those that are used; what is told of others is 0.
    """
    own = [rows[k] for k in kept.tolist()]
    if all(row.smiles and mol_of(row) for row in own):
        each, sizes = Descriptors(_all_names()).of_rows(own), [len(names()), len(substructures())]
    else:
        atoms: list[Any] = [row.z if isinstance(row, Molecule) else [] for row in own]
        each = np.array([np.bincount(z, minlength=len(SYMBOLS)) for z in atoms], np.float32)
        sizes = [len(SYMBOLS), 0]
    found = np.zeros((len(rows), each.shape[1]), np.float32)
    found[kept] = each
    return Features(*np.split(found, np.cumsum(sizes), axis=1))


def _all_names() -> tuple[str, ...]:
    return (*names(), *substructures(), *groups())
