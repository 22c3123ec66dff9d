"""What the commands ``relax`` and ``md`` do.

Exit status: 0 if all is done. 3 if something failed: a structure that could not be read or was not
relaxed, a run that the guard stopped, a saddle point instead of a minimum.
"""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import ase.io
from ase import Atoms

from molgeo.chem.molecule import BadRow
from molgeo.runtime.errors import OK, SOME_FAILED, InputError
from molgeo.runtime.progress import progress
from molgeo.simulation.admission import (
    admit,
    calculator_of,
    not_the_input,
    placed,
    refused_reason,
    say,
    say_velocities,
    title,
    writable,
)
from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.many_runs import apart_reason, simulate_all, states_of
from molgeo.simulation.molecular_dynamics import STATE, Outcome, check_files, simulate, state_path
from molgeo.simulation.records import ENDINGS, keep_results, lost_constraints, open_frames
from molgeo.simulation.relaxation import Relaxed, in_order, odd_reason, relax_each
from molgeo.simulation.report.page import write_page
from molgeo.simulation.report.summary import Summary, summarise
from molgeo.simulation.report.text import aligned_lines
from molgeo.simulation.settings import (
    ForceFieldSettings,
    MDFiles,
    MDForceFieldSettings,
    MDSettings,
    RelaxSettings,
    remarks,
)
from molgeo.simulation.structures import structures


def run_relax(input: str, force_field: ForceFieldSettings, settings: RelaxSettings) -> int:
    """The command ``molgeo relax``: every structure of an input to its next minimum.

    Args:
        input: a SMILES, ``-`` or the name of a file.
        force_field: the model.
        settings: how far, and where to.

    Returns:
        The exit status.

    Raises:
        UserError: wrong usage, or an input that cannot be read.
        FileExistsError: the output is there already.
    """
    path = writable(settings.output, input, ENDINGS, settings.force)
    calculator = calculator_of(force_field)
    bad: list[str] = []
    done: list[Atoms] = []
    together = settings.batch_size != "1"
    given = structures(input, say, force_field.input_format)
    admitted = _admitted(given, calculator, force_field.allow_unfamiliar, together, bad)
    try:
        with progress("relaxing") as report:
            limits = settings.fmax, settings.max_steps, settings.batch_size
            found = relax_each(admitted, calculator, *limits, report)
            for relaxed in in_order(found):
                name, problem = placed(relaxed.atoms), relaxed.problem
                if problem:
                    bad.append(name)
                if relaxed.refused:
                    say(f"{name}: {problem}")
                    continue
                done.append(_finished(relaxed, calculator.model_name))
                _say_relaxed(relaxed, calculator.model_name, path)
                if path is None:
                    ase.io.write("-", done[-1], format="extxyz")
    finally:  # what is done is kept, whatever ends the rest
        if path is not None and done:
            with closing(open_frames(path)) as frames:
                for atoms in done:
                    frames.write(atoms)
    return SOME_FAILED if bad else OK


def run_md(
    input: str, force_field: MDForceFieldSettings, settings: MDSettings, names: MDFiles
) -> int:
    """The command ``molgeo md``: a trajectory, a table, and a page that shows them.

    Args:
        input: a SMILES, ``-`` or the name of a file with one structure.
        force_field: the model.
        settings: of the run.
        names: of the files.

    Returns:
        The exit status.

    Raises:
        UserError: wrong usage, or an input that cannot be read.
        OSError: files that are missing, or there already.
    """
    files = Path(names.output), Path(names.log)
    resume, overwrite = names.resume, names.overwrite
    page_path = Path(names.page) if names.page else files[0].with_suffix(".html")
    not_the_input(input, *files, page_path)
    found = list(structures(input, say, force_field.input_format))
    if len(found) > 1:
        return _run_many(input, found, force_field, settings, names)
    check_files(*files, resume, overwrite, page_path)
    (atoms,) = found
    if isinstance(atoms, BadRow):
        raise InputError(f"{atoms.input}: {atoms.message}")
    atoms.calc = calculator_of(force_field, force_field.dtype, force_field.skin)
    if not resume:
        admit(atoms, force_field.allow_unfamiliar, by_stress=settings.ensemble == "npt")
    for remark in (*remarks(settings, atoms), lost_constraints(files[0], atoms)):
        if remark:
            say(remark)
    with progress("simulating") as report:
        outcome = simulate(atoms, settings, *files, resume, overwrite, report)
    if outcome.remark and not resume:
        say(outcome.remark)
    about, summary = _write_page(page_path, atoms, settings, outcome, files)
    written = [("trajectory", files[0]), ("table", files[1]), ("page", page_path)]
    sys.stdout.write(aligned_lines([*about, *summary.lines(), *((k, str(v)) for k, v in written)]))
    if outcome.reason is not None:
        say(f"stopped: {outcome.reason}")
    return OK if outcome.reason is None else SOME_FAILED


