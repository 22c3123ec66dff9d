"""The structures of the set, chunk by chunk; a run that was killed goes on if it is called again.

    python benchmarks/force_field_data/structures.py OUT [--chunks 40]

Each file is what ``molgeo data sample`` makes of a list with the options below. They stand beside
the lists: ``OUT/NNN/{list,qm9,changed,large}-{train,validation,test}.extxyz``, and ``small``,
``conjugated`` and ``water`` for training.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from rdkit import RDLogger

from molgeo.generate.plan import SamplePlan
from molgeo.generate.sample import sample_structures

HERE = Path(__file__).parent
PARTS = ("train", "validation", "test")
SEED = 1000
"""Of the first file; each further one has the next."""

COMMON = {
    "thermal": 0,
    "amplitudes": (0.01, 0.15),
    "temperatures": (100.0, 200.0, 300.0, 300.0, 500.0, 800.0, 1200.0),
    "contacts": (0.55, 3.0),
    "relaxation": 40,
    "most_atoms": 60,
}
MANY = {
    **COMMON,
    "vibrations": 3.5,
    "torsions": 2.0,
    "bends": 0.5,
    "stretches": 0.8,
    "noise": 0.4,
    "geometry": 0.3,
    "dimers": 1.2,
    "largest": 3,
    "partners": ("O",),
    "transfers": 0.35,
    "conformers": 2,
}
IONS = ("[Cl-]", "[Br-]", "[F-]", "[OH-]", "[OH3+]", "[NH4+]", "C[NH3+]", "CC(=O)[O-]")
PLANS = {
    "list": MANY,
    "qm9": {**MANY, "conformers": 1},
    "changed": {**MANY, "conformers": 1},
    "small": {
        **COMMON,
        "temperatures": (100.0, 300.0, 600.0, 1200.0, 2500.0, 5000.0),
        "amplitudes": (0.01, 0.25),
        "vibrations": 2.5,
        "bends": 1.2,
        "stretches": 1.5,
        "torsions": 0.5,
        "noise": 0.6,
        "geometry": 0.1,
        "dimers": 2.0,
        "largest": 4,
        "most_atoms": 40,
        "partners": ("O", "O", *IONS, "CO", "C", "N", "OC=O", "c1ccccc1", "CS"),
        "transfers": 0.5,
    },
    "conjugated": {
        **COMMON,
        "vibrations": 2.0,
        "torsions": 3.0,
        "bends": 0.3,
        "stretches": 0.7,
        "noise": 0.5,
        "geometry": 0.1,
        "dimers": 1.2,
        "largest": 3,
        "partners": ("O", "c1ccccc1"),
        "transfers": 1.5,
    },
    "large": {
        **COMMON,
        "vibrations": 2.5,
        "torsions": 1.5,
        "noise": 0.3,
        "geometry": 0.2,
        "dimers": 0.5,
        "largest": 2,
        "most_atoms": 100,
        "partners": ("O", "O"),
    },
    "water": {
        **COMMON,
        "dimers": 180.0,
        "largest": 8,
        "transfers": 20.0,
        "vibrations": 10.0,
        "noise": 0,
        "geometry": 0,
        "relaxation": 120,
        "contacts": (0.55, 3.3),
    },
}


def files(out: Path, chunks: int) -> list[tuple[str, str, Path]]:
    """What is sampled, its plan, and the structures, in the order in which they are made."""
    folders = [out / f"{k:03d}" for k in range(chunks)]

    def lists(folder: Path, *sources: str) -> list[tuple[str, str, Path]]:
        return [
            (str(folder / f"{s}-{part}.smi"), s, folder / f"{s}-{part}.extxyz")
            for s in sources
            for part in PARTS
        ]

    found = []
    for folder in folders:
        found += lists(folder, "list", "qm9", "changed")
        found += [
            (str(HERE / f"{s}.smi"), s, folder / f"{s}-train.extxyz")
            for s in ("small", "conjugated")
        ]
        found.append(("O", "water", folder / "water-train.extxyz"))
    for folder in folders:
        found += lists(folder, "large")
    return found


def is_empty(source: str) -> bool:
    """Whether a list has no molecule: none of its chunk is in its part."""
    return source.endswith(".smi") and not Path(source).read_text().strip()


def main() -> None:
    """Go on from what is there."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--chunks", type=int, default=40)
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    start = time.monotonic()
    for seed, (source, plan, output) in enumerate(files(options.out, options.chunks), SEED + 1):
        if is_empty(source):
            continue
        kept = sample_structures([source], output, SamplePlan(**PLANS[plan], seed=seed), 0, 1)
        minutes = (time.monotonic() - start) / 60
        print(f"{minutes:6.1f} min {output}: {kept.done}, {kept.failed} failed", flush=True)


if __name__ == "__main__":
    main()
