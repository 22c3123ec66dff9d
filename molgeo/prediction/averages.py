"""What a model says of molecules with several conformers: one average each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from molgeo.prediction.conformer_average import ConformerAverage, conformer_average, extent

if TYPE_CHECKING:
    from molgeo.chem.molecule import Molecule
    from molgeo.prediction.batches import BatchPredictor

Averaged = tuple[ConformerAverage, list[float]]
"""The average, and the energies of the conformers in eV, by the model; none if it predicts none."""


def averages(
    model: BatchPredictor,
    molecules: Mapping[int, list[Molecule]],
    keys: Sequence[str],
    energy: str | None,
    stretched: bool = False,
) -> dict[int, Averaged | str]:
    """Row → what the model says, or why it says nothing.

    Args:
        model: that has nothing against the molecules.
        molecules: row → its conformers. Of equal ones the model sees one.
        keys: what is averaged.
        energy: key of the energy by which conformers are weighted, unless an engine told theirs;
            None for none.
        stretched: extended conformers weigh more, as they do if an engine relaxed them.
    """
    each = {_atoms(one): one for built in molecules.values() for one in built}
    values = dict(zip(each, model.values(list(each.values())), strict=True))
    found: dict[int, Averaged | str] = {}
    for k, conformers in molecules.items():
        own = [values[_atoms(one)] for one in conformers]
        good = [one for one in own if not isinstance(one, str)]
        if len(good) < len(own):
            found[k] = next(one for one in own if isinstance(one, str))
            continue
        table = np.array([[one[key] for key in keys] for one in good])
        energies = [one[energy] for one in good] if energy else []
        told = [one.signals for one in good if one.signals is not None]
        by_engine = [one.energy for one in conformers if one.energy is not None]
        weighing = np.array(by_engine or energies or [0.0] * len(good))
        logs = [one.log_weight for one in conformers if one.log_weight is not None]
        log_weights = np.array(logs) if len(logs) == len(good) else None
        extents = None
        if log_weights is None and (by_engine or stretched):
            extents = np.array([extent(one.z, one.pos) for one in conformers])
        signals = np.array(told) if told else None
        average = conformer_average(table, weighing, signals, extents, log_weights)
        found[k] = average, energies
    return found


def once(conformers: list[Molecule]) -> list[Molecule]:
    """Conformers of which those that are alike are the first one."""
    from molgeo.chem.conformers.distinct import first_alike

    pos = np.stack([one.pos for one in conformers])
    return [conformers[c] for c in first_alike(conformers[0].z, pos)]


def _atoms(one: Molecule) -> tuple[bytes, bytes, int]:
    """What a model sees of a molecule: equal for equal conformers."""
    return one.z.tobytes(), one.pos.tobytes(), one.charge
