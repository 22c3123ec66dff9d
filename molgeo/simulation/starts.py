"""Which atoms are new to a calculator, so that their coordinates are looked at."""

from __future__ import annotations

import weakref
from typing import Final

import numpy as np
from ase import Atoms

from molgeo.chem.plausible import unfit_to_move

JUMP: Final = 0.3
"""Å, by which no optimiser or integrator moves an atom at once: what is further off is a start."""


class Starts:
    """The atoms that a calculator has seen; a copy has seen none but the last.

    Attributes:
        last: as they were in the last calculation; None before the first.
    """

    last: Atoms | None

    def __init__(self, last: Atoms | None = None) -> None:
        self.last = last
        self._seen = weakref.WeakValueDictionary[int, Atoms]()

    def see(self, given: Atoms) -> None:
        """From now on these atoms of a user have begun."""
        self._seen[id(given)] = given

    def reason(self, atoms: Atoms, given: Atoms) -> str | None:
        """Why atoms are no structure, if they are new here; None if nothing speaks against them.

        Args:
            atoms: to calculate.
            given: those of the user that they are a copy of.
        """
        if self._is_as_before(atoms, moved=self._seen.get(id(given)) is given):
            return None
        z = atoms.numbers.astype(np.int64)
        return unfit_to_move(z, atoms.positions, atoms.cell.array, atoms.pbc.tolist())

    def _is_as_before(self, atoms: Atoms, moved: bool) -> bool:
        """Whether atoms are those of the last calculation, far from their places if ``moved``."""
        last = self.last
        if last is None or not np.array_equal(atoms.numbers, last.numbers):
            return False
        if moved:
            return True
        pairs = (atoms.positions, last.positions), (atoms.cell.array, last.cell.array)
        is_near = all(np.abs(now - then).max() < JUMP for now, then in pairs)
        return is_near and np.array_equal(atoms.pbc, last.pbc)

    def __reduce__(self) -> tuple[type[Starts], tuple[Atoms | None]]:
        return Starts, (self.last,)
