"""Labels at QM9's level at the geometries that `relax.py` made.

Goes on from what is there; several may run at once, each with its own share.

    pip install .[pyscf]
    OMP_NUM_THREADS=1 python benchmarks/beyond_qm9/label.py
    OMP_NUM_THREADS=1 python benchmarks/beyond_qm9/label.py --alpha --most 12
"""

from __future__ import annotations

import argparse
import csv
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import ase.io
import numpy as np
from level import DEBYE, Level
from pyscf import lib

HERE = Path(__file__).parent
LABELS = HERE / "labels.jsonl"
HARTREE = 27.211386245988


def labels(symbols: list[str], positions: np.ndarray, with_alpha: bool) -> dict[str, float]:
    """The labels of one molecule, in eV, Debye, bohr², bohr³."""
    level = Level(symbols, positions)
    found = level.solve()
    made = {
        "energy_eV": found.energy * HARTREE,
        "homo_eV": found.homo * HARTREE,
        "lumo_eV": found.lumo * HARTREE,
        "gap_eV": (found.lumo - found.homo) * HARTREE,
        "mu_debye": float(np.linalg.norm(found.dipole)) * DEBYE,
        "r2_bohr2": found.r2,
    }
    if with_alpha:
        made["alpha_bohr3"] = level.polarizability(found)
    return {name: round(value, 6) for name, value in made.items()}


def claimed(name: str) -> bool:
    """Whether this process is the one that does it."""
    try:
        (HERE / ".claims" / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def order(with_alpha: bool) -> Iterator[str]:
    """Names, so that an early end leaves some of each set and size."""
    rows = list(csv.DictReader((HERE / "molecules.csv").open()))
    rng = np.random.default_rng(0)
    for k in rng.permutation(len(rows)):
        yield rows[k]["name"]


def done() -> dict[str, dict]:
    """What is there: the latest line of each molecule."""
    found: dict[str, dict] = {}
    if LABELS.exists():
        for line in LABELS.read_text().splitlines():
            row = json.loads(line)
            found[row["name"]] = found.get(row["name"], {}) | row
    return found


def main() -> None:
    """Label what has a geometry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alpha", action="store_true", help="polarizabilities too")
    parser.add_argument("--most", type=int, default=99, help="heavy atoms of the largest molecule")
    args = parser.parse_args()
    lib.num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    (HERE / ".claims").mkdir(exist_ok=True)
    geometries = {
        atoms.info["name"]: atoms
        for atoms in ase.io.iread(HERE / "geometries.extxyz", ":")
        if atoms.info["state"] == "ok"
    }
    wanted = "alpha_bohr3" if args.alpha else "gap_eV"
    for name in order(args.alpha):
        atoms = geometries.get(name)
        if atoms is None or sum(atoms.numbers > 1) > args.most or wanted in done().get(name, {}):
            continue
        if not claimed(f"{name}.{wanted}"):
            continue
        start = time.monotonic()
        try:
            row = labels(list(atoms.symbols), atoms.positions, args.alpha)
        except RuntimeError as error:
            row = {"state": str(error)}
        seconds = time.monotonic() - start
        with LABELS.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps({"name": name, **row}) + "\n")
        print(name, len(atoms), f"{seconds:.0f} s", row, flush=True)


if __name__ == "__main__":
    main()
