"""Conformers of SMILES on their way to the geometries that a model of relaxed molecules knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from molgeo.prediction.given import is_as_given
from molgeo.prediction.rows import key, remember
from molgeo.units import KCAL_MOL

if TYPE_CHECKING:
    from molgeo.chem.building import Built
    from molgeo.chem.conformers.force_field import Conformers
    from molgeo.chem.molecule import Molecule
    from molgeo.simulation.engine import GeometryEngine


class RelaxedRows:
    """Relaxes the conformers of rows, those of equal molecules once.

    Args:
        engine: by which.
    """

    def __init__(self, engine: GeometryEngine) -> None:
        self.engine = engine
        self._known: dict[str, Conformers] = {}

    def __call__(self, window: Sequence[Built]) -> list[Built]:
        """Rows with relaxed conformers; those that cannot be relaxed, or were given, as they are.

        Args:
            window: rows.
        """
        wanted: dict[str, Conformers] = {}
        names: dict[int, str] = {}
        for k, built in enumerate(window):
            if isinstance(built, list) and not is_as_given(built[0].geometry):
                names[k] = key(built) or str(k)
                if names[k] not in self._known:
                    wanted.setdefault(names[k], _joined(built))
        found = dict(zip(wanted, self.engine.relax(list(wanted.values())), strict=True))
        rows = list(window)
        for k, name in names.items():
            rows[k] = _parted(window[k], found[name] if name in found else self._known[name])
        remember(self._known, found)
        return rows


def _joined(built: list[Molecule]) -> Conformers:
    """The conformers of a row in canonical form: equal for all spellings of the molecule."""
    from molgeo.chem.conformers.force_field import Conformers

    z, _ = built[0].canonical()
    pos = np.stack([one.canonical()[1] for one in built])
    nothing, number = np.zeros(len(pos)), np.arange(len(pos))
    return Conformers(z, pos, nothing, number, built[0].charge, built[0].geometry)


def _parted(built: Built, found: Conformers) -> Built:
    """A row with other conformers, whose atoms are in the order of the row's own."""
    assert isinstance(built, list)
    first = built[0]
    if found.geometry == first.geometry:
        return built
    places = np.arange(first.n_atoms) if first.frame is None else first.frame.order
    sign = -1.0 if first.frame is not None and first.frame.mirrored else 1.0
    return [
        replace(
            built[number],
            pos=sign * pos[places],
            geometry=found.geometry,
            energy=energy * KCAL_MOL,
        )
        for pos, energy, number in zip(
            found.pos, found.energy.tolist(), found.number.tolist(), strict=True
        )
    ]
