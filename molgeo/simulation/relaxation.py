"""To the next minimum, by ASE's optimisers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from ase import Atoms
from ase.optimize import BFGS, LBFGS

from molgeo.runtime.errors import InputError
from molgeo.runtime.progress import Report, silent
from molgeo.simulation.guard import bonds_of, broken_bonds

MOST_ATOMS_OF_BFGS: Final = 100
"""Atoms up to which the whole Hessian is kept: diagonalising it is cubic."""


@dataclass(frozen=True)
class Relaxed:
    """A structure that was relaxed.

    Attributes:
        atoms: with the calculator and its results.
        n_steps: of the optimiser.
        fmax: largest force on an atom, eV/Å.
        converged: whether ``fmax`` is below what was asked for.
        broken: names of bonds that were there before, and are not any more.
    """

    atoms: Atoms
    n_steps: int
    fmax: float
    converged: bool
    broken: list[str]


def relax(
    atoms: Atoms, fmax: float = 0.01, max_steps: int = 1000, report: Report = silent
) -> Relaxed:
    """Move atoms downhill until no force is larger than a limit; a periodic cell stays as it is.

    Args:
        atoms: with a calculator; they are copied.
        fmax: eV/Å.
        max_steps: after which it is given up.
        report: called at every step.

    Returns:
        The structure, converged or not.

    Raises:
        InputError: a limit out of its range.
        ValueError: the calculator refuses the atoms.
    """
    for name, value in (("fmax", fmax), ("max_steps", max_steps)):
        if not 0 < value < float("inf"):
            raise InputError(f"{name}: expected a number above zero, got {value}")
    own = atoms.copy()
    own.calc = atoms.calc
    before = bonds_of(own)
    optimizer = BFGS if len(own) <= MOST_ATOMS_OF_BFGS else LBFGS
    dynamics = optimizer(own, logfile=None)  # type: ignore[arg-type]  # LBFGS's hint is too narrow
    converged = False
    for done in dynamics.irun(fmax=fmax, steps=max_steps):
        report(dynamics.nsteps, max_steps, f"fmax {largest_force(own):.4f} eV/Å")
        converged = bool(done)
    return Relaxed(own, dynamics.nsteps, largest_force(own), converged, broken_bonds(before, own))


def largest_force(atoms: Atoms) -> float:
    """The largest force on an atom, eV/Å."""
    return float(np.linalg.norm(atoms.get_forces(), axis=1).max(initial=0.0))
