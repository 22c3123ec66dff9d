"""Molecular dynamics that can be killed and resumed, to the last bit.

A state on disk holds everything that the next step depends on: positions and momenta in float64,
the cell, the integrator's own variables, the random numbers and where the calculator made its
graph, together with the lengths of trajectory and table at that moment. Resuming cuts both back to
there, so that nothing is lost and nothing doubled. Saving changes nothing in a run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed
from ase.io.jsonio import encode

from molgeo.runtime.errors import InputError
from molgeo.runtime.progress import Report, silent
from molgeo.simulation.calculator import MolgeoCalculator, UnsupportedAtomsError
from molgeo.simulation.guard import Guard
from molgeo.simulation.integrators import (
    conserved_energy,
    integrator_state,
    make_integrator,
    restore_integrator,
)
from molgeo.simulation.motion import begin, degrees_of_freedom, temperature
from molgeo.simulation.records import ENDINGS, Table, keep_results, open_frames
from molgeo.simulation.settings import CHANGEABLE, MDSettings
from molgeo.simulation.state import load_state, save_state

SAVE_S = 10.0
"""Seconds of work that a kill may cost."""

STATE: Final = ".state"
"""What is appended to a trajectory's name for its state."""


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        step: the last one that is recorded.
        reason: why it stopped before its end; None if it did not.
        ns_per_day: simulated nanoseconds per day of wall-clock time, of this part of the run.
        resumed_from: the step that it went on from; None for a new run.
        remark: on the velocities that it began with, if they are not random.
    """

    step: int
    reason: str | None
    ns_per_day: float
    resumed_from: int | None = None
    remark: str = ""


def simulate(
    atoms: Atoms,
    settings: MDSettings,
    output: Path,
    log: Path,
    resume: bool = False,
    overwrite: bool = False,
    report: Report = silent,
) -> Outcome:
    """Run molecular dynamics to the end, or until the guard stops it.

    Args:
        atoms: with a calculator; they are copied. Their momenta, if there are any, are where the
            run begins; their constraints hold.
        settings: how.
        output: trajectory, ``.extxyz``, ``.xyz`` or ``.traj``; its state is kept beside it.
        log: table, CSV.
        resume: go on from the state; a run that was killed ends as it would have without.
        overwrite: replace the files of another run.
        report: called at every frame, with the speed in ns/day.

    Returns:
        How it ended. Whatever was recorded stays.

    Raises:
        InputError: a setting or a file that does not fit, or atoms that cannot be simulated.
        FileNotFoundError: there is nothing to resume.
        FileExistsError: the files of another run are there.
    """
    check_files(output, log, resume, overwrite)
    check_atoms(atoms, settings)
    run = Run(atoms, settings, output, log)
    if resume:
        run.restore(load_state(state_path(output)))
    else:
        run.start()
    return run.go(report)


def state_path(output: Path) -> Path:
    """The file of a trajectory's state."""
    return output.with_name(output.name + STATE)


def check_files(
    output: Path, log: Path, resume: bool, overwrite: bool, page: Path | None = None
) -> None:
    """Refuse names that cannot be written, and to write over another run; as `simulate` does.

    Args:
        output: as of `simulate`.
        log: as of `simulate`.
        resume: as of `simulate`.
        overwrite: as of `simulate`.
        page: a further file that a run leaves behind.
    """
    if output.suffix.lower() not in ENDINGS:
        raise InputError(f"output: expected a name that ends in {', '.join(ENDINGS)}, got {output}")
    own = [output, state_path(output)]
    for what, path in (("log", log), ("page", page)):
        if path is not None:
            if path.resolve() in [other.resolve() for other in own]:
                raise InputError(f"{what}: expected another file than the run's others, got {path}")
            own.append(path)
    for path in own:
        if not path.absolute().parent.is_dir():
            raise InputError(f"{path}: there is no such folder")
        if path.exists() and not (resume or overwrite):
            raise FileExistsError(
                f"{path} exists already: pass --resume to go on, --force to begin anew, "
                "or choose other names"
            )


