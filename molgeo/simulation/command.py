"""What the commands ``relax``, ``md`` and ``vib`` do.

Exit status: 0 if all is done. 3 if something failed: a structure that could not be read or was not
relaxed, a run that the guard stopped, a saddle point instead of a minimum.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import ase.io
from ase import Atoms

from molgeo.chem.molecule import BadRow
from molgeo.runtime.errors import OK, SOME_FAILED, InputError
from molgeo.runtime.progress import progress
from molgeo.simulation.admission import (
    admit,
    not_the_input,
    refusal,
    say,
    say_velocities,
    title,
    writable,
)
from molgeo.simulation.calculator import MolgeoCalculator, UnsupportedAtomsError
from molgeo.simulation.molecular_dynamics import Outcome, check_files, simulate
from molgeo.simulation.records import ENDINGS, keep_results, lost_constraints, open_frames
from molgeo.simulation.relaxation import Relaxed, odd_reason, relax, relax_each
from molgeo.simulation.report.page import write_page
from molgeo.simulation.report.summary import summarise
from molgeo.simulation.report.text import aligned_lines, vibration_table
from molgeo.simulation.settings import (
    ForceFieldSettings,
    MDFiles,
    MDForceFieldSettings,
    MDSettings,
    Precision,
    RelaxSettings,
    VibrationSettings,
    remarks,
)
from molgeo.simulation.structures import one_structure, structures
from molgeo.simulation.vibrations import Modes, check_molecule, thermochemistry, vibrations

VIB_FMAX: Final = 1e-4
"""eV/Å, to which a structure is relaxed before its vibrations: a force turns into a frequency of
rotation, 10 1/cm for 1e-3 eV/Å."""


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
    calculator = _calculator(force_field)
    bad: list[str] = []
    done: list[Atoms] = []
    together = settings.batch_size != "1"
    admitted = _admitted(input, calculator, force_field.allow_unfamiliar, together, bad)
    try:
        with progress("relaxing") as report:
            limits = settings.fmax, settings.max_steps, settings.batch_size
            found = relax_each(admitted, calculator, *limits, report)
            for relaxed in _in_order(found):
                name, problem = title(relaxed.atoms), _problem(relaxed)
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
    check_files(*files, resume, overwrite, page_path)
    atoms = one_structure(input, say)
    atoms.calc = _calculator(force_field, force_field.dtype, force_field.skin)
    if not resume:
        admit(atoms, force_field.allow_unfamiliar, by_stress=settings.ensemble == "npt")
    for remark in (*remarks(settings, atoms), lost_constraints(files[0], atoms)):
        if remark:
            say(remark)
    with progress("simulating") as report:
        outcome = simulate(atoms, settings, *files, resume, overwrite, report)
    if outcome.remark and not resume:
        say(outcome.remark)
    summary = summarise(files[1], len(atoms), settings.settling_fs)
    about = _about(atoms, settings, outcome)
    target = None if settings.ensemble == "nve" else settings.temperature
    write_page(page_path, title(atoms), about, summary, files[0], target, outcome.reason)
    written = [("trajectory", files[0]), ("table", files[1]), ("page", page_path)]
    sys.stdout.write(aligned_lines([*about, *summary.lines(), *((k, str(v)) for k, v in written)]))
    if outcome.reason is not None:
        say(f"stopped: {outcome.reason}")
    return OK if outcome.reason is None else SOME_FAILED


def run_vib(input: str, force_field: ForceFieldSettings, settings: VibrationSettings) -> int:
    """The command ``molgeo vib``: frequencies and thermochemistry at the next minimum.

    Args:
        input: a SMILES, ``-`` or the name of a file with one molecule, which is relaxed first.
        force_field: the model.
        settings: conditions, and where to write.

    Returns:
        The exit status.

    Raises:
        UserError: wrong usage, or an input that cannot be read.
        FileExistsError: the output is there already.
    """
    path = writable(settings.output, input, (".json", ".txt"), settings.force)
    atoms = one_structure(input, say)
    atoms.calc = _calculator(force_field)
    atoms.calc.check(atoms)
    check_molecule(atoms)
    admit(atoms, force_field.allow_unfamiliar)
    say_velocities(atoms, "a relaxation")
    with progress("relaxing") as report:
        relaxed = relax(atoms, VIB_FMAX, report=report)
    with progress("displacing") as report:
        modes = vibrations(relaxed.atoms, report=report)
    problem = _problem(relaxed)
    result = _about_modes(relaxed, modes, atoms.calc.model_name)
    conditions: dict[str, Any] = {
        "temperature_K": settings.temperature,
        "pressure_bar": settings.pressure,
        "symmetry_number": settings.symmetry_number,
    }
    try:
        result |= conditions | thermochemistry(relaxed.atoms, modes, **conditions)
    except InputError as error:
        if not modes.n_imaginary:
            raise
        problem = str(error)
    by_default = path.suffix == ".json" if path else not sys.stdout.isatty()
    as_json = settings.format == "json" or (settings.format is None and by_default)
    text = json.dumps(result, indent=2) + "\n" if as_json else vibration_table(result)
    if path is None:
        sys.stdout.write(text)
    else:
        path.write_text(text, encoding="utf-8")
    if problem:
        say(problem)
    return SOME_FAILED if problem else OK


def _names(names: str | None) -> str | list[str] | None:
    """One name or path, or several with commas; a path may have a comma itself."""
    if names is None or "," not in names or os.path.exists(names):
        return names
    return [name.strip() for name in names.split(",")]


def _calculator(
    force_field: ForceFieldSettings, dtype: Precision = "float64", skin: float = 0.5
) -> MolgeoCalculator:
    """A calculator that leaves warnings and the start to `admission` and `structures`."""
    return MolgeoCalculator(
        _names(force_field.model),
        force_field.device,
        dtype,
        skin,
        allow_unfamiliar=True,
        check_geometry=False,
    )


def _admitted(
    input: str,
    calculator: MolgeoCalculator,
    allow_unfamiliar: bool,
    together: bool,
    bad: list[str],
) -> Iterator[Atoms]:
    """Structures of an input that can be relaxed; of the others is said why, and ``bad`` grows."""
    for atoms in structures(input, say):
        if isinstance(atoms, BadRow):
            say(f"{atoms.input}: {atoms.message}")
            bad.append(atoms.input)
            continue
        say_velocities(atoms, "a relaxation")
        atoms.calc = calculator
        try:
            calculator.check(atoms)
            reason = refusal(atoms, allow_unfamiliar)
        except UnsupportedAtomsError as error:
            reason = str(error)
        if reason:
            say(f"{title(atoms)}: {reason}")
            bad.append(title(atoms))
            continue
        if together and (odd := odd_reason(atoms)):
            say(f"{title(atoms)}: {odd}: it is relaxed by itself")
        yield atoms


def _in_order(found: Iterable[tuple[int, Relaxed]]) -> Iterator[Relaxed]:
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


def _say_relaxed(relaxed: Relaxed, model: str, path: Path | None) -> None:
    """One line of a relaxed structure, and what is to be known beside it."""
    name, problem = title(relaxed.atoms), _problem(relaxed)
    if lost := lost_constraints(path or Path("extxyz"), relaxed.atoms):
        say(f"{name}: {lost}")
    say(
        f"{name}: {relaxed.n_steps} steps, fmax {relaxed.fmax:.4f} eV/Å, "
        f"energy {relaxed.atoms.get_potential_energy():.4f} eV ({model})"
        + (f"; {problem}" if problem else "")
    )


def _problem(relaxed: Relaxed) -> str | None:
    """What a relaxed structure leaves to be wished for."""
    if relaxed.refused:
        return relaxed.refused
    if relaxed.broken:
        return f"bonds broke while relaxing: {', '.join(relaxed.broken)}"
    if not relaxed.converged:
        return f"not relaxed: {relaxed.fmax:.4f} eV/Å are left after {relaxed.n_steps} steps"
    return None


def _finished(relaxed: Relaxed, model: str) -> Atoms:
    """The structure as it is written, with what was computed of it and where it comes from."""
    atoms = relaxed.atoms.copy()
    atoms.info["geometry"] = f"{atoms.info['geometry']}+{model}"
    atoms.info.update(model=model, fmax=relaxed.fmax, converged=relaxed.converged)
    keep_results(atoms, relaxed.atoms.calc.results)
    return atoms


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


def _about_modes(relaxed: Relaxed, modes: Modes, model: str) -> dict[str, Any]:
    """What is known of a molecule before its thermochemistry."""
    atoms = relaxed.atoms
    return {
        "name": atoms.info.get("name", ""),
        "smiles": atoms.info.get("smiles", ""),
        "formula": atoms.get_chemical_formula(),
        "n_atoms": len(atoms),
        "geometry": f"{atoms.info['geometry']}+{model}",
        "model": model,
        "energy_eV": float(atoms.get_potential_energy()),
        "fmax_eV_A": relaxed.fmax,
        "shape": modes.shape,
        "n_imaginary": modes.n_imaginary,
        "frequencies_cm": modes.frequencies_cm,
    }
