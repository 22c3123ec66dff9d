"""What the command ``vib`` does.

Exit status: 0 if all is done. 3 if something failed: a structure of several that was refused, one
that did not relax, a saddle point instead of a minimum.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from ase import Atoms
from ase.calculators.calculator import CalculationFailed

from molgeo.chem.molecule import BadRow
from molgeo.runtime.errors import OK, SOME_FAILED, InputError
from molgeo.runtime.progress import Report, progress, silent
from molgeo.simulation.admission import (
    calculator_of,
    placed,
    refused_reason,
    say,
    say_velocities,
    writable,
)
from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.relaxation import Relaxed, in_order, relax_each, structure_of
from molgeo.simulation.report.text import vibration_table
from molgeo.simulation.settings import ForceFieldSettings, VibrationSettings
from molgeo.simulation.structures import structures
from molgeo.simulation.vibrations import (
    Array,
    check_conditions,
    check_molecule,
    hessians,
    modes_of,
    thermochemistry,
)

VIB_FMAX: Final = 1e-4
"""eV/Å, to which a structure is relaxed before its vibrations: a force turns into a frequency of
rotation, 10 1/cm for 1e-3 eV/Å."""


def run_vib(input: str, force_field: ForceFieldSettings, settings: VibrationSettings) -> int:
    """The command ``molgeo vib``: frequencies and thermochemistry at the next minimum.

    Args:
        input: a SMILES, ``-`` or the name of a file of molecules, which are relaxed first.
        force_field: the model.
        settings: conditions, and where to write.

    Returns:
        The exit status.

    Raises:
        UserError: wrong usage, or an input that cannot be read, or whose only molecule is refused.
        FileExistsError: the output is there already.
    """
    path = writable(settings.output, input, (".json", ".txt"), settings.force)
    given = structures(input, say, force_field.input_format)
    first = list(islice(given, 2))
    is_one = len(first) == 1
    work = _Work(calculator_of(force_field), force_field.allow_unfamiliar, settings, is_one)
    try:
        with progress("vibrating") as report:
            work.go(chain(first, given), report)
    finally:  # what is done is kept, whatever ends the rest
        if work.rows:
            _write(path, settings.format, work.rows)
    for row in work.rows:
        if row["message"]:
            say(row["message"] if is_one else f"{row['input']}: {row['message']}")
    return SOME_FAILED if any(row["message"] for row in work.rows) else OK


class _Work:
    """Molecules on their way to their frequencies, many at a time.

    Args:
        calculator: which computes.
        allow_unfamiliar: refuse nothing that is unknown.
        settings: conditions.
        is_one: whether there is one molecule, which may be refused by an error.
    """

    def __init__(
        self,
        calculator: MolgeoCalculator,
        allow_unfamiliar: bool,
        settings: VibrationSettings,
        is_one: bool,
    ) -> None:
        self.calculator, self.allow_unfamiliar, self.is_one = calculator, allow_unfamiliar, is_one
        self.conditions: dict[str, Any] = {
            "temperature_K": settings.temperature,
            "pressure_bar": settings.pressure,
            "symmetry_number": settings.symmetry_number,
        }
        check_conditions(**self.conditions)
        self._rows: dict[int, dict[str, Any]] = {}
        self._places: list[int] = []
        self._relaxed: deque[tuple[int, Relaxed]] = deque()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What is known of each so far, in the order of the input."""
        return [self._rows[place] for place in sorted(self._rows)]

    def go(self, given: Iterable[Atoms | BadRow], report: Report) -> None:
        """Relax all, and find their frequencies."""
        own = report if self.is_one else silent
        found = relax_each(self._admitted(given), self.calculator, VIB_FMAX, report=own)
        relaxed = self._to_displace(in_order(found))
        for hessian in hessians(relaxed, self.calculator, report=own):
            place, one = self._relaxed.popleft()
            self._rows[place] = self._row(one, hessian)
            if not self.is_one:
                report(len(self._rows), 0)

    def _admitted(self, given: Iterable[Atoms | BadRow]) -> Iterator[Atoms]:
        """Those that can vibrate; of the others a row says why not."""
        for place, atoms in enumerate(given):
            if isinstance(atoms, BadRow):
                self._refuse(place, atoms.input, atoms.message)
                continue
            atoms.calc = self.calculator
            if reason := refused_reason(atoms, self.allow_unfamiliar, check=check_molecule):
                self._refuse(place, placed(atoms), reason)
                continue
            say_velocities(atoms, "a relaxation")
            self._places.append(place)
            yield atoms

    def _to_displace(self, found: Iterable[Relaxed]) -> Iterator[Any]:
        """Structures at their minimum."""
        for k, one in enumerate(found):
            place = self._places[k]
            if one.refused:
                self._refuse(place, placed(one.atoms), one.refused)
                continue
            self._relaxed.append((place, one))
            yield structure_of(one.atoms)

    def _refuse(self, place: int, label: str, reason: str) -> None:
        if self.is_one:
            raise InputError(f"{label}: {reason}")
        self._rows[place] = {"input": label, "status": "error", "message": reason}

    def _row(self, relaxed: Relaxed, hessian: Array) -> dict[str, Any]:
        """All that is known of a molecule, and what it leaves to be wished for."""
        atoms, model, problem = relaxed.atoms, self.calculator.model_name, relaxed.problem
        row: dict[str, Any] = {
            "name": atoms.info.get("name", ""),
            "smiles": atoms.info.get("smiles", ""),
            "formula": atoms.get_chemical_formula(),
            "n_atoms": len(atoms),
            "geometry": f"{atoms.info['geometry']}+{model}",
            "model": model,
            "energy_eV": float(atoms.get_potential_energy()),
            "fmax_eV_A": relaxed.fmax,
        }
        if "forces_std" in atoms.calc.results:
            row["max_force_std_eV_A"] = float(atoms.calc.results["forces_std"].max())
        try:
            modes = modes_of(atoms, hessian)
            row["shape"], row["n_imaginary"] = modes.shape, modes.n_imaginary
            row["frequencies_cm"] = modes.frequencies_cm
            row |= self.conditions | thermochemistry(atoms, modes, **self.conditions)
        except (InputError, CalculationFailed) as error:  # no minimum, or no finite forces
            problem = str(error)
        status = "error" if problem else "ok"
        return {"input": placed(atoms), "status": status, "message": problem or "", **row}


def _write(path: Path | None, format: str | None, rows: list[dict[str, Any]]) -> None:
    """Write the rows as one JSON value, or as tables; of one molecule as it always was."""
    by_default = path.suffix == ".json" if path else not sys.stdout.isatty()
    if format == "json" or (format is None and by_default):
        text = json.dumps(rows if len(rows) > 1 else rows[0], indent=2) + "\n"
    else:
        text = "\n".join(map(_table, rows))
    if path is None:
        sys.stdout.write(text)
    else:
        path.write_text(text, encoding="utf-8")


def _table(row: dict[str, Any]) -> str:
    known = "frequencies_cm" in row
    return vibration_table(row) if known else f"{row['input']}: {row['message']}\n"
