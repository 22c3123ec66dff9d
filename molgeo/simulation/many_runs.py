"""Molecular dynamics of many structures at once: each is a run of its own, with files of its own.

Verlet's and Langevin's steps move each atom by itself. So all structures together are one `Atoms`
to ASE's integrators, whose forces are those of one batch. What concerns a structure stays its own:
random numbers, centre of mass, degrees of freedom, guard, frames and table. The state is one file
for all runs, so that a resumed batch holds the same structures at the same step. If an earlier run
left some of them out, or stopped them, those that are at one step make a batch.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.constraints import FixCom, FixConstraint

from molgeo.runtime.errors import InputError, UserError
from molgeo.runtime.progress import Report, silent
from molgeo.simulation.calculator import MolgeoCalculator, UnsupportedAtomsError
from molgeo.simulation.integrators import FixCentres, make_integrator
from molgeo.simulation.molecular_dynamics import (
    SAVE_S,
    Outcome,
    Run,
    check_atoms,
    check_files,
    simulate,
    state_path,
)
from molgeo.simulation.parts import Part, parts_of
from molgeo.simulation.relaxation import odd_reason
from molgeo.simulation.settings import MDSettings
from molgeo.simulation.state import load_state, save_state
from molgeo.simulation.together import Array

SAVING: Final = 0.1
"""Part of the time that may go into saving states."""

BEGIN: Final = -1
"""The step of runs that have not begun."""

FAILURES: Final = (UserError, CalculationFailed, FileNotFoundError)
"""What one run fails by alone."""

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
        resume: go on from the states. What stopped before stays where it is, unless there is no
            guard now. What had no state yet begins.
        overwrite: replace the files of other runs.
        report: called with the steps that are done.
        seeds: of each; None for the seed of the settings, and one more for each that follows.

    Returns:
        How each ended. One that cannot be simulated fails alone; its step is −1.

    Raises:
        InputError: a setting or a file that does not fit, or one reason not to resume any of them.
        FileNotFoundError: there is nothing to resume.
        FileExistsError: the files of other runs are there.
    """
    for output, log in files:
        check_files(output, log, resume, overwrite)
    apart = [bool(apart_reason(atoms, settings)) for atoms in all_atoms]
    states = states_of(state) if resume and not all(apart) else {}
    goes_on = [
        resume and (state_path(output).exists() if alone else output.name in states)
        for (output, _), alone in zip(files, apart, strict=True)
    ]
    if resume and all_atoms and not any(goes_on):
        raise FileNotFoundError(f"nothing to resume: none of these {len(goes_on)} runs has a state")
    outcomes: dict[int, Outcome] = {}
    together: dict[int, Run] = {}
    for k, (atoms, own_files) in enumerate(zip(all_atoms, files, strict=True)):
        own = replace(settings, seed=seeds[k] if seeds else settings.seed + k)
        try:
            if resume and not goes_on[k]:
                _check_new(*own_files)
            if apart[k]:
                outcomes[k] = simulate(atoms, own, *own_files, goes_on[k], overwrite, report)
            else:
                check_atoms(atoms, own)
                together[k] = Run(_with_own_calculator(atoms), own, *own_files)
        except FAILURES as error:
            outcomes[k] = _refused(error)
    if together:
        outcomes |= _go_together(together, settings, state, states, report)
    reasons = {outcome.reason for outcome in outcomes.values() if outcome.step < 0}
    if resume and len(reasons) == 1 and all(outcome.step < 0 for outcome in outcomes.values()):
        raise InputError(*reasons)
    return [outcomes[k] for k in range(len(all_atoms))]


def states_of(path: Path) -> dict[str, Any]:
    """States of the runs that went together, by the names of their trajectories."""
    states: dict[str, Any] = load_state(path).get("runs", {}) if path.exists() else {}
    return states


