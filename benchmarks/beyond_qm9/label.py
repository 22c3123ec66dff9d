"""Labels at QM9's level at the geometries of a folder, such as those that `relax.py` made.

Goes on from what is there; several may run at once, each with its own share.

    pip install .[pyscf]
    OMP_NUM_THREADS=1 python benchmarks/beyond_qm9/label.py [FOLDER]
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
from contextlib import contextmanager
from pathlib import Path

import ase.io
import numpy as np
from labelled import by_name
from level import DEBYE, Level
from pyscf import lib

HERE = Path(__file__).parent
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


@contextmanager
def claim(folder: Path, name: str) -> Iterator[bool]:
    """Whether this process is the one that does it.

    The lock ends with the process, so what was killed half-way is done by the next run.
    """
    with (folder / ".claims" / name).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def order(folder: Path) -> list[str]:
    """Names, so that an early end leaves some of each set and size."""
    names = [row["name"] for row in csv.DictReader((folder / "molecules.csv").open())]
    return np.random.default_rng(0).permutation(names).tolist()


def is_wanted(folder: Path, name: str, wanted: str) -> bool:
    """Whether a molecule has neither this label nor a reason why it has none."""
    row = by_name(folder / "labels.jsonl").get(name, {})
    return wanted not in row and "state" not in row


def write(folder: Path, name: str, atoms: ase.Atoms, with_alpha: bool) -> None:
    """Label one molecule, or say why it has no label."""
    start = time.monotonic()
    try:
        row = labels(list(atoms.symbols), atoms.positions, with_alpha)
    except (RuntimeError, np.linalg.LinAlgError) as error:
        row = {"state": str(error)}
    seconds = time.monotonic() - start
    with (folder / "labels.jsonl").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps({"name": name, **row}) + "\n")
    print(name, len(atoms), f"{seconds:.0f} s", row, flush=True)


def main() -> None:
    """Label what has a geometry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder", type=Path, nargs="?", default=HERE, help="with molecules.csv, geometries.extxyz"
    )
    parser.add_argument("--alpha", action="store_true", help="polarizabilities too")
    parser.add_argument("--most", type=int, default=99, help="heavy atoms of the largest molecule")
    args = parser.parse_args()
    lib.num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    folder = args.folder
    (folder / ".claims").mkdir(exist_ok=True)
    geometries = {
        atoms.info["name"]: atoms
        for atoms in ase.io.iread(folder / "geometries.extxyz", ":")
        if atoms.info["state"] == "ok"
    }
    wanted = "alpha_bohr3" if args.alpha else "gap_eV"
    for name in order(folder):
        atoms = geometries.get(name)
        if (
            atoms is None
            or sum(atoms.numbers > 1) > args.most
            or not is_wanted(folder, name, wanted)
        ):
            continue
        with claim(folder, f"{name}.{wanted}") as is_own:
            if is_own and is_wanted(folder, name, wanted):
                write(folder, name, atoms, args.alpha)


if __name__ == "__main__":
    main()
