"""Labels at QM9's level at the geometries of a folder, such as those that `relax.py` made.

Goes on from what is there; several may run at once, each with its own share.

    pip install .[pyscf]
    OMP_NUM_THREADS=1 python benchmarks/beyond_qm9/label.py [FOLDER]
    OMP_NUM_THREADS=1 python benchmarks/beyond_qm9/label.py --alpha --most 12
    OMP_NUM_THREADS=1 python benchmarks/beyond_qm9/label.py [FOLDER] --rough    # rough.jsonl
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import ase.io
import numpy as np
from labelled import by_name
from level import DEBYE, QM9_LEVEL, ROUGH, Level
from pyscf import lib

HERE = Path(__file__).parent
HARTREE = 27.211386245988


class Task(NamedTuple):
    """What is wanted of each molecule.

    Attributes:
        folder: with geometries.extxyz.
        with_alpha: the polarizability too.
        is_rough: in a smaller basis.
    """

    folder: Path
    with_alpha: bool
    is_rough: bool

    @property
    def file(self) -> Path:
        """Where the labels are."""
        return self.folder / ("rough.jsonl" if self.is_rough else "labels.jsonl")

    @property
    def wanted(self) -> str:
        """A label that a molecule has if it is done."""
        return "alpha_bohr3" if self.with_alpha else "gap_eV"

    def is_left(self, name: str) -> bool:
        """Whether a molecule has neither the label nor a reason why it has none, by the file."""
        return not self.is_done(by_name(self.file).get(name, {}))

    def is_done(self, row: dict[str, object]) -> bool:
        """Whether a molecule of which this is known has one of both."""
        return self.wanted in row or "state" in row


def labels(symbols: list[str], positions: np.ndarray, task: Task) -> dict[str, float]:
    """The labels of one molecule, in eV, Debye, bohr², bohr³."""
    level = Level(symbols, positions, ROUGH if task.is_rough else QM9_LEVEL)
    found = level.solve()
    made = {
        "energy_eV": found.energy * HARTREE,
        "homo_eV": found.homo * HARTREE,
        "lumo_eV": found.lumo * HARTREE,
        "gap_eV": (found.lumo - found.homo) * HARTREE,
        "mu_debye": float(np.linalg.norm(found.dipole)) * DEBYE,
        "r2_bohr2": found.r2,
    }
    if task.with_alpha:
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


def write(task: Task, name: str, atoms: ase.Atoms) -> None:
    """Label one molecule, or say why it has no label."""
    start = time.monotonic()
    try:
        row = labels(list(atoms.symbols), atoms.positions, task)
    except (RuntimeError, np.linalg.LinAlgError) as error:
        row = {"state": str(error)}
    seconds = time.monotonic() - start
    with task.file.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps({"name": name, **row}) + "\n")
    print(name, len(atoms), f"{seconds:.1f} s", row, flush=True)


def main() -> None:
    """Label what has a geometry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=HERE, help="with geometries.extxyz")
    parser.add_argument("--alpha", action="store_true", help="polarizabilities too")
    parser.add_argument("--rough", action="store_true", help="in a smaller basis")
    parser.add_argument("--most", type=int, default=99, help="heavy atoms of the largest molecule")
    args = parser.parse_args()
    lib.num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    task = Task(args.folder, args.alpha, args.rough)
    (task.folder / ".claims").mkdir(exist_ok=True)
    geometries = {
        atoms.info["name"]: atoms
        for atoms in ase.io.iread(task.folder / "geometries.extxyz", ":")
        if atoms.info["state"] == "ok"
    }
    known = by_name(task.file)
    for name, atoms in geometries.items():
        if sum(atoms.numbers > 1) > args.most or task.is_done(known.get(name, {})):
            continue
        with claim(task.folder, f"{name}.{task.file.stem}.{task.wanted}") as is_own:
            if is_own and task.is_left(name):
                write(task, name, atoms)


if __name__ == "__main__":
    main()
