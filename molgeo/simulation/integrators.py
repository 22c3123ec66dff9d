"""ASE's integrators: which one, with how many degrees of freedom, and what its state is.

| ensemble | thermostat | integrator | conserved |
|---|---|---|---|
| nve | – | VelocityVerlet | energy |
| nvt | langevin | Langevin | – |
| nvt | bussi | Bussi (stochastic velocity rescaling) | energy less the heat taken in |
| nvt | nose-hoover | NoseHooverChainNVT | the extended system's energy |
| npt | – | IsotropicMTKNPT (Nosé–Hoover chains, isotropic cell) | the extended system's energy |

Langevin is the default of nvt: it is ergodic for one small, stiff molecule, which the global
thermostats need not be. The others keep the momentum, and an open system's angular momentum, at the
zero they start from. What cannot move holds no heat: a thermostat that counted all 3N degrees of
freedom would make ethanol hotter by 3N / (3N − 6), a third. Constraints take degrees of freedom
too, and may hold the atoms in space, so that no momentum is conserved.
"""

from __future__ import annotations

from copy import copy
from functools import reduce
from typing import Any, Final, Literal, get_args

import numpy as np
from ase import Atoms, units
from ase.constraints import ExternalForce, FixCom, Hookean
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.nose_hoover_chain import IsotropicMTKNPT, NoseHooverChainNVT
from ase.md.velocitydistribution import ZeroRotation, force_temperature, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray

from molgeo.chem.molecule import InputError

Ensemble = Literal["nve", "nvt", "npt"]
Thermostat = Literal["langevin", "bussi", "nose-hoover"]

Array = NDArray[np.float64]

FREE: Final = 1e-6
"""Of a motion of unit size, the change by constraints below which it is left alone."""

TURNING: Final = 1e-4
"""Part of the kinetic energy above which a rotation is more than the rounding of a file."""

ENSEMBLES: Final = get_args(Ensemble)
THERMOSTATS: Final = get_args(Thermostat)

_CHAIN: Final = ("_thermostat._eta", "_thermostat._p_eta")
_VARIABLES: Final[dict[type[MolecularDynamics], tuple[str, ...]]] = {
    VelocityVerlet: (),
    Langevin: (),
    Bussi: ("transferred_energy",),
    NoseHooverChainNVT: _CHAIN,
    IsotropicMTKNPT: (
        *_CHAIN,
        "_barostat._xi",
        "_barostat._p_xi",
        "_eps",
        "_p_eps",
        "_cell0",
        "_volume0",
    ),
}
"""What an integrator carries from step to step beside positions, momenta and cell. Most of it ASE
keeps to itself; a test resumes each of them, and fails where a name has changed."""


def degrees_of_freedom(
    atoms: Atoms, ensemble: Ensemble, thermostat: Thermostat, turning: bool = False
) -> int:
    """How many quadratic terms of the kinetic energy are thermal.

    3N less what constraints take; less 3 for the momentum, which is zero; less 3 more for an open
    system's angular momentum where it is conserved at zero. Two atoms have no rotation about their
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
    if any(isinstance(each, Hookean | ExternalForce) for each in atoms.constraints):
        return np.zeros((0, 3))  # springs and pulls from outside
    moved = np.repeat(np.eye(3)[:, None, :], len(atoms), axis=1)  # (directions, atoms, 3)
    change = np.stack([_constrained(atoms, v) - v for v in moved]).reshape(3, -1)
    u, size, _ = np.linalg.svd(change, full_matrices=False)
    axes: Array = u.T[size < FREE]
    return axes


def turns_freely(atoms: Atoms) -> bool:
    """Whether the atoms may turn as one about their centre of mass, in an open system."""
    if atoms.pbc.any():
        return False
    if not atoms.constraints:
        return True
    if any(isinstance(each, Hookean | ExternalForce) for each in atoms.constraints):
        return False
    arms = atoms.positions - atoms.get_center_of_mass()
    turns = [np.cross(axis, arms) for axis in np.eye(3)]
    return all(np.abs(_constrained(atoms, v) - v).max() < FREE for v in turns)


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
        with np.errstate(all="ignore"):  # a linear molecule has no moment about its axis
            ZeroRotation(atoms, preserve_temperature=False)
    force_temperature(atoms, temperature_K * n_degrees / atoms.get_number_of_degrees_of_freedom())


def remove_drift(atoms: Atoms) -> float:
    """Take out the motion of the centre of mass where nothing holds the atoms.

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
    with np.errstate(all="ignore"):
        ZeroRotation(still, preserve_temperature=False)
    return bool(still.get_kinetic_energy() < (1 - TURNING) * atoms.get_kinetic_energy())


