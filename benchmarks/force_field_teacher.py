"""The level of theory that a force field was trained on, as the other side of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import BFGS
from force_field_molecules import Library

from molgeo.generate.aimnet2_method import AIMNet2
from molgeo.generate.label import Method
from molgeo.predictor import Predictor
from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.relaxation import Relaxed, relax

METHODS = {"xtb": Method("xtb", {"accuracy": 0.01}), "aimnet2": Method("aimnet2")}
"""GFN2-xTB is converged a hundred times better than by default, for the differences of forces."""
ROUGH = {"aimnet2": Method("aimnet2", {"n_networks": 1})}
"""A cheaper one, of almost the same minima, that goes first when a structure is relaxed."""
NEAR = 0.1
"""eV/Å, to which the rough one relaxes."""
STEPS = 200
"""Of structures that move together."""
PADDED = 400
"""Atoms that are computed at once."""


def teacher_of(model: Predictor) -> str:
    """The method that made a model's labels, by its level of theory."""
    level = model.header.level_of_theory
    return next((name for name in METHODS if name in level.lower()), "xtb")


class Teacher:
    """Energies, forces and minima of a method; what was computed is kept in files.

    Args:
        name: of one of `METHODS`.
        folder: of the files; a structure that is there is not computed again.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder / name
        self._calculators: dict[str, Calculator] = {}

    def calculator(self, rough: bool = False) -> Calculator | None:
        """The method, or the rough one if there is one."""
        method = ROUGH.get(self.name) if rough else METHODS[self.name]
        if method is None:
            return None
        key = "rough" if rough else "full"
        if key not in self._calculators:
            self._calculators[key] = method.calculator()
        return self._calculators[key]

    def relaxed(self, atoms: Atoms, fmax: float) -> Relaxed:
        """The next minimum; the rough method goes first."""
        own, steps = atoms.copy(), 0
        first = self.calculator(rough=True)
        if first is not None:
            own.calc = first
            found = relax(own, NEAR)
            own, steps = found.atoms.copy(), found.n_steps
        own.calc = self.calculator()
        found = relax(own, fmax)
        return Relaxed(found.atoms, steps + found.n_steps, found.fmax, found.converged, [])

    def near(self, frames: Sequence[Atoms], held: Sequence[Any] = ()) -> list[Atoms]:
        """Copies that move together to near a minimum, to `NEAR` by the rough method.

        Args:
            frames: of one molecule.
            held: a constraint of ASE for each, if any.
        """
        own = [frame.copy() for frame in frames]
        for atoms, constraint in zip(own, held, strict=False):
            atoms.set_constraint(constraint)
        movers = [BFGS(atoms, logfile=None) for atoms in own]
        calculator = self.calculator(rough=True) or self.calculator()
        moving = list(range(len(own)))
        for _ in range(STEPS):
            some = [own[k] for k in moving]
            for atoms, found in zip(some, _results(some, calculator), strict=True):
                atoms.calc = SinglePointCalculator(atoms, **found)
            moving = [k for k in moving if np.linalg.norm(own[k].get_forces(), axis=1).max() > NEAR]
            for k in moving:
                movers[k].step()
            if not moving:
                break
        for atoms in own:
            atoms.set_constraint()
        return own

    def labelled(self, frames: Sequence[Atoms]) -> list[Atoms]:
        """Copies with energy and forces, in their order."""
        made = [frame.copy() for frame in frames]
        for atoms, found in zip(made, _results(frames, self.calculator()), strict=True):
            atoms.calc = SinglePointCalculator(atoms, **found)
        return made

    def kept(self, part: str, name: str, make: Callable[[], list[Atoms]]) -> list[Atoms]:
        """Labelled frames of one molecule, which are made once.

        Args:
            part: of the benchmark.
            name: of the molecule, or its number.
            make: makes them.
        """
        path = self.folder / part / f"{name}.extxyz"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            begun = path.with_suffix(".part")
            ase.io.write(begun, make(), format="extxyz")
            begun.rename(path)
        return ase.io.read(path, ":")


@dataclass(frozen=True)
class Sides:
    """What is judged, and by what.

    Attributes:
        ours: the force field in float64, which refuses nothing for being unknown.
        teacher: its level of theory.
        library: molecules to draw from, if there is a list.
        seed: of what is drawn beside.
    """

    ours: MolgeoCalculator
    teacher: Teacher
    library: Library | None
    seed: int

    def needed(self) -> Library:
        """The library, of a part that cannot do without."""
        if self.library is None:
            raise SystemExit("--smiles: expected a list of molecules to draw from")
        return self.library


def energies(frames: Sequence[Atoms], calculator: Calculator | None = None) -> np.ndarray:
    """Energies in eV, by a calculator or as they are kept; NaN for a structure that is refused."""
    found = []
    for frame in frames:
        own = frame
        if calculator is not None:
            own = frame.copy()
            own.set_constraint()
            own.calc = calculator
        try:
            found.append(own.get_potential_energy())
        except ValueError:
            found.append(np.nan)
    return np.array(found)


def _results(frames: Sequence[Atoms], calculator: Calculator) -> list[dict[str, Any]]:
    """Energy and forces of each, many at once if the calculator can."""
    if not isinstance(calculator, AIMNet2):
        found = []
        for frame in frames:
            own = frame.copy()
            own.set_constraint()
            own.calc = calculator
            found.append({"energy": own.get_potential_energy(), "forces": own.get_forces()})
        return found
    results: list[dict[str, Any]] = [{}] * len(frames)
    order = sorted(range(len(frames)), key=lambda k: len(frames[k]))
    while order:
        size = max(1, PADDED // len(frames[order[-1]]))
        now, order = order[-size:], order[:-size]
        for k, found in zip(now, calculator.labels([frames[k] for k in now]), strict=True):
            results[k] = {name: found[name] for name in ("energy", "forces")}
    return results
