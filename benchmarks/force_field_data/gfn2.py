"""Label some structures of a pack with GFN2-xTB, to compare teachers on the same ones.

    OMP_NUM_THREADS=1 python benchmarks/force_field_data/gfn2.py PACK OUT [--structures 22000]

They are drawn by a seed over all kinds. Labels are kept in ``OUT/gfn2-NNN.npz``, 500 structures
each, and a run that was killed goes on after them. The arrays are those of ``labelled.npz`` of
`label_gpu`, and ``row``, the number of the structure in the pack. What does not converge, and what
has forces above 30 eV/Å, is left out.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from label_gpu import LARGEST_FORCE, Arrays, read_pack, subset
from tblite.interface import Calculator

from molgeo.units import BOHR, HARTREE

SEED = 7
PER_FILE = 500
KEPT = ("n", "charge", "group", "part", "kind", "source")


def labelled(pack: Arrays, rows: np.ndarray) -> Arrays:
    """The arrays of some structures; rows ascend."""
    some = subset(pack, rows)
    ptr = np.concatenate([[0], np.cumsum(some["n"], dtype=np.int64)])
    e, f, good = np.zeros(len(rows)), np.zeros((ptr[-1], 3), np.float32), np.ones(len(rows), bool)
    for k in range(len(rows)):
        a, b = ptr[k : k + 2]
        pos = some["r"][a:b].astype(np.float64) / BOHR
        calculator = Calculator("GFN2-xTB", some["z"][a:b].astype(int), pos, some["charge"][k])
        calculator.set("verbosity", 0)
        try:
            result = calculator.singlepoint()
        except RuntimeError:  # the charges do not converge
            good[k] = False
            continue
        e[k] = result.get("energy") * HARTREE
        f[a:b] = -result.get("gradient") * HARTREE / BOHR
        good[k] = np.isfinite(f[a:b]).all()
        good[k] &= np.linalg.norm(f[a:b], axis=1).max() < LARGEST_FORCE
    atoms = np.repeat(good, some["n"])
    made = {"z": some["z"][atoms], "r": some["r"][atoms], "f": f[atoms]}
    made |= {"e": e[good], "row": rows[good]}
    return made | {key: some[key][good] for key in KEPT}


def main() -> None:
    """Go on from what is there."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pack", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--structures", type=int, default=22_000)
    options = parser.parse_args()
    pack = read_pack(options.pack)
    drawn = np.random.default_rng(SEED).permutation(len(pack["n"]))[: options.structures]
    options.out.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    for k, first in enumerate(range(0, len(drawn), PER_FILE)):
        path = options.out / f"gfn2-{k:03d}.npz"
        if path.exists():
            continue
        made = labelled(pack, np.sort(drawn[first : first + PER_FILE]))
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez_compressed(file, **made)
        part.rename(path)
        print(f"{time.monotonic() - start:.0f} s: {path}, {len(made['e'])} labelled", flush=True)


if __name__ == "__main__":
    main()
