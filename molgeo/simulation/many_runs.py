"""Molecular dynamics of many structures at once: each is a run of its own, with files of its own.

Verlet's and Langevin's steps move each atom by itself. So all structures together are one `Atoms`
to ASE's integrators, whose forces are those of one batch. What concerns a structure stays its own:
random numbers, centre of mass, degrees of freedom, guard, frames and table. The state is one file
for all runs, so that a resumed batch holds the same structures at the same step.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.constraints import FixCom, FixConstraint
from numpy.typing import NDArray

from molgeo.chem.molecule import MIN_DISTANCE
from molgeo.runtime.device import bounded, sent
from molgeo.runtime.errors import InputError, UserError
from molgeo.runtime.progress import Report, silent
from molgeo.simulation.calculator import MolgeoCalculator, UnsupportedAtomsError
from molgeo.simulation.integrators import make_integrator
from molgeo.simulation.molecular_dynamics import (
    SAVE_S,
    Outcome,
    Run,
    check_atoms,
    check_files,
    simulate,
)
from molgeo.simulation.relaxation import odd_reason, structure_of
from molgeo.simulation.settings import MDSettings
from molgeo.simulation.state import load_state, save_state
from molgeo.simulation.together import Array, Together, have_same_weights, most_pairs

SAVING: Final = 0.1
"""Part of the time that may go into saving states."""

Files = tuple[Path, Path]


def simulate_all(
    all_atoms: Sequence[Atoms],
    settings: MDSettings,
    files: Sequence[Files],
    state: Path,
    resume: bool = False,
    overwrite: bool = False,
    report: Report = silent,
    seeds: Sequence[int] | None = None,
) -> list[Outcome]:
    """Run molecular dynamics of many structures, together if nve or Langevin moves them.

    Args:
        all_atoms: with calculators; each as of `simulate`. Those that follow each other with the
            same models and options are computed as one batch.
        settings: how, but for the seed.
        files: trajectory and table of each.
        state: path of the one state of those that go together.
        resume: go on from the states. What stopped before stays where it is.
        overwrite: replace the files of other runs.
        report: called with the steps that are done.
        seeds: of each; None for the seed of the settings, and one more for each that follows.

    Returns:
        How each ended. One that cannot be simulated fails alone; its step is −1.

    Raises:
        InputError: a setting or a file that does not fit.
        FileNotFoundError: there is nothing to resume.
        FileExistsError: the files of other runs are there.
    """
    for output, log in files:
        check_files(output, log, resume, overwrite)
    outcomes: dict[int, Outcome] = {}
    crowd: dict[int, Run] = {}
    for k, (atoms, own_files) in enumerate(zip(all_atoms, files, strict=True)):
        own = replace(settings, seed=seeds[k] if seeds else settings.seed + k)
        try:
            if apart_reason(atoms, settings):
                outcomes[k] = simulate(atoms, own, *own_files, resume, overwrite, report)
            else:
                check_atoms(atoms, own)
                crowd[k] = Run(_with_own_calculator(atoms), own, *own_files)
        except UserError as error:
            outcomes[k] = _refused(error)
    if crowd:
        outcomes |= _Crowd(crowd, settings, state).go(resume, report)
    return [outcomes[k] for k in range(len(all_atoms))]


def apart_reason(atoms: Atoms, settings: MDSettings) -> str | None:
    """Why a structure cannot move together with others, or None."""
    if settings.ensemble == "nvt" and settings.thermostat != "langevin":
        return f"{settings.thermostat} is a thermostat of one structure"
    if settings.ensemble == "npt":
        return "npt changes the cell"
    if not isinstance(atoms.calc, MolgeoCalculator):
        return "its calculator is not molgeo's"
    return odd_reason(atoms)


class _Crowd:
    """Runs that take their steps at the same time."""

    def __init__(self, runs: dict[int, Run], settings: MDSettings, path: Path) -> None:
        self.runs, self.settings, self.path = runs, settings, path
        self.outcomes: dict[int, Outcome] = {}
        self.states: dict[str, Any] = {}
        self.active = list(runs)
        self.n_steps = 0
        self.parts: list[_Part] = []

    def go(self, resume: bool, report: Report) -> dict[int, Outcome]:
        """All steps, and what became of each run."""
        if resume:
            self._restore(load_state(self.path))
        else:
            self._start()
        self.first, self.started = self.n_steps, time.monotonic()
        saved, saving = -np.inf, 0.0
        with ExitStack() as files:
            _allow_open_files(2 * len(self.active))
            for k in self.active:
                files.enter_context(self.runs[k].opened())
            while self.active:
                if self.n_steps % self.settings.interval == 0:
                    have_stopped = self._record()
                    begun = time.monotonic()
                    if have_stopped or begun - saved > max(SAVE_S, saving / SAVING):
                        self._save()
                        saved = time.monotonic()
                        saving = saved - begun
                    report(self.n_steps, self.settings.steps, f"{len(self.active)} structures")
                if self.n_steps >= self.settings.steps:
                    break
                self._step()
            self._finish()
        return self.outcomes

    def _start(self) -> None:
        """Momenta, and what must hold before the first step, of each by itself."""
        self.path.unlink(missing_ok=True)
        self._gather()
        self._tell()
        for k in [*self.active]:
            run = self.runs[k]
            if len(run.calc.models) > 1:  # by itself, models that are no ensemble are refused
                run.calc.check(run.atoms)
            try:
                run.start()
            except (UserError, CalculationFailed) as error:
                self.outcomes[k] = _refused(error)
                self.active.remove(k)
        if self.active:
            self._gather()

    def _restore(self, state: dict[str, Any]) -> None:
        """Become those that wrote a state; what has stopped stays as it is."""
        if "runs" not in state:
            raise InputError("--resume: the state is that of one structure, and there are several")
        self.states, self.n_steps = state["runs"], state["step"]
        for k, run in self.runs.items():
            own = self.states.get(run.output.name)
            if own is None:
                self.outcomes[k] = _refused("--resume: the state has no such run")
                self.active.remove(k)
                continue
            run.check_same(own)
            if own["stopped"]:
                self.outcomes[k] = Outcome(own["recorded"], own["stopped"], 0.0, own["step"])
                self.active.remove(k)
                continue
            run.restore(own)
        if self.active:
            self._gather(state["reference"])

    def _gather(self, reference: Array | None = None) -> None:
        """One system of all that are active, and its forces.

        Args:
            reference: (atoms, 3) Å, at which the graph is to be made; None for here.
        """
        all_atoms = [self.runs[k].atoms for k in self.active]
        sizes = [len(atoms) for atoms in all_atoms]
        self.ends = np.cumsum([0, *sizes])
        whole = Atoms(np.concatenate([atoms.numbers for atoms in all_atoms]))
        whole.positions = np.concatenate([atoms.positions for atoms in all_atoms])
        whole.set_masses(np.concatenate([atoms.get_masses() for atoms in all_atoms]))
        momenta = [atoms.get_momenta() for atoms in all_atoms]
        whole.set_momenta(np.concatenate(momenta))
        centred = [any(isinstance(c, FixCom) for c in atoms.constraints) for atoms in all_atoms]
        whole.set_constraint([*self._held()])
        if any(centred):
            masses = whole.get_masses()
            whole.constraints.append(FixCentres(masses, self.ends, np.array(centred)))
        whole.calc = self
        self.whole, self.known = whole, whole.positions + np.nan
        self.parts = list(_parts(all_atoms))
        if reference is not None:
            for part in self.parts:
                part.build(reference)
        dice: Any = _Dice([self.runs[k].rng for k in self.active], sizes)
        self.dynamics = make_integrator(whole, self.settings, dice, len(whole))
        self.get_forces(whole)

    def _held(self) -> Iterator[FixConstraint]:
        """Constraints of the inputs, with the numbers that atoms have here."""
        for first, k in zip(self.ends, self.active, strict=False):
            for each in self.runs[k].constraints:
                moved = copy.copy(each)
                moved.index = each.index + first
                yield moved

    def get_forces(self, atoms: Atoms) -> Array:
        """Forces of the system as it is, as ASE asks for them."""
        if not np.array_equal(atoms.positions, self.known):
            found = [part.evaluate(atoms.positions) for part in self.parts]
            self.forces = np.concatenate([forces for forces, _ in found])
            self.is_sound = np.concatenate([sound for _, sound in found])
            self.known = atoms.positions.copy()
        return self.forces.copy()

    def _step(self) -> None:
        """One step of all. Those of which the model says nothing there end with the step before."""
        self.dynamics.step()  # type: ignore[attr-defined]
        self.n_steps += 1
        if self.is_sound.all():
            return
        self._scatter()
        for row in np.flatnonzero(~self.is_sound)[::-1]:
            run = self.runs[self.active[row]]
            run.stopped = f"{_failure(run)} (after step {self.n_steps - 1})"
            self._leave(int(row))
        if self.active:
            self._gather()

    def _scatter(self) -> None:
        """Give each run its atoms as they are now, and their results."""
        momenta = self.whole.get_momenta()
        for row, k in enumerate(self.active):
            run, own = self.runs[k], slice(*self.ends[row : row + 2])
            run.atoms.positions[:] = self.whole.positions[own]
            run.atoms.set_momenta(momenta[own], apply_constraint=False)
            run.dynamics.nsteps = self.n_steps
        self._tell()

    def _tell(self) -> None:
        """Give each run the results of its atoms; it finds out itself if there are none."""
        all_results = (part.results(row) for part in self.parts for row in range(part.n))
        for row, results in enumerate(all_results):
            atoms = self.runs[self.active[row]].atoms
            if not self.is_sound[row]:
                continue
            if atoms.pbc.any():  # which have no dipole, and a stress only if it is asked for
                results.pop("dipole", None)
            atoms.calc.know(atoms, results)

    def _record(self) -> bool:
        """A frame and a row of each, unless they are there; whether the guard stopped any."""
        if self.runs[self.active[0]].recorded >= self.n_steps:
            return False
        self._scatter()
        for k in self.active:
            self.runs[k].record(self.n_steps)
        stopped = [row for row, k in enumerate(self.active) if self.runs[k].stopped]
        for row in reversed(stopped):
            k = self.active[row]
            self.states[self.runs[k].output.name] = self.runs[k].state()
            self._leave(row)
        if stopped and self.active:
            self._gather()
        return bool(stopped)

    def _leave(self, row: int) -> None:
        """The end of one run; its last state is kept."""
        k = self.active.pop(row)
        run = self.runs[k]
        self.states[run.output.name]["stopped"] = run.stopped
        self.outcomes[k] = run.outcome(self.first, self.started)

    def _finish(self) -> None:
        """The state of the end, and a frame of it even between two intervals."""
        if self.active:
            self._scatter()
        self._save()
        for k in self.active:
            if self.runs[k].recorded < self.n_steps:
                self.runs[k].record(self.n_steps)
            self.outcomes[k] = self.runs[k].outcome(self.first, self.started)

    def _save(self) -> None:
        """Write everything that the next step of all depends on."""
        self.states |= {self.runs[k].output.name: self.runs[k].state() for k in self.active}
        at = [part.reference() for part in self.parts] if self.active else [np.zeros((0, 3))]
        about = {"step": self.n_steps, "reference": np.concatenate(at)}
        save_state(self.path, {"runs": self.states, **about})


class _Part:
    """Structures whose forces are computed as one batch.

    Args:
        all_atoms: with their calculators.
        first: of their atoms among all.
    """

    def __init__(self, all_atoms: Sequence[Atoms], first: int) -> None:
        calculator = all_atoms[0].calc
        options = calculator.neighbours.skin, calculator.parameters["replay"]
        self.together = Together(calculator.models, *options)
        self.together.take([structure_of(atoms) for atoms in all_atoms])
        sizes = [len(atoms) for atoms in all_atoms]
        self.n, self.own = len(sizes), slice(first, first + sum(sizes))
        self.starts = np.cumsum([0, *sizes[:-1]])
        self.results = self.together.results

    def evaluate(self, positions: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Forces, and for which structures the model says anything."""
        forces = self.together(self._here(positions))
        energy = torch.stack([each.energy for each in self.together.potentials]).sum(0)
        parts = forces.flatten(), energy, self.together.closest.double()
        # All that the host must know, in one copy: a copy waits for the device.
        found = torch.cat(parts).cpu().numpy()
        on_host = found[: -2 * self.n].reshape(-1, 3)
        energies, closest = found[-2 * self.n :].reshape(2, -1)
        sound = np.logical_and.reduceat(np.isfinite(on_host).all(1), self.starts)
        return on_host, sound & np.isfinite(energies) & (closest >= MIN_DISTANCE)

    def build(self, reference: Array) -> None:
        """Make the graph where another one was made; positions are of all atoms."""
        self.together.build(self._here(reference))

    def reference(self) -> Array:
        """(atoms, 3) where the graph was made."""
        assert self.together.reference is not None
        at: Array = self.together.reference.cpu().numpy()
        return at

    def _here(self, positions: Array) -> torch.Tensor:
        return sent(torch.from_numpy(positions[self.own]), self.together.device)