def _run_many(
    input: str,
    found: Sequence[Atoms | BadRow],
    force_field: MDForceFieldSettings,
    settings: MDSettings,
    names: MDFiles,
) -> int:
    """`run_md` of several structures, each with files of its own, which have its number."""
    calculator = calculator_of(force_field, force_field.dtype, force_field.skin)
    by_stress, width = settings.ensemble == "npt", len(str(len(found)))

    def numbered(name: str, number: int) -> Path:
        path = Path(name)
        return path.with_name(f"{path.stem}-{number:0{width}}{path.suffix}")

    numbers = range(1, len(found) + 1)
    files = {n: (numbered(names.output, n), numbered(names.log, n)) for n in numbers}
    pages = {n: numbered(names.page, n) for n in numbers} if names.page else {}
    for n, paths in files.items():
        not_the_input(input, *paths)
        check_files(*paths, names.resume, names.overwrite, pages.get(n))
    say(f"{len(found)} structures: trajectories are {files[1][0]} to {files[len(found)][0]}")
    begun = _begun(Path(names.output)) if names.resume else set()
    if left := sorted(begun - {output.name for output, _ in files.values()}):
        say(f"--resume: left as they are, as the input has no such structures: {', '.join(left)}")
    said: set[str] = set()
    admitted: dict[int, Atoms] = {}
    for number, atoms in enumerate(found, 1):
        if isinstance(atoms, BadRow):
            say(f"{atoms.input}: {atoms.message}")
            continue
        atoms.calc = calculator
        allowed = force_field.allow_unfamiliar
        is_new = files[number][0].name not in begun
        if is_new and (reason := refused_reason(atoms, allowed, by_stress)):
            say(f"{number} {title(atoms)}: {reason}")
            continue
        admitted[number] = atoms
        apart = apart_reason(atoms, settings)
        lost = lost_constraints(Path(names.output), atoms)
        for remark in (*remarks(settings, atoms), lost, apart and f"{apart}: one by one"):
            if remark and remark not in said:
                say(remark)
            said.add(remark or "")
    options = state_path(Path(names.output)), names.resume, names.overwrite
    with progress("simulating") as report:
        all_atoms, all_files = list(admitted.values()), [files[n] for n in admitted]
        seeds = [settings.seed + number - 1 for number in admitted]
        outcomes = simulate_all(all_atoms, settings, all_files, *options, report, seeds)
    rows = [("model", calculator.model_name), ("seed", f"{settings.seed}, one more for each")]
    for number, outcome in zip(admitted, outcomes, strict=True):
        name, (output, log) = f"{number} {title(admitted[number])}", files[number]
        if outcome.reason:
            say(f"{name}: {'stopped: ' if outcome.step >= 0 else ''}{outcome.reason}")
        if outcome.step < 0:
            continue
        is_new = outcome.resumed_from is None
        if names.resume and is_new:
            say(f"{name}: it had no state: it began at step 0")
        if outcome.remark and is_new:
            say(f"{name}: {outcome.remark}")
        rows.append((name, f"{outcome.step} of {settings.steps} steps, {output}, {log}"))
        if number in pages:
            own = replace(settings, seed=settings.seed + number - 1)
            _write_page(pages[number], admitted[number], own, outcome, files[number])
    sys.stdout.write(aligned_lines(rows))
    if settings.guard and any(outcome.reason and outcome.step >= 0 for outcome in outcomes):
        say("--resume --no-guard goes on with those that stopped")
    bad = len(admitted) < len(found) or any(outcome.reason for outcome in outcomes)
    return SOME_FAILED if bad else OK


