"""The structures of the set, chunk by chunk; a run that was killed goes on if it is called again.

    python benchmarks/force_field_data/structures.py OUT [--chunks 40]

Each file is what ``molgeo data sample`` makes of a list with the options below. They stand beside
the lists, ``OUT/NNN/SOURCE-PART.extxyz``. Each chunk is a fair sample, so that a few of them do.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import NamedTuple

from rdkit import RDLogger

from molgeo.generate.plan import SamplePlan
from molgeo.generate.sample import sample_structures

HERE = Path(__file__).parent
PARTS = ("train", "validation", "test")
SEED, MORE, MEDIUM = 1001, 20_001, 30_001
"""Of the first file of each kind; each further one has the next."""

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
        "torsions": 6.0,
        "bends": 0.3,
        "stretches": 0.7,
        "noise": 0.5,
        "geometry": 0.1,
        "dimers": 2.0,
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
    "medium": {
        **COMMON,
        "vibrations": 5.0,
        "torsions": 4.0,
        "bends": 0.4,
        "stretches": 0.6,
        "noise": 0.5,
        "geometry": 0.5,
        "dimers": 0.7,
        "largest": 2,
        "partners": ("O", "O"),
        "transfers": 0.3,
    },
    "monomers": {
        **COMMON,
        "temperatures": (100.0, 300.0, 300.0, 600.0),
        "vibrations": 0.5,
        "noise": 0,
        "geometry": 0,
        "dimers": 5.0,
        "largest": 3,
        "partners": ("O", "c1ccccc1"),
    },
    "tautomers": {
        **COMMON,
        "vibrations": 0.5,
        "noise": 0,
        "geometry": 0,
        "dimers": 0.5,
        "partners": ("O",),
        "transfers": 4.0,
    },
    "liquid": {
        **COMMON,
        "vibrations": 5.0,
        "noise": 0,
        "geometry": 0,
        "dimers": 25.0,
        "largest": 20,
        "relaxation": 200,
        "contacts": (0.58, 0.9),
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


class Task(NamedTuple):
    """One file of structures: what is sampled, by which plan, from which seed."""

    source: str
    plan: str
    seed: int
    output: Path

    @property
    def part(self) -> str:
        """Of all its molecules."""
        return self.output.stem.split("-")[1]

    @property
    def done(self) -> Path:
        """A file that is there if all structures are."""
        return self.output.with_suffix(".done")


def tasks(out: Path, chunks: int) -> list[Task]:
    """Those of all chunks, in the order in which they are made; lists without molecules make none.

    Args:
        out: folder of the chunks.
        chunks: how many.
    """
    found = []
    for k in range(chunks):
        folder = out / f"{k:03d}"

        def drawn(*names: str, folder: Path = folder) -> list[tuple[str, str, str]]:
            return [(str(folder / f"{n}-{part}.smi"), n, part) for n in names for part in PARTS]

        def named(*names: str) -> list[tuple[str, str, str]]:
            return [(str(HERE / f"{n}.smi"), n, "train") for n in names]

        first = [*drawn("list", "qm9", "changed"), *named("small", "conjugated")]
        first.append(("O", "water", "train"))
        more = [*drawn("large"), *named("monomers", "tautomers"), ("O", "liquid", "train")]
        last = drawn("medium")
        for start, several in ((SEED, first), (MORE, more), (MEDIUM, last)):
            n = len(several)
            numbered = zip(range(start + n * k, start + n * k + n), several, strict=True)
            for seed, (source, plan, part) in numbered:
                if not source.endswith(".smi") or Path(source).read_text().strip():
                    found.append(Task(source, plan, seed, folder / f"{plan}-{part}.extxyz"))
    return found


def main() -> None:
    """Go on from what is there."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--chunks", type=int, default=40)
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    start = time.monotonic()
    for task in tasks(options.out, options.chunks):
        if task.done.exists():
            continue
        plan = SamplePlan(**PLANS[task.plan], seed=task.seed)
        kept = sample_structures([task.source], task.output, plan, workers=1)
        task.done.touch()
        minutes = (time.monotonic() - start) / 60
        print(f"{minutes:6.1f} min {task.output}: {kept.done}, {kept.failed} failed", flush=True)


if __name__ == "__main__":
    main()
