"""ASE's integrators: which one a run takes, and what its state is.

| ensemble | thermostat | integrator | conserved |
|---|---|---|---|
| nve | – | VelocityVerlet | energy |
| nvt | langevin | Langevin | – |
| nvt | bussi | Bussi (stochastic velocity rescaling) | energy less the heat taken in |
| nvt | nose-hoover | NoseHooverChainNVT | the extended system's energy |
| npt | – | IsotropicMTKNPT (Nosé–Hoover chains, isotropic cell) | the extended system's energy |

Langevin is the default of nvt: it is ergodic for one small, stiff molecule, which the global
thermostats need not be. The others keep the momentum, and an open system's angular momentum, at the
zero they start from (`molgeo.simulation.motion`).
"""

from __future__ import annotations

from copy import copy
from functools import reduce
from typing import Any, Final

import numpy as np
from ase import Atoms, units
from ase.constraints import FixCom, FixConstraint
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.nose_hoover_chain import IsotropicMTKNPT, NoseHooverChainNVT
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray

from molgeo.runtime.errors import InputError
from molgeo.simulation.motion import free_axes
from molgeo.simulation.settings import MDSettings

Array = NDArray[np.float64]

_CHAIN: Final = ("_thermostat._eta", "_thermostat._p_eta")
_BAROSTAT: Final = ("_barostat._xi", "_barostat._p_xi", "_eps", "_p_eps", "_cell0", "_volume0")
_VARIABLES: Final[dict[type[MolecularDynamics], tuple[str, ...]]] = {
    VelocityVerlet: (),
    Langevin: (),
    Bussi: ("transferred_energy",),
    NoseHooverChainNVT: _CHAIN,
    IsotropicMTKNPT: (*_CHAIN, *_BAROSTAT),
}
"""What an integrator carries from step to step beside positions, momenta and cell. Most of it ASE
keeps to itself; a test resumes each of them, and fails if a name has changed."""


def make_integrator(
    atoms: Atoms, settings: MDSettings, rng: np.random.Generator, n_degrees: int
) -> MolecularDynamics:
    """The integrator of an ensemble, which counts the degrees of freedom that there are.

    Args:
        atoms: with momenta and a calculator. Langevin fixes their centre of mass if no constraint
            holds it.
        settings: of the run.
        rng: of the stochastic thermostats.
        n_degrees: as in `molgeo.simulation.motion.degrees_of_freedom`.

    Raises:
        InputError: constraints that the integrator cannot keep.
    """
    timestep, time = settings.timestep * units.fs, settings.thermostat_time * units.fs
    temperature_K = settings.temperature
    kind = settings.thermostat if settings.ensemble == "nvt" else settings.ensemble
    if atoms.constraints and kind in ("npt", "nose-hoover"):
        raise InputError(
            f"constraints: {kind} cannot keep them; expected nve, or nvt by langevin or bussi"
        )
    if kind == "nve":
        return VelocityVerlet(atoms, timestep)
    if kind == "npt":
        pressure, barostat_time = settings.pressure * units.bar, settings.barostat_time * units.fs
        npt = IsotropicMTKNPT(atoms, timestep, temperature_K, pressure, time, barostat_time)
        for part in (npt, npt._thermostat, npt._barostat):
            part._num_atoms_global = n_degrees / 3  # they take three degrees of freedom per atom
        return npt
    if kind == "langevin":
        if len(free_axes(atoms)) == 3:
            atoms.set_constraint([*atoms.constraints, FixCom()])
        return Langevin(
            atoms, timestep, temperature_K=temperature_K, friction=1.0 / time, fixcm=False, rng=rng
        )
    if kind == "bussi":
        bussi = Bussi(atoms, timestep, temperature_K, time, rng=rng)
        bussi.ndof = n_degrees
        bussi.target_kinetic_energy = 0.5 * n_degrees * units.kB * temperature_K
        return bussi
    chain = NoseHooverChainNVT(atoms, timestep, temperature_K, time)
    chain._thermostat._num_atoms_global = n_degrees / 3  # type: ignore[assignment]
    return chain


class FixCentres(FixConstraint):
    """Holds the centre of mass of each of several structures, as ASE's `FixCom` that of one.

    Args:
        masses: (atoms,) of all.
        ends: (structures + 1,) the atoms of structure k are ``ends[k]`` to ``ends[k + 1]``.
        centred: (structures,) which are held.
    """

    def __init__(self, masses: Array, ends: NDArray[np.int64], centred: NDArray[np.bool_]) -> None:
        self.masses, self.first, self.sizes = masses[:, None], ends[:-1], np.diff(ends)
        self.share = centred[:, None] / np.add.reduceat(self.masses, self.first)

    def adjust_positions(self, atoms: Atoms, new: Array) -> None:
        """Move each structure back to where its centre was."""
        new -= self._mean(self.masses * (new - atoms.positions))

    def adjust_momenta(self, atoms: Atoms, momenta: Array) -> None:
        """Take out the motion of each structure as a whole."""
        momenta -= self.masses * self._mean(momenta)

    def _mean(self, values: Array) -> Array:
        """The sum over each structure by its mass, for each atom."""
        return np.repeat(np.add.reduceat(values, self.first) * self.share, self.sizes, axis=0)


def conserved_energy(dynamics: MolecularDynamics) -> float | None:
    """The energy that should not change, eV; None if there is none."""
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
