"""Harmonic frequencies by AIMNet2 of the molecules of a folder, at its own minima.

A geometry of another level goes to AIMNet2's next minimum first. QM9's level has frequencies that
differ by a few percent: who knows those of some molecules can tell the factor.

Goes on from what is there.

    python benchmarks/beyond_qm9/frequencies.py FOLDER
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import ase
import ase.io
import numpy as np
import torch
from ase.optimize import BFGS
from relax import AIMNet2, neighbours

from molgeo.simulation.vibrations import modes_of

DISPLACEMENT = 0.005
"""Å: AIMNet2 computes in float32."""
FMAX = 0.003
"""eV/Å."""
AT_ONCE = 600
"""Atoms of displaced copies that are computed together."""


def hessian(calculator: AIMNet2, atoms: ase.Atoms) -> np.ndarray:
    """Central differences of forces, eV/Å²."""
    n = 3 * len(atoms)
    steps = DISPLACEMENT * np.concatenate([-np.eye(n), np.eye(n)])
    moved = torch.tensor(atoms.positions.reshape(-1) + steps).reshape(-1, len(atoms), 3).float()
    numbers = torch.tensor(atoms.numbers)
    forces = []
    for part in moved.split(max(1, AT_ONCE // len(atoms))):
        inputs = {
            "coord": part,
            "numbers": numbers.expand(len(part), -1),
            "charge": torch.zeros(len(part)),
        }
        forces.append(calculator.model(inputs)["forces"].double())
    less, more = torch.cat(forces).reshape(2, n, n).numpy()
    found = (less - more) / (2 * DISPLACEMENT)
    return (found + found.T) / 2


def main() -> None:
    """Write frequencies.jsonl."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    path, done = folder / "frequencies.jsonl", set()
    if path.exists():
        done = {json.loads(line)["name"] for line in path.read_text().splitlines()}
    calculator = AIMNet2()
    for atoms in ase.io.iread(folder / "geometries.extxyz", ":"):
        name = atoms.info["name"]
        if name in done or atoms.info["state"] != "ok":
            continue
        before = neighbours(atoms)
        atoms.calc = calculator
        with BFGS(atoms, logfile=None) as optimiser:
            converged = optimiser.run(fmax=FMAX, steps=300)
        if not converged or neighbours(atoms) != before:
            row: dict[str, object] = {"state": "no minimum with these bonds"}
        else:
            modes = modes_of(atoms, hessian(calculator, atoms))
            row = {"frequencies_cm": [round(x, 1) for x in modes.frequencies_cm]}
            if not all(map(math.isfinite, modes.frequencies_cm)):
                row = {"state": "no finite frequencies"}
        with path.open("a") as file:
            file.write(json.dumps({"name": name, **row}) + "\n")
        print(name, str(row)[:60], flush=True)


if __name__ == "__main__":
    main()