def _parts(all_atoms: Sequence[Atoms]) -> Iterator[_Part]:
    """Consecutive structures of one potential, as many as the bound on a batch's work allows."""
    calculators = [atoms.calc for atoms in all_atoms]
    changes = [k for k in range(1, len(all_atoms)) if not _alike(*calculators[k - 1 : k + 1])]
    first = 0
    for begin, end in pairwise([0, *changes, len(all_atoms)]):
        alike = all_atoms[begin:end]
        most = most_pairs(calculators[begin].neighbours.device)
        for own in bounded([len(atoms) ** 2 for atoms in alike], most):
            part = _Part(alike[own], first)
            first = part.own.stop
            yield part


def _alike(one: MolgeoCalculator, other: MolgeoCalculator) -> bool:
    """Whether two calculators give the same numbers."""
    if one.parameters != other.parameters or one.neighbours.device != other.neighbours.device:
        return False
    return all(map(have_same_weights, one.models, other.models))


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


class _Dice:
    """Random numbers of each structure from its own generator."""

    def __init__(self, rngs: Sequence[np.random.Generator], sizes: Sequence[int]) -> None:
        self.rngs, self.sizes = rngs, sizes

    def standard_normal(self, size: tuple[int, int]) -> Array:
        """(atoms, 3), as ASE's Langevin asks for them."""
        return np.concatenate(
            [
                rng.standard_normal((n, size[1]))
                for rng, n in zip(self.rngs, self.sizes, strict=True)
            ]
        )


def _with_own_calculator(atoms: Atoms) -> Atoms:
    """Atoms whose calculator knows of no others; the models are shared."""
    own = atoms.copy()
    own.calc = copy.deepcopy(atoms.calc)
    own.calc.check(own)
    return own


def _refused(error: object) -> Outcome:
    return Outcome(-1, str(error), 0.0)


def _failure(run: Run) -> str:
    """What the calculator says of atoms of which the batch gave nothing finite."""
    try:
        run.atoms.get_forces()
    except (UnsupportedAtomsError, CalculationFailed) as error:
        return str(error)
    return "the model gave no finite forces"


def _allow_open_files(n: int) -> None:
    """Let the process have so many files open, if the system lets it."""
    try:
        import resource
    except ImportError:  # not on Windows, where no limit is in the way
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = n + 256
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