def _constrained(atoms: Atoms, velocities: Array) -> Array:
    """Velocities of which the constraints have taken their part."""
    moved = atoms.copy()
    moved.set_velocities(velocities)
    found: Array = moved.get_velocities()
    return found


def temperature(atoms: Atoms, n_degrees: int) -> float:
    """Kinetic temperature in K."""
    return float(2.0 * atoms.get_kinetic_energy() / (n_degrees * units.kB))


def make_integrator(
    atoms: Atoms,
    ensemble: Ensemble,
    thermostat: Thermostat,
    temperature_K: float,
    timestep_fs: float,
    thermostat_time_fs: float,
    pressure_bar: float,
    barostat_time_fs: float,
    rng: np.random.Generator,
    n_degrees: int | None = None,
) -> MolecularDynamics:
    """The integrator of an ensemble, which counts the degrees of freedom that there are.

    Args:
        atoms: with momenta and a calculator. Langevin fixes their centre of mass where no
            constraint holds it.
        ensemble: nve, nvt or npt.
        thermostat: of nvt.
        temperature_K: of nvt and npt.
        timestep_fs: fs.
        thermostat_time_fs: fs within which heat is exchanged: the inverse friction of Langevin.
        pressure_bar: of npt.
        barostat_time_fs: fs within which npt's volume answers.
        rng: of the stochastic thermostats.
        n_degrees: as in `degrees_of_freedom`, which counts them if None.

    Raises:
        InputError: constraints that the integrator cannot keep.
    """
    timestep, time = timestep_fs * units.fs, thermostat_time_fs * units.fs
    if n_degrees is None:
        n_degrees = degrees_of_freedom(atoms, ensemble, thermostat)
    if atoms.constraints and (
        ensemble == "npt" or (ensemble, thermostat) == ("nvt", "nose-hoover")
    ):
        raise InputError(
            f"constraints: {'npt' if ensemble == 'npt' else 'nose-hoover'} cannot keep them; "
            "expected nve, or nvt by langevin or bussi"
        )
    if ensemble == "nve":
        return VelocityVerlet(atoms, timestep)
    if ensemble == "npt":
        pressure, barostat_time = pressure_bar * units.bar, barostat_time_fs * units.fs
        npt = IsotropicMTKNPT(atoms, timestep, temperature_K, pressure, time, barostat_time)
        for part in (npt, npt._thermostat, npt._barostat):
            # They use three of it.
            part._num_atoms_global = n_degrees / 3
        return npt
    if thermostat == "langevin":
        if len(free_axes(atoms)) == 3:
            atoms.set_constraint([*atoms.constraints, FixCom()])
        return Langevin(
            atoms, timestep, temperature_K=temperature_K, friction=1.0 / time, fixcm=False, rng=rng
        )
    if thermostat == "bussi":
        bussi = Bussi(atoms, timestep, temperature_K, time, rng=rng)
        bussi.ndof = n_degrees
        bussi.target_kinetic_energy = 0.5 * n_degrees * units.kB * temperature_K
        return bussi
    chain = NoseHooverChainNVT(atoms, timestep, temperature_K, time)
    chain._thermostat._num_atoms_global = n_degrees / 3  # type: ignore[assignment]
    return chain


def conserved_energy(dynamics: MolecularDynamics) -> float | None:
    """The energy that should not change, eV; None where there is none."""
    if isinstance(dynamics, Langevin):
        return None
    if isinstance(dynamics, NoseHooverChainNVT | IsotropicMTKNPT):
        return dynamics.get_conserved_energy()
    total = float(dynamics.atoms.get_total_energy())
    return total - dynamics.transferred_energy if isinstance(dynamics, Bussi) else total


def integrator_state(dynamics: MolecularDynamics) -> dict[str, Any]:
    """What it needs to go on, beside the atoms and the random numbers."""
    return {name: copy(_get(dynamics, name)) for name in _VARIABLES[type(dynamics)]}


def restore_integrator(dynamics: MolecularDynamics, state: dict[str, Any]) -> None:
    """Undo `integrator_state` in an integrator that was made anew."""
    for name in _VARIABLES[type(dynamics)]:
        owner, _, attribute = name.rpartition(".")
        setattr(_get(dynamics, owner), attribute, state[name])


def _get(dynamics: MolecularDynamics, name: str) -> Any:
    return reduce(getattr, filter(None, name.split(".")), dynamics)
