"""The latest results of a calculator that several structures share in turn."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Final

from ase import Atoms

from molgeo.chem.electrons import electronic_state

ARRAYS: Final = ("positions", "numbers", "initial_charges", "initial_magmoms")
"""Of atoms, all that a calculation may depend on."""

MOST: Final = 64
"""Structures that are remembered: the images of a band."""

MOST_ATOMS: Final = 20_000
"""Of all of them: some 2 MB."""


class Memory:
    """Results of the structures that came last.

    An optimiser asks an elastic band for its forces three times a step, and the band asks all of
    its images each time. A calculator that remembered one of them would compute the others anew.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[int, dict[str, Any]]] = {}

    def find(self, key: Hashable, names: Iterable[str]) -> dict[str, Any] | None:
        """Results of a structure, if all with these names are known."""
        _, results = self._known.get(key, (0, {}))
        return dict(results) if results.keys() >= {*names} else None

    def keep(self, key: Hashable, n_atoms: int, results: dict[str, Any]) -> None:
        """Remember results, and forget the oldest beyond the bounds."""
        self._known.pop(key, None)
        self._known[key] = n_atoms, dict(results)
        n = sum(size for size, _ in self._known.values())
        while len(self._known) > 1 and (len(self._known) > MOST or n > MOST_ATOMS):
            n -= self._known.pop(next(iter(self._known)))[0]

    def __reduce__(self) -> tuple[type[Memory], tuple[()]]:
        return Memory, ()  # a copy begins with none


def inputs(atoms: Atoms) -> dict[str, Hashable]:
    """All that a calculation may depend on, each as what can be compared in no time."""
    arrays = {name: atoms.arrays.get(name) for name in ARRAYS}
    arrays |= {"cell": atoms.cell.array, "pbc": atoms.pbc}
    values = {k: x if x is None else (x.dtype, x.shape, x.tobytes()) for k, x in arrays.items()}
    return values | {"charge": electronic_state(atoms)}
