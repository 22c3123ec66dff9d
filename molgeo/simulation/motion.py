"""Degrees of freedom, temperature, and the velocities that a run begins with.

Momenta start without drift and without an open system's rotation. What cannot move holds no heat:
a thermostat that counted all 3N degrees of freedom would make ethanol hotter by 3N / (3N − 6), a
third. Constraints take degrees of freedom too, and may hold the atoms in space, so that no momentum
is conserved.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from ase import Atoms, units
from ase.constraints import ExternalForce, Hookean
from ase.md.velocitydistribution import ZeroRotation, force_temperature, thermalize_momenta
from numpy.typing import NDArray

from molgeo.runtime.errors import InputError
from molgeo.simulation.settings import MDSettings

Array = NDArray[np.float64]

FREE: Final = 1e-6
"""Of a motion of unit size, the change by constraints below which it is left alone."""

TURNING: Final = 1e-4
"""Part of the kinetic energy above which a rotation is more than the rounding of a file."""

HOTTEST: Final = 5000.0
"""K, above which velocities of an input are in another unit than ASE's."""


def temperature(atoms: Atoms, n_degrees: int) -> float:
    """Kinetic temperature in K, 2 E_kin / (n k)."""
    return float(2.0 * atoms.get_kinetic_energy() / (n_degrees * units.kB))


def degrees_of_freedom(
    atoms: Atoms, ensemble: str, thermostat: str = "langevin", turning: bool = False
) -> int:
    """How many quadratic terms of the kinetic energy are thermal.

    3N less what constraints take; less 3 for the momentum, which is zero; less 3 more for an open
    system's angular momentum if it is conserved at zero. Two atoms have no rotation about their
    axis to lose. Atoms that constraints hold in space conserve neither.

    Args:
        atoms: of the system.
        ensemble: nve, nvt or npt.
        thermostat: of nvt. Langevin's noise turns a molecule, so that its rotation is thermal.
        turning: it has an angular momentum, which is thermal too.

    Raises:
        InputError: constraints that cannot be counted, or that leave nothing to move.
    """
    try:
        n = int(atoms.get_number_of_degrees_of_freedom())
    except NotImplementedError:
        names = ", ".join(sorted({type(each).__name__ for each in atoms.constraints}))
        raise InputError(f"constraints: {names} cannot be kept in molecular dynamics") from None
    langevin = ensemble == "nvt" and thermostat == "langevin"
    n_axes = len(free_axes(atoms))
    n -= n_axes if n_axes == 3 or not langevin else 0
    if not (langevin or turning) and turns_freely(atoms):
        n -= 3 if len(atoms) > 2 else 2
    if n < 1:
        raise InputError("constraints: they leave no atom free to move")
    return n


def free_axes(atoms: Atoms) -> Array:
    """Directions in which all atoms may move as one, whatever the constraints.

    Returns:
        (axes, 3) orthonormal, none to three of them.
    """
    if not atoms.constraints:
        return np.eye(3)
    if _is_pulled(atoms):
        return np.zeros((0, 3))
    moved = np.repeat(np.eye(3)[:, None, :], len(atoms), axis=1)  # (directions, atoms, 3)
    change = np.stack([_constrained(atoms, v) - v for v in moved]).reshape(3, -1)
    # Left singular vectors of singular value zero: directions that no constraint changes.
    u, size, _ = np.linalg.svd(change, full_matrices=False)
    axes: Array = u.T[size < FREE]
    return axes


def turns_freely(atoms: Atoms) -> bool:
    """Whether the atoms may turn as one about their centre of mass, in an open system."""
    if atoms.pbc.any() or _is_pulled(atoms):
        return False
    if not atoms.constraints:
        return True
    arms = atoms.positions - atoms.get_center_of_mass()
    turns = [np.cross(axis, arms) for axis in np.eye(3)]
    return all(np.abs(_constrained(atoms, v) - v).max() < FREE for v in turns)


def _is_pulled(atoms: Atoms) -> bool:
    """Whether there are springs and pulls from outside."""
    return any(isinstance(each, Hookean | ExternalForce) for each in atoms.constraints)


def _constrained(atoms: Atoms, velocities: Array) -> Array:
    """Velocities of which the constraints have taken their part."""
    moved = atoms.copy()
    moved.set_velocities(velocities)
    found: Array = moved.get_velocities()
    return found


def set_momenta(
    atoms: Atoms, temperature_K: float, n_degrees: int, rng: np.random.Generator
) -> None:
    """Random momenta of exactly this temperature, without drift or an open system's rotation.

    Args:
        atoms: two or more; changed. Their constraints hold.
        temperature_K: from their kinetic energy and ``n_degrees``.
        n_degrees: as in `degrees_of_freedom`.
        rng: where the momenta come from.
    """
    thermalize_momenta(atoms, temperature_K, rng=rng)
    remove_drift(atoms)
    if turns_freely(atoms):
        _stop_rotation(atoms)
    force_temperature(atoms, temperature_K * n_degrees / atoms.get_number_of_degrees_of_freedom())


def remove_drift(atoms: Atoms) -> float:
    """Take out the motion of the centre of mass if nothing holds the atoms.

    Returns:
        The kinetic energy that went with it, eV.
    """
    before = atoms.get_kinetic_energy()
    masses, momenta, axes = atoms.get_masses(), atoms.get_momenta(), free_axes(atoms)
    drift = momenta.sum(axis=0) / masses.sum() @ axes.T @ axes
    atoms.set_momenta(momenta - masses[:, None] * drift)
    return float(before - atoms.get_kinetic_energy())


def is_turning(atoms: Atoms) -> bool:
    """Whether more than rounding of the kinetic energy is a rotation of the whole."""
    if not turns_freely(atoms):
        return False
    still = atoms.copy()
    _stop_rotation(still)
    return bool(still.get_kinetic_energy() < (1 - TURNING) * atoms.get_kinetic_energy())


def _stop_rotation(atoms: Atoms) -> None:
    with np.errstate(all="ignore"):  # a linear molecule has no moment about its axis
        ZeroRotation(atoms, preserve_temperature=False)


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
