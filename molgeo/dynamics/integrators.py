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
freedom would make ethanol hotter by 3N / (3N − 6), a third.
"""

from __future__ import annotations

from copy import copy
from functools import reduce
from typing import Any, Final, Literal, get_args

import numpy as np
from ase import Atoms, units
from ase.constraints import FixCom
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.nose_hoover_chain import IsotropicMTKNPT, NoseHooverChainNVT
from ase.md.velocitydistribution import (
    Stationary,
    ZeroRotation,
    force_temperature,
    thermalize_momenta,
)
from ase.md.verlet import VelocityVerlet

Ensemble = Literal["nve", "nvt", "npt"]
Thermostat = Literal["langevin", "bussi", "nose-hoover"]

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


def degrees_of_freedom(atoms: Atoms, ensemble: Ensemble, thermostat: Thermostat) -> int:
    """How many quadratic terms of the kinetic energy are thermal.

    3N less 3 for the momentum, which is zero; less 3 more for an open system's angular momentum
    where it is conserved. Two atoms have no rotation about their axis to lose.

    Args:
        atoms: of the system.
        ensemble: nve, nvt or npt.
        thermostat: of nvt. Langevin's noise turns a molecule, so that its rotation is thermal.
    """
    n = len(atoms)
    if atoms.pbc.any() or (ensemble == "nvt" and thermostat == "langevin"):
        return 3 * n - 3
    return 3 * n - 6 if n > 2 else 1


def set_momenta(
    atoms: Atoms, temperature_K: float, n_degrees: int, rng: np.random.Generator
) -> None:
    """Random momenta of exactly this temperature, without drift or an open system's rotation.

    Args:
        atoms: two or more; changed.
        temperature_K: from their kinetic energy and ``n_degrees``.
        n_degrees: as in `degrees_of_freedom`.
        rng: where the momenta come from.
    """
    thermalize_momenta(atoms, temperature_K, rng=rng)
    Stationary(atoms, preserve_temperature=False)
    if not atoms.pbc.any():
        with np.errstate(all="ignore"):  # a linear molecule has no moment about its axis
            ZeroRotation(atoms, preserve_temperature=False)
    force_temperature(atoms, temperature_K * n_degrees / atoms.get_number_of_degrees_of_freedom())


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
) -> MolecularDynamics:
    """The integrator of an ensemble, which counts the degrees of freedom that there are.

    Args:
        atoms: with momenta and a calculator. Langevin fixes their centre of mass.
        ensemble: nve, nvt or npt.
        thermostat: of nvt.
        temperature_K: of nvt and npt.
        timestep_fs: fs.
        thermostat_time_fs: fs within which heat is exchanged: the inverse friction of Langevin.
        pressure_bar: of npt.
        barostat_time_fs: fs within which npt's volume answers.
        rng: of the stochastic thermostats.
    """
    timestep, time = timestep_fs * units.fs, thermostat_time_fs * units.fs
    n_degrees = degrees_of_freedom(atoms, ensemble, thermostat)
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