class Run:
    """One run in memory and on disk."""

    def __init__(self, atoms: Atoms, settings: MDSettings, output: Path, log: Path) -> None:
        self.calc = atoms.calc
        self.atoms = atoms.copy()
        self.atoms.calc = self.calc
        self.settings, self.output, self.log = settings, output, log
        self.rng = np.random.default_rng(settings.seed)
        self.constraints = list(self.atoms.constraints)
        self.n_degrees = degrees_of_freedom(self.atoms, settings.ensemble, settings.thermostat)
        self.remark = ""
        has_volume = bool(self.atoms.pbc.any()) and self.atoms.cell.rank == 3
        self.has_stress = has_volume and "stress" in self.calc.implemented_properties
        self.marks: dict[str, int] | None = None
        self.recorded = -1
        self.stopped: str | None = None

    def start(self) -> None:
        """Momenta, and what must hold before the first step."""
        settings = self.settings
        self.n_degrees, self.remark = begin(self.atoms, settings, self.rng)
        hottest = max(settings.temperature, temperature(self.atoms, self.n_degrees))
        self.guard = self._guard(hottest)
        self.dynamics = self._integrator()
        self.atoms.get_forces()  # refuses what the model does not know, before a file is opened
        reason = self.guard.stop_reason(self.atoms) if settings.guard else None
        if reason:
            raise InputError(f"the structure cannot be simulated as it is: {reason}")
        state_path(self.output).unlink(missing_ok=True)

    def restore(self, state: dict[str, Any]) -> None:
        """Become the run that wrote a state."""
        if "runs" in state:
            raise InputError("--resume: the state is that of several structures, and there is one")
        self.check_same(state)
        self.stopped = state["stopped"]
        if self.stopped and self.settings.guard:
            raise InputError(
                f"the run stopped at step {state['step']}: {self.stopped}; "
                "--no-guard goes on all the same"
            )
        for name in ("positions", "momenta"):
            self.atoms.set_array(name, state[name], float, (3,))
        self.atoms.set_cell(state["cell"])
        self.n_degrees = state.get("n_degrees", self.n_degrees)
        self.remark = state.get("remark", "")
        self.guard = self._guard(self.settings.temperature)
        self.dynamics = self._integrator()
        restore_integrator(self.dynamics, state["integrator"])
        self.rng.bit_generator.state = state["rng"]
        self.guard.restore(state["guard"])
        if isinstance(self.calc, MolgeoCalculator):
            self.calc.restore(self.atoms, state["calculator_state"])
        self.dynamics.nsteps, self.recorded = state["step"], state["recorded"]
        self.marks = state["marks"]
        self.stopped = None

    def go(self, report: Report) -> Outcome:
        """Step to the end, recording on the way."""
        settings, first = self.settings, self.dynamics.nsteps
        started = time.monotonic()
        with self.opened():
            saved = -np.inf if self.recorded < 0 else started
            try:
                for _ in self.dynamics.irun(max(settings.steps - first, 0)):
                    step = self.dynamics.nsteps
                    if step % settings.interval or step <= self.recorded:
                        continue
                    self.record(step)
                    report(step, settings.steps, self._note(step - first, started))
                    if self.stopped or time.monotonic() - saved > SAVE_S:
                        self.save()
                        saved = time.monotonic()
                    if self.stopped:
                        break
                else:
                    self.finish()
            except (UnsupportedAtomsError, CalculationFailed) as error:
                # Within a step, so that the last state is the one to go on from.
                self.stopped = f"{error} (after step {self.dynamics.nsteps})"
        return self.outcome(first, started)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Trajectory and table, cut back to where a restored run's state was."""
        marks = self.marks or {}
        columns = list(self._row(0))
        with (
            closing(open_frames(self.output, marks.get("frames"))) as self.frames,
            closing(Table(self.log, columns, marks.get("table"))) as self.table,
        ):
            yield

    def outcome(self, first: int, started: float) -> Outcome:
        """What became of it.

        Args:
            first: the step that it began or went on from.
            started: seconds of the monotonic clock then.
        """
        speed = self._ns_per_day(max(self.recorded - first, 0), started)
        resumed_from = first if self.marks else None
        return Outcome(self.recorded, self.stopped, speed, resumed_from, self.remark)

    def record(self, step: int) -> None:
        """Write a frame and a row, and ask the guard."""
        self.table.write(self._row(step))
        self.frames.write(self._frame(step))
        self.recorded = step
        reason = self.guard.stop_reason(self.atoms) if self.settings.guard else None
        if reason and step > 0:
            self.stopped = f"{reason} (step {step})"

    def finish(self) -> None:
        """The state of the end, and a frame of it even between two intervals."""
        self.save()
        if self.dynamics.nsteps > self.recorded:
            # Beyond the state's marks: a longer run, which has no frame here, cuts it off again.
            self.record(self.dynamics.nsteps)

    def save(self) -> None:
        """Write everything that the next step depends on."""
        save_state(state_path(self.output), self.state())

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        state = {
            "settings": asdict(self.settings),
            "model": self._model(),
            "step": self.dynamics.nsteps,
            "recorded": self.recorded,
            "stopped": self.stopped,
            **self._system(),
            "positions": self.atoms.positions,
            "momenta": self.atoms.get_momenta(),
            "cell": self.atoms.cell.array,
            "n_degrees": self.n_degrees,
            "integrator": integrator_state(self.dynamics),
            "rng": self.rng.bit_generator.state,
            "guard": self.guard.state(),
            "remark": self.remark,
            "marks": {"frames": self.frames.mark(), "table": self.table.mark()},
        }
        if isinstance(self.calc, MolgeoCalculator):
            state["calculator_state"] = self.calc.state()
        return state

    def _integrator(self) -> Any:
        return make_integrator(self.atoms, self.settings, self.rng, self.n_degrees)

    def _guard(self, temperature_K: float) -> Guard:
        return Guard(self.atoms, temperature_K, self.n_degrees, self.settings.max_force_error)

    def _system(self) -> dict[str, Any]:
        """What tells the input's structure from others, whatever its coordinates."""
        return {
            "numbers": self.atoms.numbers,
            "pbc": self.atoms.pbc,
            "masses": self.atoms.get_masses(),
            "constraints": encode([each.todict() for each in self.constraints]),
        }

    def _row(self, step: int) -> dict[str, Any]:
        """What the table holds of the present step."""
        atoms, results = self.atoms, self.calc.results
        row = {
            "step": step,
            "time_fs": step * self.settings.timestep,
            "potential_eV": float(atoms.get_potential_energy()),
            "kinetic_eV": float(atoms.get_kinetic_energy()),
            "total_eV": float(atoms.get_total_energy()),
            "temperature_K": temperature(atoms, self.n_degrees),
            "conserved_eV": conserved_energy(self.dynamics),
        }
        if self.has_stress:
            pressure = -atoms.get_stress(include_ideal_gas=True)[:3].mean()
            row["pressure_bar"] = float(pressure / units.bar)
            row["volume_A3"] = float(atoms.get_volume())
        if "energy_std" in results:
            row["energy_std_eV"] = results["energy_std"]
        if "forces_std" in results:
            row["max_force_std_eV_A"] = float(results["forces_std"].max())
        return row

    def _frame(self, step: int) -> Atoms:
        """The atoms now, with the input's constraints, and without the run's own."""
        frame = self.atoms.copy()
        frame.set_constraint(self.constraints)
        frame.info = {"step": step, "time_fs": step * self.settings.timestep}
        keep_results(frame, self.calc.results)
        return frame

    def _model(self) -> dict[str, Any]:
        if isinstance(self.calc, MolgeoCalculator):
            weights = [each.header.sha256 or None for each in self.calc.models]
            return {**self.calc.parameters, "weights": weights}
        return {"model": type(self.calc).__name__}

    def check_same(self, state: dict[str, Any]) -> None:
        """Refuse to continue another run."""
        kept = [f.name for f in fields(MDSettings) if f.name not in CHANGEABLE]
        now = {**{name: getattr(self.settings, name) for name in kept}, **self._model()}
        before = {"replay": "auto", **state["settings"], **state["model"]}
        for name, value in now.items():
            if name == "replay" and before[name] != value and "compiled" in (before[name], value):
                was = "" if value == "auto" else "not "
                raise InputError(
                    f"--resume: the run's model was {was}compiled, which cannot change within a "
                    f"run: {'give' if value == 'auto' else 'leave out'} --compile"
                )
            if before.get(name) != value:
                raise InputError(
                    f"--resume: {name} was {before.get(name)!r} and is {value!r} now; "
                    "it cannot change within a run"
                )
        now = self._system()
        before = {**now, "constraints": "[]", **state}
        for what, names in (
            ("structure is another one than that", ("numbers", "pbc")),
            ("masses are not those", ("masses",)),
            ("constraints are not those", ("constraints",)),
        ):
            if not all(np.array_equal(now[name], before[name]) for name in names):
                raise InputError(f"--resume: the {what} of the run")

    def _note(self, steps: int, started: float) -> str:
        return (
            f"{self._ns_per_day(steps, started):.3g} ns/day, "
            f"{temperature(self.atoms, self.n_degrees):.0f} K"
        )

    def _ns_per_day(self, steps: int, started: float) -> float:
        seconds = max(time.monotonic() - started, 1e-9)
        return steps * self.settings.timestep * 1e-6 * 86_400 / seconds


def check_atoms(atoms: Atoms, settings: MDSettings) -> None:
    """Refuse what cannot be simulated, as `simulate` does."""
    direct = getattr(atoms.calc, "direct_forces", None)
    if direct and settings.ensemble != "nvt":
        missing = "constant energy" if settings.ensemble == "nve" else "stress"
        raise InputError(
            f"ensemble: {direct}, so that there is no {missing} for {settings.ensemble}; take nvt"
        )
    if len(atoms) < 2:
        raise InputError(f"molecular dynamics needs two atoms or more, got {len(atoms)}")
    if settings.ensemble == "npt" and not (atoms.pbc.all() and atoms.cell.rank == 3):
        raise InputError(
            "ensemble: npt needs a cell that is periodic in three directions, "
            f"got pbc {atoms.pbc.tolist()} and {atoms.cell.rank} lattice vectors"
        )
