"""How good a force field is: its minima and frequencies, and whether its dynamics hold.

    python benchmarks/force_field.py                                # all parts, about an hour
    python benchmarks/force_field.py --parts relax vib --json out.json
    python benchmarks/force_field.py --quick                        # that it runs, in a minute

relax and vib compare with the level of theory that it was trained on, GFN2-xTB (tblite); nve and
nvt are runs of ``molgeo.simulation`` as ``molgeo md`` makes them. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import CalculationFailed, Calculator
from force_field_molecules import SMALL, STRANGE, drawn, known_to, ten
from force_field_tables import TABLES
from numpy.typing import NDArray

from molgeo.generate.label import Method
from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.command import VIB_FMAX
from molgeo.simulation.molecular_dynamics import simulate
from molgeo.simulation.motion import degrees_of_freedom
from molgeo.simulation.relaxation import Relaxed, relax
from molgeo.simulation.report.summary import mean_of_blocks
from molgeo.simulation.settings import MDSettings
from molgeo.simulation.vibrations import Modes, vibrations

REFERENCE = Method("xtb", {"accuracy": 0.01})
"""Converged a hundred times better than by default, for the differences of forces."""
FMAX = 0.005
"""eV/Å, to which molecules are relaxed that are compared by their positions."""
RATTLE = 0.05
"""Å by which molecules are put off their symmetry, which would hold them on a saddle point."""
TEMPERATURE = 300.0
TIMESTEP_FS = 0.5
INTERVAL = 10
"""Steps from row to row, at which the guard looks too."""
APART = 30.0
"""Å between molecules of one system, several times the models' cutoffs."""
THERMOSTAT_FS = 20.0
"""A fifth of the default: temperatures forget each other sooner, and their mean is known better."""
EQUILIBRATION = 0.1
"""Part of nvt that is not counted."""
BLOCK_PS = 0.2
"""Ten times the thermostat's time, so that means of blocks are independent."""


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark and return what it prints."""
    options = _parse(arguments)
    torch.set_num_threads(1)
    report: dict[str, Any] = {"model": MolgeoCalculator(options.model, "cpu").model_name}
    report |= {"seed": options.seed, "quick": options.quick}
    for part in options.parts:
        begin = time.perf_counter()
        found = PARTS[part](options)
        report[part] = found | {"minutes": (time.perf_counter() - begin) / 60}
        print("\n".join([*TABLES[part](report[part]), ""]), flush=True)
        if options.json:
            options.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    return report


# relax


def relaxations(options: argparse.Namespace) -> dict[str, Any]:
    """Minima of the force field beside those of its level of theory, from QM9's geometries."""
    ours, theirs = MolgeoCalculator(options.model, "cpu", dtype="float64"), REFERENCE.calculator()
    known = known_to(options.trained_on) if options.trained_on else None
    rows, failed = [], []
    for atoms in islice(drawn(options.seed), options.molecules):
        about = {**atoms.info, "atoms": len(atoms)}
        try:
            pair = _relaxed(atoms, ours, FMAX), _relaxed(atoms, theirs, FMAX)
        except (ValueError, CalculationFailed) as error:
            failed.append({**about, "reason": str(error)})
            continue
        row = about | _compared(atoms, *pair)
        if known is not None:
            row["known"] = atoms.info["qm9"] in known
        rows.append(row)
    return {"rows": rows, "failed": failed, "fmax": FMAX}


def _compared(start: Atoms, ours: Relaxed, theirs: Relaxed) -> dict[str, Any]:
    """How far two minima are from each other, and from where both began."""
    heavy = start.numbers > 1
    at = [each.positions[heavy] for each in (ours.atoms, theirs.atoms, start)]
    return {
        "rmsd": rmsd(at[0], at[1]),
        "moved": rmsd(at[1], at[2]),
        "steps": [ours.n_steps, theirs.n_steps],
        "converged": [ours.converged, theirs.converged],
        "broken": [ours.broken, theirs.broken],
    }