def _begun(output: Path) -> set[str]:
    """Names of the trajectories, numbered as those of this output, that have a state."""
    own = output.parent.glob(f"{glob.escape(output.stem)}-*{output.suffix}{STATE}")
    found = {*states_of(state_path(output)), *(path.name.removesuffix(STATE) for path in own)}
    number = slice(len(output.stem) + 1, -len(output.suffix))
    return {name for name in found if name[number].isdigit()}


def _admitted(
    found: Iterable[Atoms | BadRow],
    calculator: MolgeoCalculator,
    allow_unfamiliar: bool,
    together: bool,
    bad: list[str],
) -> Iterator[Atoms]:
    """Structures that can be relaxed; of the others is said why, and ``bad`` grows."""
    for atoms in found:
        if isinstance(atoms, BadRow):
            say(f"{atoms.input}: {atoms.message}")
            bad.append(atoms.input)
            continue
        say_velocities(atoms, "a relaxation")
        atoms.calc = calculator
        reason = refused_reason(atoms, allow_unfamiliar)
        if reason:
            say(f"{placed(atoms)}: {reason}")
            bad.append(placed(atoms))
            continue
        if together and (odd := odd_reason(atoms)):
            say(f"{placed(atoms)}: {odd}: it is relaxed by itself")
        yield atoms


def _say_relaxed(relaxed: Relaxed, model: str, path: Path | None) -> None:
    """One line of a relaxed structure, and what is to be known beside it."""
    name, problem = placed(relaxed.atoms), relaxed.problem
    worst = relaxed.atoms.calc.results.get("forces_std")
    if lost := lost_constraints(path or Path("extxyz"), relaxed.atoms):
        say(f"{name}: {lost}")
    say(
        f"{name}: {relaxed.n_steps} steps, fmax {relaxed.fmax:.4f} eV/Å, "
        f"energy {relaxed.atoms.get_potential_energy():.4f} eV ({model})"
        + (f", expected error of a force up to {worst.max():.2f} eV/Å" if worst is not None else "")
        + (f"; {problem}" if problem else "")
    )


def _finished(relaxed: Relaxed, model: str) -> Atoms:
    """The structure as it is written, with what was computed of it and where it comes from."""
    atoms = relaxed.atoms.copy()
    atoms.info.pop("input", None)
    atoms.info["geometry"] = f"{atoms.info['geometry']}+{model}"
    atoms.info.update(model=model, fmax=relaxed.fmax, converged=relaxed.converged)
    keep_results(atoms, relaxed.atoms.calc.results)
    return atoms


def _write_page(
    path: Path, atoms: Atoms, settings: MDSettings, outcome: Outcome, files: tuple[Path, Path]
) -> tuple[list[tuple[str, str]], Summary]:
    """The page of a run, and what stands on it: how it was done, and what came out."""
    summary = summarise(files[1], len(atoms), settings.settling_fs)
    about = _about(atoms, settings, outcome)
    target = None if settings.ensemble == "nve" else settings.temperature
    write_page(path, title(atoms), about, summary, files[0], target, outcome.reason)
    return about, summary


def _about(atoms: Atoms, settings: MDSettings, outcome: Outcome) -> list[tuple[str, str]]:
    """How a run was done."""
    start = "the input's velocities" if outcome.remark else f"{settings.temperature:g} K"
    heat = {
        "nve": f"started {'with' if outcome.remark else 'at'} {start}",
        "nvt": f"{settings.temperature:g} K, {settings.thermostat} {settings.thermostat_time:g} fs",
        "npt": f"{settings.temperature:g} K, {settings.pressure:g} bar",
    }[settings.ensemble]
    rows = [
        ("structure", f"{title(atoms)}, {len(atoms)} atoms"),
        ("model", atoms.calc.model_name),
        ("ensemble", f"{settings.ensemble}, {heat}"),
        ("steps", f"{outcome.step} of {settings.steps}, {settings.timestep:g} fs each"),
        ("seed", str(settings.seed)),
    ]
    if outcome.ns_per_day > 0:  # a run that was at its end takes no step
        rows.append(("speed", f"{outcome.ns_per_day:.3g} ns/day"))
    if outcome.resumed_from is not None:
        rows.append(("resumed at step", str(outcome.resumed_from)))
    return rows
