"""Which teacher a force field should learn from: both beside what is better than either.

    python benchmarks/teachers.py GFN2.safetensors AIMNET2.safetensors --forces aspirin.xyz 3bpa.xyz

Models are checkpoints of the same small net, trained on the same configurations
(`force_field_data/gfn2.py`); the teachers are named ``xtb`` and ``aimnet2``. The references are
the interaction energies of S22x5 (CCSD(T) at the limit of the basis, in ASE) and the forces and
relative energies of files.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import s22
from ase.units import kcal, mol

from molgeo.generate.label import SHORT_NAMES, Method
from molgeo.simulation.calculator import MolgeoCalculator

KCAL = kcal / mol
"""eV."""
DISTANCES = (0.9, 1.0, 1.2, 1.5, 2.0)
"""Of S22x5, in units of the distance at the minimum."""
HYDROGEN_BONDED, DISPERSION = 7, 15
"""Dimers of S22: the first are hydrogen-bonded, those up to the second are held by dispersion."""


def main() -> None:
    """Judge each model and teacher."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", help="checkpoints")
    parser.add_argument("--forces", type=Path, nargs="*", default=[])
    parser.add_argument("--frames", type=int, default=100, help="of each file, drawn")
    parser.add_argument("--json", type=Path, help="what is there is not computed again")
    options = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = {}
    if options.json and options.json.exists():
        report = json.loads(options.json.read_text())
    for name in [*options.names, "xtb", "aimnet2"]:
        if Path(name).stem in report:
            continue
        calculator = (
            Method(name).calculator()
            if name in SHORT_NAMES
            else MolgeoCalculator(name, "cpu", check_geometry=False, allow_unfamiliar=True)
        )
        found = {"dimers": dimers(calculator)}
        found |= {path.stem: beside(path, calculator, options.frames) for path in options.forces}
        report[Path(name).stem] = found
        print(Path(name).stem, json.dumps(found), flush=True)
        if options.json:
            options.json.write_text(json.dumps(report, indent=1) + "\n")


def dimers(calculator: Calculator) -> dict[str, float]:
    """Mean absolute errors of interaction energies in kcal/mol, at the minimum and by distance."""
    errors = []
    for system in s22.s22:
        row = []
        for distance in DISTANCES:
            name = f"{system}_{distance}"
            both = s22.create_s22_system(name)
            n = s22.get_number_of_dimer_atoms(name)
            first, second = both[: n[0]], both[n[0] :]
            energy = [_energy(each, calculator) for each in (both, first, second)]
            reference = s22.get_interaction_energy_s22x5(name)
            row.append((energy[0] - energy[1] - energy[2] - reference) / KCAL)
        errors.append(row)
    wrong = np.abs(np.array(errors))
    found = {"all": wrong.mean(), "hydrogen-bonded": wrong[:HYDROGEN_BONDED].mean()}
    found |= {
        "dispersion": wrong[HYDROGEN_BONDED:DISPERSION].mean(),
        "mixed": wrong[DISPERSION:].mean(),
    }
    found |= {f"at {d:g}": wrong[:, k].mean() for k, d in enumerate(DISTANCES)}
    return {name: float(value) for name, value in found.items()}


def beside(path: Path, calculator: Calculator, n: int) -> dict[str, float]:
    """Errors of forces in meV/Å, and of energies relative to their mean in kcal/mol."""
    frames = ase.io.read(path, ":")
    drawn = np.random.default_rng(0).permutation(len(frames))[:n]
    energies, forces = [], []
    for k in drawn:
        frame = frames[k]
        reference = _labels(frame)
        own = Atoms(frame.numbers, frame.positions, calculator=calculator)
        energies.append((own.get_potential_energy(), reference[0]))
        forces.append(np.abs(own.get_forces() - reference[1]).mean())
    off = np.diff(np.array(energies), axis=1)[:, 0]
    return {
        "forces": float(1e3 * np.mean(forces)),
        "energies": float(np.abs(off - off.mean()).mean() / KCAL),
    }


def _labels(frame: Atoms) -> tuple[float, np.ndarray]:
    """Energy and forces of a file, by the names that they may have."""
    if frame.calc is not None:
        return frame.get_potential_energy(), frame.get_forces()
    energy = next(frame.info[k] for k in frame.info if k.lower().endswith("energy"))
    force = next(v for k, v in frame.arrays.items() if k.lower().startswith("force"))
    return float(energy), force


def _energy(atoms: Atoms, calculator: Calculator) -> float:
    own = Atoms(atoms.numbers, atoms.positions, calculator=calculator)
    return float(own.get_potential_energy())


if __name__ == "__main__":
    main()
