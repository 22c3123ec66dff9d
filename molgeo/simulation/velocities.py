"""The velocities that a run begins with: those of its input, or random ones."""

from __future__ import annotations

from typing import Final

import numpy as np
from ase import Atoms

from molgeo.chem.molecule import InputError
from molgeo.simulation.integrators import (
    degrees_of_freedom,
    is_turning,
    remove_drift,
    set_momenta,
    temperature,
)
from molgeo.simulation.settings import MDSettings

HOTTEST: Final = 5000.0
"""K, above which velocities of an input are in another unit than ASE's."""


def has_velocities(atoms: Atoms) -> bool:
    """Whether atoms move; momenta of zero are what many programs write for none."""
    return atoms.has("momenta") and bool(atoms.get_momenta().any())


def begin(atoms: Atoms, settings: MDSettings, rng: np.random.Generator) -> tuple[int, str]:
    """Give atoms the velocities that a run begins with.

    Those of the input are kept, but for a drift of the whole, which no force feels. Random ones
    have neither drift nor rotation.

    Args:
        atoms: changed; constraints hold.
        settings: of the run.
        rng: of random velocities.

    Returns:
        Degrees of freedom as in `degrees_of_freedom`, and what is to be said of the velocities.

    Raises:
        InputError: velocities that are no thermal motion.
    """
    kind = settings.ensemble, settings.thermostat
    if settings.new_velocities or not has_velocities(atoms):
        n_degrees = degrees_of_freedom(atoms, *kind)
        set_momenta(atoms, settings.temperature, n_degrees, rng)
        return n_degrees, ""
    if not np.isfinite(atoms.get_momenta()).all():
        raise InputError(
            "velocities: the input's are not finite numbers; --new-velocities draws others"
        )
    atoms.set_momenta(atoms.get_momenta())  # what constraints leave of them
    drift = remove_drift(atoms)
    n_degrees = degrees_of_freedom(atoms, *kind, turning=is_turning(atoms))
    now = temperature(atoms, n_degrees)
    if not now < HOTTEST:
        raise InputError(
            f"velocities: the input's are of {now:.3g} K: expected momenta in ASE's units, "
            "√(eV·u); --new-velocities draws others"
        )
    said = f"velocities are those of the input ({now:.0f} K); --new-velocities draws others"
    thermal = drift > 1e-3 * (drift + atoms.get_kinetic_energy())
    return n_degrees, said + ("; its drift was taken out" if thermal else "")
