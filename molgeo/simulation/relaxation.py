"""To the next minimum: one structure by ASE's optimisers, many at once by `minimise`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import BFGS, LBFGS
from numpy.typing import NDArray

from molgeo.chem.electrons import charge_of
from molgeo.runtime.device import BatchSize, most_of_batch
from molgeo.runtime.errors import InputError
from molgeo.runtime.progress import Report, silent
from molgeo.simulation.calculator import MolgeoCalculator, UnsupportedAtomsError
from molgeo.simulation.familiarity import error_reason
from molgeo.simulation.guard import bonds_of, broken_bonds
from molgeo.simulation.minimisation import Minimum, Start, minimise
from molgeo.simulation.together import Structure

MOST_ATOMS_OF_BFGS: Final = 100
"""Atoms up to which the whole Hessian is kept: diagonalising it is cubic."""

MOST_PUT_OFF: Final = 100
"""Structures that wait to be relaxed by themselves while a batch moves."""


@dataclass(frozen=True)
class Relaxed:
    """A structure that was relaxed.

    Attributes:
        atoms: with the calculator and its results.
        n_steps: of the optimiser.
        fmax: largest force on an atom, eV/Å.
        converged: whether ``fmax`` is below what was asked for.
        broken: names of bonds that were there before, and are not any more.
        refused: of `relax_all`, why it was not relaxed; then the atoms are as they were given.
        doubt: that the model expects its forces there to be wrong by more than its limit, or None.
    """

    atoms: Atoms
    n_steps: int
    fmax: float
    converged: bool
    broken: list[str]
    refused: str | None = None
    doubt: str | None = None

    @property
    def problem(self) -> str | None:
        """What it leaves to be wished for."""
        if self.refused:
            return self.refused
        if self.broken:
            return f"bonds broke while relaxing: {', '.join(self.broken)}"
        if not self.converged:
            return f"not relaxed: {self.fmax:.4f} eV/Å are left after {self.n_steps} steps"
        return self.doubt


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
    _check_limits(fmax, max_steps)
    own = atoms.copy()
    own.calc = atoms.calc
    before = bonds_of(own)
    optimizer = BFGS if len(own) <= MOST_ATOMS_OF_BFGS else LBFGS
    dynamics = optimizer(own, logfile=None)  # type: ignore[arg-type]  # LBFGS's hint is too narrow
    converged = False
    for done in dynamics.irun(fmax=fmax, steps=max_steps):
        report(dynamics.nsteps, max_steps, f"fmax {largest_force(own):.4f} eV/Å")
        converged = bool(done)
    ended = dynamics.nsteps, largest_force(own), converged, broken_bonds(before, own)
    return Relaxed(own, *ended, doubt=_doubt(own, own.calc))


def relax_all(
    structures: Iterable[Atoms],
    calculator: MolgeoCalculator,
    fmax: float = 0.01,
    max_steps: int = 1000,
    batch_size: BatchSize = "auto",
    report: Report = silent,
) -> list[Relaxed]:
    """Relax many structures, many at a time: the minima of `relax`, in less time.

    Args:
        structures: whose own calculators do not count; they are copied.
        calculator: which computes. One of float64 is spared most of its work: float32 goes first.
        fmax: eV/Å.
        max_steps: after which one is given up.
        batch_size: most structures of a batch; "auto" bounds the work of a batch instead.
        report: called with the structures that are done.

    Returns:
        What became of each, in the order of the structures. One that is bad fails alone, and says
        why in `Relaxed.refused`.

    Raises:
        InputError: a limit out of its range.
    """
    options = fmax, max_steps, batch_size, report
    done = dict(relax_each(structures, calculator, *options))
    return [done[key] for key in sorted(done)]


def relax_each(
    structures: Iterable[Atoms],
    calculator: MolgeoCalculator,
    fmax: float = 0.01,
    max_steps: int = 1000,
    batch_size: BatchSize = "auto",
    report: Report = silent,
) -> Iterator[tuple[int, Relaxed]]:
    """`relax_all`, which takes structures as there is room; a single one goes through `relax`.

    Yields:
        The number of a structure and what became of it, when it is at its end.
    """
    _check_limits(fmax, max_steps)
    most: BatchSize = most_of_batch(batch_size) or "auto"
    given = iter(structures)
    first = list(islice(given, 2))
    many = _Many(calculator, fmax, max_steps, most, report)
    alone = len(first) < 2 or most == 1
    for n_done, (key, relaxed) in enumerate(many.relaxed(chain(first, given), alone), 1):
        if not alone:
            report(n_done, 0)
        yield key, relaxed


def in_order(found: Iterable[tuple[int, Relaxed]]) -> Iterator[Relaxed]:
    """Each as soon as all before it are there; all that are there if the work is interrupted."""
    early: dict[int, Relaxed] = {}
    n = 0
    try:
        for key, relaxed in found:
            early[key] = relaxed
            while n in early:
                yield early.pop(n)
                n += 1
    except KeyboardInterrupt:
        yield from (early[key] for key in sorted(early))
        raise


class _Many:
    """Structures on their way through a batch, or past it."""

    def __init__(
        self,
        calculator: MolgeoCalculator,
        fmax: float,
        max_steps: int,
        batch_size: BatchSize,
        report: Report,
    ) -> None:
        self.calculator, self.report = calculator, report
        self.fmax, self.max_steps, self.batch_size = fmax, max_steps, batch_size
        self.atoms: dict[int, Atoms] = {}
        self.put_off: list[tuple[int, Atoms]] = []
        self.are_left = True

    def relaxed(self, given: Iterable[Atoms], alone: bool) -> Iterator[tuple[int, Relaxed]]:
        """What becomes of each, with its number, as soon as it is known."""
        numbered = enumerate(map(self._copy, given))
        if alone:
            yield from ((key, self._by_itself(atoms)) for key, atoms in numbered)
            return
        calculator, replay = self.calculator, self.calculator.parameters["replay"]
        options = self.fmax, self.max_steps, self.batch_size, calculator.neighbours.skin, replay
        while self.are_left:
            for minimum in minimise(self._starts(numbered), calculator.models, *options):
                key = minimum.start.key
                yield key, self._finished(self.atoms.pop(key), minimum)
                yield from self._caught_up()
            yield from self._caught_up()

    def _copy(self, atoms: Atoms) -> Atoms:
        own = atoms.copy()
        own.calc = self.calculator
        return own

    def _starts(self, numbered: Iterator[tuple[int, Atoms]]) -> Iterator[Start]:
        """Those that can go together; the others are put off until one of these is at its end.

        There are no more starts for now if nothing moves for which the others could wait.
        """
        for key, atoms in numbered:
            if self._goes_along(atoms):
                self.atoms[key] = atoms
                yield Start(key, structure_of(atoms)._replace(free=_free(atoms)))
                continue
            self.put_off.append((key, atoms))
            if not self.atoms or len(self.put_off) >= MOST_PUT_OFF:
                return
        self.are_left = False

    def _goes_along(self, atoms: Atoms) -> bool:
        """Whether a structure can be one of a batch."""
        try:
            self.calculator.check(atoms)
            if len(atoms) > MOST_ATOMS_OF_BFGS or odd_reason(atoms) is not None:
                return False
            self.calculator.warn_of(atoms)
        except UnsupportedAtomsError:
            return False  # by itself it is told why
        return True

    def _caught_up(self) -> Iterator[tuple[int, Relaxed]]:
        """Relax what was put off, one after the other."""
        while self.put_off:
            key, atoms = self.put_off.pop(0)
            yield key, self._by_itself(atoms)

    def _by_itself(self, atoms: Atoms) -> Relaxed:
        try:
            self.calculator.check(atoms)
            relaxed = relax(atoms, self.fmax, self.max_steps, self.report)
            self._settle(relaxed.atoms)
        except (UnsupportedAtomsError, CalculationFailed) as error:
            return _refused(atoms, error)
        except np.linalg.LinAlgError as error:  # of ASE, if the forces stay the same along a step
            return _refused(atoms, RuntimeError(f"the optimiser found no step: {error}"))
        return relaxed

    def _finished(self, atoms: Atoms, minimum: Minimum) -> Relaxed:
        """Atoms at their minimum, with results that are theirs alone."""
        if minimum.failed:
            return self._by_itself(atoms)
        before = bonds_of(atoms)
        atoms.positions = minimum.pos
        # What is periodic has a stress, and no dipole; models that are no ensemble are refused.
        anew = atoms.pbc.any() or len(self.calculator.models) > 1
        try:
            self._settle(atoms, None if anew else minimum.results)
        except (UnsupportedAtomsError, CalculationFailed) as error:
            return _refused(atoms, error)
        self.calculator.warn_of(atoms, atoms.calc.results)
        ended = minimum.n_steps, minimum.fmax, minimum.converged, broken_bonds(before, atoms)
        return Relaxed(atoms, *ended, doubt=_doubt(atoms, self.calculator))

    def _settle(self, atoms: Atoms, results: dict[str, Any] | None = None) -> None:
        """Give atoms results of their own; without given ones they are computed."""
        if results is None:
            atoms.get_forces()
            results = self.calculator.results
        atoms.calc = SinglePointCalculator(atoms)
        atoms.calc.results.update(results)


def odd_reason(atoms: Atoms) -> str | None:
    """Which constraints of some atoms cannot be kept among many structures, or None."""
    others = {type(c).__name__ for c in atoms.constraints} - {"FixAtoms", "FixCartesian"}
    return f"{', '.join(sorted(others))} cannot be kept among many" if others else None


def structure_of(atoms: Atoms) -> Structure:
    """Elements, positions, cell and charge of some atoms, without their constraints."""
    z, pos = atoms.numbers.astype(np.int64), atoms.positions.copy()
    where = atoms.cell.array.copy(), atoms.pbc.copy()
    return Structure(z, pos, *where, charge=charge_of(atoms))


def _free(atoms: Atoms) -> NDArray[np.bool_] | None:
    """(atoms, 3) False for coordinates that constraints hold; None without constraints."""
    if not atoms.constraints:
        return None
    ones = np.ones((len(atoms), 3))
    for constraint in atoms.constraints:
        constraint.adjust_forces(atoms, ones)
    return ones > 0


def _doubt(atoms: Atoms, calculator: Any) -> str | None:
    """Why forces on atoms that are at their end mean nothing, or None."""
    limit = getattr(calculator, "max_force_error", None)
    return error_reason(atoms, atoms.calc.results, limit)


def _refused(atoms: Atoms, error: Exception) -> Relaxed:
    return Relaxed(atoms, 0, float("nan"), False, [], str(error))


def _check_limits(fmax: float, max_steps: float) -> None:
    for name, value in (("fmax", fmax), ("max_steps", max_steps)):
        if not 0 < value < float("inf"):
            raise InputError(f"{name}: expected a number above zero, got {value}")


def largest_force(atoms: Atoms) -> float:
    """The largest force on an atom, eV/Å."""
    return float(np.linalg.norm(atoms.get_forces(), axis=1).max(initial=0.0))