def apart_reason(atoms: Atoms, settings: MDSettings) -> str | None:
    """Why a structure cannot move together with others, or None."""
    if settings.ensemble == "nvt" and settings.thermostat != "langevin":
        return f"{settings.thermostat} is a thermostat of one structure"
    if settings.ensemble == "npt":
        return "npt changes the cell"
    if not isinstance(atoms.calc, MolgeoCalculator):
        return "its calculator is not molgeo's"
    return odd_reason(atoms)


def _go_together(
    runs: dict[int, Run],
    settings: MDSettings,
    path: Path,
    states: dict[str, Any],
    report: Report,
) -> dict[int, Outcome]:
    """Those that are at one step move at the same time; arguments as of `_Crowd`."""
    outcomes: dict[int, Outcome] = {}
    at_step: dict[int, dict[int, Run]] = {}
    for k, run in runs.items():
        own, step = states.get(run.output.name), BEGIN
        try:
            if own is not None:
                run.check_same(own)
                if own["stopped"] and settings.guard:
                    outcomes[k] = Outcome(own["recorded"], own["stopped"], 0.0, own["step"])
                    continue
                run.restore(own)
                step = own["step"]
        except UserError as error:
            outcomes[k] = _refused(error)
            continue
        at_step.setdefault(step, {})[k] = run
    if not states:
        path.unlink(missing_ok=True)
    for step in sorted(at_step):
        outcomes |= _Crowd(at_step[step], settings, path, states).go(step, report)
    return outcomes


class _Crowd:
    """Runs that take their steps at the same time.

    Args:
        runs: new ones, or all restored to one step.
        settings: of all.
        path: of the state.
        states: of all runs that it holds, which are kept up to date.
    """

    def __init__(
        self, runs: dict[int, Run], settings: MDSettings, path: Path, states: dict[str, Any]
    ) -> None:
        self.runs, self.settings, self.path, self.states = runs, settings, path, states
        self.outcomes: dict[int, Outcome] = {}
        self.active = list(runs)
        self.parts: list[Part] = []

    def go(self, step: int, report: Report) -> dict[int, Outcome]:
        """All steps after this one, or after `BEGIN`, and what became of each run."""
        self.n_steps = self.first = max(step, 0)
        if step == BEGIN:
            self._start()
        self.started = time.monotonic()
        saved, saving = -np.inf, 0.0
        with ExitStack() as files:
            self._open(files)
            if self.active:
                names = [self.runs[k].output.name for k in self.active]
                before = [self.states[name]["reference"] for name in names if step != BEGIN]
                self._gather(np.concatenate(before) if before else None)
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
        self._gather()
        self._tell()
        for k in [*self.active]:
            run = self.runs[k]
            try:
                if len(run.calc.models) > 1:  # by itself, models that are no ensemble are refused
                    run.calc.check(run.atoms)
                run.start()
            except FAILURES as error:
                self._refuse(k, error)

    def _open(self, files: ExitStack) -> None:
        """Open the files of each, as they were at its step."""
        _allow_open_files(2 * len(self.active))
        for k in [*self.active]:
            try:
                files.enter_context(self.runs[k].opened())
            except FAILURES as error:
                self._refuse(k, error)

    def _refuse(self, k: int, error: Exception) -> None:
        self.outcomes[k] = _refused(error)
        self.active.remove(k)

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
        self.parts = [*parts_of(all_atoms)]
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
        if stopped:
            self._keep()
        for row in reversed(stopped):
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

    def _keep(self) -> None:
        """Everything that the next step of all depends on."""
        reference = np.concatenate([part.reference() for part in self.parts])
        for row, k in enumerate(self.active):
            at = {"reference": reference[slice(*self.ends[row : row + 2])]}
            self.states[self.runs[k].output.name] = copy.deepcopy(self.runs[k].state() | at)

    def _save(self) -> None:
        """Write the states of all runs, those of others too."""
        if self.active:
            self._keep()
        if self.states:
            save_state(self.path, {"runs": self.states})


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


def _check_new(output: Path, log: Path) -> None:
    """Refuse to begin a run, among others that go on, over files that are there."""
    for path in (output, log):
        if path.exists():
            raise InputError(f"{path} is there, but no state to go on from: remove it to begin")


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
