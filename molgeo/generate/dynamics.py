"""Langevin dynamics of a few atoms with MMFF94 or a learned force field."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from molgeo.chem.molecule import Molecule
from molgeo.elements import MASSES
from molgeo.generate.bonded import Array, Forces
from molgeo.units import BOLTZMANN

ACCELERATION = 0.00964853321233
"""eV/Å/u in Å/fs²: the Faraday constant in units of 1e7 C/mol."""


def langevin(
    z: NDArray[np.int64],
    pos: Array,
    forces: Forces,
    temperature_K: float,
    rng: np.random.Generator,
    steps: int,
    timestep_fs: float = 0.5,
    relaxation_fs: float = 50.0,
) -> Iterator[Array]:
    """Positions every ``steps`` steps of Langevin dynamics, without end (BAOAB splitting).

        v ← v + ½ a dt
        x ← x + ½ v dt
        v ← c v + √((1 − c²) kT/m) ξ,   c = exp(−dt/relaxation)
        x ← x + ½ v dt
        v ← v + ½ a dt

    Its distribution of positions is exact in a harmonic potential.

    Args:
        z: (atoms,) atomic numbers.
        pos: (atoms, 3) Å, of the start. Velocities are drawn at twice the temperature, because the
            potential energy of a minimum takes up half of it.
        forces: of the potential.
        temperature_K: of the bath.
        rng: of velocities and noise.
        steps: between samples, and before the first.
        timestep_fs: dt.
        relaxation_fs: time in which velocities are forgotten.

    Yields:
        (atoms, 3) Å, about the centre of mass.

    Raises:
        FloatingPointError: an atom flies away: the potential has broken down.

    Source:
        Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34 (2013).
    """
    mass = np.array(MASSES)[z][:, None]
    spread = np.sqrt(BOLTZMANN * temperature_K / mass * ACCELERATION)  # of velocities, Å/fs
    damping = np.exp(-timestep_fs / relaxation_fs)
    noise = np.sqrt(1.0 - damping**2) * spread
    half = 0.5 * timestep_fs
    x = _centred(pos, mass)
    limit = 10.0 + 3.0 * np.abs(x).max()
    v = np.sqrt(2.0) * spread * rng.standard_normal(x.shape)
    a = forces(x) / mass * ACCELERATION
    while True:
        for _ in range(steps):
            v = v + half * a
            x = x + half * v
            v = damping * v + noise * rng.standard_normal(x.shape)
            x = x + half * v
            a = forces(x) / mass * ACCELERATION
            v = v + half * a
        x = _centred(x, mass)
        if not np.abs(x).max() < limit:
            raise FloatingPointError(f"dynamics at {temperature_K:g} K: an atom was thrown out")
        yield x.copy()


def _centred(pos: Array, mass: Array) -> Array:
    centred: Array = pos - (mass * pos).sum(0) / mass.sum()
    return centred


def learned_forces(model: str, molecule: Molecule) -> Forces:
    """Forces of a model that was trained on them.

    Args:
        model: shipped name or path.
        molecule: its atoms.

    Raises:
        CheckpointError: there is no such model.
        ValueError: it was not trained on forces, or does not know the atoms.
    """
    import torch

    from molgeo.predictor.checkpoint import load

    predictor = load(model)
    z, charge = torch.from_numpy(molecule.z), torch.tensor([molecule.charge])
    reason = predictor.domain.check(z, charge=molecule.charge) if predictor.domain else None
    if reason:
        raise ValueError(reason)

    def forces(pos: Array) -> Array:
        found = predictor.energy_and_forces(z, torch.from_numpy(pos).float(), charge=charge)[1]
        return found.double().numpy()

    return forces