def rmsd(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Root mean square distance of (n, 3) points in Å, after the best translation and rotation.

    Source:
        Kabsch, Acta Cryst. A 32, 922 (1976). A mirror image is no rotation.
    """
    a, b = a - a.mean(0), b - b.mean(0)
    u, s, vt = np.linalg.svd(a.T @ b)
    s[-1] *= np.sign(np.linalg.det(u @ vt))
    square = (a**2).sum() + (b**2).sum() - 2 * s.sum()
    return float(np.sqrt(max(square, 0.0) / len(a)))


# vib


def frequencies(options: argparse.Namespace) -> dict[str, Any]:
    """Harmonic frequencies of both, each at its own minimum, by the same differences."""
    ours, theirs = MolgeoCalculator(options.model, "cpu", dtype="float64"), REFERENCE.calculator()
    small = dict(islice(SMALL.items(), options.small))
    strange = {} if options.quick else STRANGE
    rows = []
    for name, formula in (small | strange).items():
        atoms = molecule(formula)
        atoms.rattle(RATTLE, seed=options.seed)
        modes = [vibrations(_relaxed(atoms, calc, VIB_FMAX).atoms) for calc in (ours, theirs)]
        row = {"name": name, "formula": formula, "counted": name in small}
        rows.append(row | _errors(*modes))
    return {"rows": rows, "fmax": VIB_FMAX}


def _errors(ours: Modes, theirs: Modes) -> dict[str, Any]:
    """Frequencies in 1/cm in ascending order, and their differences.

    Where one minimum is linear and the other is not, one has a rotation for the other's lowest
    mode, which counts as a frequency of zero.
    """
    a, b = (sorted(each.frequencies_cm) for each in (ours, theirs))
    n = max(len(a), len(b))
    a, b = ([0.0] * (n - len(each)) + each for each in (a, b))
    return {"ours": a, "theirs": b, "errors": [x - y for x, y in zip(a, b, strict=True)]}


# nve and nvt


def constant_energy(options: argparse.Namespace) -> dict[str, Any]:
    """Whether the total energy of each of the ten drifts, and molecules stay whole."""
    settings = _settings("nve", options.nve_temperature, options.nve_ps, options)
    rows = []
    for atoms in _at_minima(options):
        table, about = _simulated(atoms, settings, options)
        total = 1e3 * table["total_eV"] / len(atoms)
        about["temperature"] = float(table["temperature_K"].mean())
        rows.append(atoms.info | about | line(table["time_fs"] / 1e3, total))
        print(json.dumps(rows[-1], ensure_ascii=False), file=sys.stderr, flush=True)
    return {"rows": rows, "settings": asdict(settings)}


def constant_temperature(options: argparse.Namespace) -> dict[str, Any]:
    """Whether the mean temperature of the ten, in one system, is the one that was asked for.

    They are too far apart to know of each other: so many degrees of freedom make a mean exact.
    """
    settings = _settings("nvt", TEMPERATURE, options.nvt_ps, options)
    system = Atoms()
    for place, atoms in enumerate(_at_minima(options)):
        atoms.positions += [place * APART, 0.0, 0.0] - atoms.get_center_of_mass()
        system += atoms
    table, about = _simulated(system, settings, options)
    counted = table["step"] > EQUILIBRATION * settings.steps
    block = round(1e3 * min(BLOCK_PS, 0.1 * options.nvt_ps) / TIMESTEP_FS / INTERVAL)
    about["temperature"], about["error"] = mean_of_blocks(table["temperature_K"][counted], block)
    about["degrees"] = degrees_of_freedom(system, "nvt", settings.thermostat)
    return about | {"counted": int(counted.sum()), "settings": asdict(settings)}


def line(time_ps: NDArray[np.float64], energy: NDArray[np.float64]) -> dict[str, float]:
    """Slope of the least-squares line, and what is left of it (root mean square)."""
    slope, start = np.polyfit(time_ps - time_ps.mean(), energy - energy.mean(), 1)
    left = energy - energy.mean() - start - slope * (time_ps - time_ps.mean())
    return {"drift": float(slope), "noise": float(np.sqrt((left**2).mean()))}


def _settings(
    ensemble: Any, temperature: float, length_ps: float, options: argparse.Namespace
) -> MDSettings:
    return MDSettings(
        ensemble=ensemble,
        temperature=temperature,
        timestep=TIMESTEP_FS,
        steps=round(1e3 * length_ps / TIMESTEP_FS),
        thermostat=options.thermostat,
        thermostat_time=THERMOSTAT_FS,
        interval=INTERVAL,
        seed=options.seed,
    )


def _at_minima(options: argparse.Namespace) -> Iterator[Atoms]:
    calc = MolgeoCalculator(options.model, "cpu", dtype="float64")
    for atoms in ten(options.seed)[: options.runs]:
        yield _relaxed(atoms, calc, FMAX).atoms


def _simulated(
    atoms: Atoms, settings: MDSettings, options: argparse.Namespace
) -> tuple[dict[str, NDArray[np.float64]], dict[str, Any]]:
    """The table of a run in float32, and how it ended."""
    atoms.calc = MolgeoCalculator(options.model, "cpu")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "md.csv"
        outcome = simulate(atoms, settings, log.with_suffix(".traj"), log)
        about = {"atoms": len(atoms), "stopped": outcome.reason, "steps": outcome.step}
        return _read(log), about


def _read(log: Path) -> dict[str, NDArray[np.float64]]:
    """Columns of a table, those that are full."""
    with log.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {k: np.array([float(row[k]) for row in rows]) for k, first in rows[0].items() if first}


def _relaxed(atoms: Atoms, calc: Calculator, fmax: float) -> Relaxed:
    own = atoms.copy()
    own.calc = calc
    return relax(own, fmax)


PARTS = {
    "relax": relaxations,
    "vib": frequencies,
    "nve": constant_energy,
    "nvt": constant_temperature,
}
QUICK = {"molecules": 3, "small": 2, "runs": 1, "nve_ps": 0.1, "nvt_ps": 0.2}
FULL = {"molecules": 200, "small": len(SMALL), "runs": 10, "nve_ps": 10.0, "nvt_ps": 6.0}


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--model", help="name or path of a force field; default: the shipped one")
    parser.add_argument("--molecules", type=int, help="of QM9's test part, to relax")
    parser.add_argument("--nve-ps", type=float, help="length of each run, ps")
    parser.add_argument("--nvt-ps", type=float, help="length of the run, ps")
    parser.add_argument("--nve-temperature", type=float, default=TEMPERATURE, help="K, at first")
    parser.add_argument("--thermostat", default="langevin", help="of nvt")
    parser.add_argument("--seed", type=int, default=0, help="of the draw, momenta and noise")
    parser.add_argument(
        "--trained-on", type=Path, nargs="+", help="npz files with QM9's indices: tell them apart"
    )
    parser.add_argument("--quick", action="store_true", help="that it runs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    for name, value in (QUICK if options.quick else FULL).items():
        if getattr(options, name, None) is None:
            setattr(options, name, value)
    return options


if __name__ == "__main__":
    main()
