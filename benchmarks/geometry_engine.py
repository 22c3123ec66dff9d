"""Labels for a force field whose minima are those of B3LYP/6-31G(2df,p).

    python benchmarks/geometry_engine.py WORK --ppe ppe1694.json.gz --rmg rmg.json.gz
    molgeo train --config configs/spectrum_net_b3lyp.yaml     # if WORK is runs/geometry_engine

Minima of that level are known for 130,000 molecules (QM9), energies and forces around them are not.
Those of a force field F are moved to each minimum x0: to its energy a term linear in distances is
added that cancels its forces there,

    E'(x) = E(x) + Σ g_ij (r_ij − r_ij(x0))   with   −∇E'(x0) = 0,

where the g are the smallest ones that do so, if short distances count most. Bonds and angles then
take nearly all of it, which stay as they are if a torsion turns. So structures far from x0 can be
labelled, too, and no frame of reference plays a part.

The two other files are minima of the same level: PPE1694 (moldis-group/prunedhof) and the library
of RMG-database, each a list of ``symbols`` and ``positions``. The test part is a fifth of their
scaffolds and the last 1,000 validation molecules of QM9. A run that was killed goes on.
"""

from __future__ import annotations

import argparse
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from geometry_sources import dft

from molgeo.data.split import TEST, TRAIN, VALIDATION
from molgeo.datasets import QM9
from molgeo.elements import COVALENT_RADII, SYMBOLS
from molgeo.predictor.ensemble import members
from molgeo.runtime.whole_file import replacing
from molgeo.simulation.together import Structure, Together

FIELD: Final = "spectrum_net-aimnet2"
ELEMENTS: Final = frozenset((1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 35))
CHUNK: Final = 1000
"""Molecules of a file."""
PAIRS: Final = 10_000
"""Σ n² of a batch."""
BONDED: Final = 1.25
"""Sums of covalent radii within which two atoms are bonded."""
STIFF: Final = 0.93
"""A bond shorter than this many sums of covalent radii is not turned."""
NEAREST: Final = 0.65
"""Least distance of two atoms after a turn, in sums of covalent radii, if they are not bonded."""
LARGEST: Final = 4.0
"""eV/Å. A minimum at which the field has larger forces is none of the molecule it stands for."""
WEIGHT: Final = 3
"""The g of a pair counts as its distance to this power."""
SMALLEST: Final = 1e-3
"""Singular values below this share of the largest one: a planar molecule has no forces there."""
REPEATS: Final = (4, 1)
"""Times that molecules of the other two files are taken: these are few."""
SEED: Final = 18


class Known(NamedTuple):
    """A minimum of the level.

    Attributes:
        group: of its molecule; the same for all structures that are made of it.
        part: of the split.
        z: (atoms,) atomic numbers.
        pos: (atoms, 3) Å.
        other: (atoms, 3) Å, the minimum of MMFF94 next to it; None if it is not known.
    """

    group: int
    part: int
    z: np.ndarray
    pos: np.ndarray
    other: np.ndarray | None = None


def of_qm9(data: QM9, rows: Sequence[int], part: int) -> Iterator[Known]:
    """Molecules of QM9."""
    mmff = data.geometry("mmff")
    for row, (z, pos) in zip(rows, dft(data, rows), strict=True):
        found = mmff.all_of(torch.tensor([row]), 1)
        other = mmff.molecules.batch(found).pos.double().numpy() if len(found) else None
        yield Known(row, part, z, pos, None if other is None else laid_on(other, pos))


def of_file(path: Path, known_smiles: set[str], number: int) -> Iterator[Known]:
    """Neutral closed-shell molecules of a JSON; a fifth of their scaffolds are the test part.

    Args:
        path: with ``symbols`` and ``positions``.
        known_smiles: of QM9, without stereo: these are left out.
        number: of the file, 0 or 1.
    """
    from rdkit import Chem
    from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

    from molgeo.chem.bonds import from_coordinates

    with gzip.open(path) as file:
        entries = json.load(file)
    for k, entry in enumerate(entries):
        z = np.array([SYMBOLS.index(s) for s in entry["symbols"]])
        pos = np.array(entry["positions"], float)
        is_plain = not entry.get("charge") and entry.get("multiplicity", 1) == 1
        if not is_plain or len(z) < 2 or not ELEMENTS.issuperset(z.tolist()):
            continue
        mol = from_coordinates(z, pos)
        if mol is None:
            continue
        flat = Chem.MolToSmiles(Chem.RemoveHs(mol), isomericSmiles=False)
        if flat in known_smiles or "." in flat:
            continue
        name = MurckoScaffoldSmiles(flat) or "".join(sorted(entry["symbols"]))
        part = TEST if zlib.crc32(name.encode()) % 5 == 0 else TRAIN
        one = Known((number + 1) * 10_000_000 + k, part, z, pos)
        yield from [one] * (REPEATS[number] if part == TRAIN else 1)


def laid_on(pos: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Positions, moved as a whole onto others of the same atoms (Kabsch)."""
    centre, there = pos.mean(0), other.mean(0)
    u, _, vt = np.linalg.svd((pos - centre).T @ (other - there))
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    return (pos - centre) @ (u @ sign @ vt) + there


def structures(known: Known, rng: np.random.Generator) -> list[np.ndarray]:
    """(atoms, 3) Å each: the minimum itself, and what is around it.

    One is on the way to MMFF94's minimum or beyond either end; of half of the molecules another one
    has more noise, and if it can, torsions that are turned to any angle.
    """
    made = [known.pos]
    start, width = known.pos, np.exp(rng.uniform(*np.log([0.005, 0.03])))
    if known.other is not None and np.sqrt(((known.other - known.pos) ** 2).sum(1).mean()) < 0.5:
        start = known.pos + rng.uniform(-0.5, 1.3) * (known.other - known.pos)
    made.append(start + width * rng.standard_normal(start.shape))
    if rng.random() < 0.5:
        pos = turned(known.z, known.pos, rng) if rng.random() < 0.7 else known.pos
        width = np.exp(rng.uniform(*np.log([0.01, 0.07])))
        made.append(pos + width * rng.standard_normal(pos.shape))
    return made


def turned(z: np.ndarray, pos: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One to three bonds outside rings turned to any angle; the same if atoms would clash."""
    radii = np.array(COVALENT_RADII)[z]
    sums = radii[:, None] + radii
    ratio = np.linalg.norm(pos[:, None] - pos, axis=-1) / sums
    bonded = (ratio < BONDED) & ~np.eye(len(z), dtype=bool)
    degree = bonded.sum(1)
    free = [
        (i, j, side)
        for i, j in zip(*np.nonzero(bonded & (ratio > STIFF)), strict=True)
        if degree[i] > 1 and degree[j] > 1 and not (side := _side(bonded, i, j))[i]
    ]
    for _ in range(4 if free else 0):
        moved = pos.copy()
        for k in rng.choice(len(free), min(len(free), int(rng.integers(1, 4))), replace=False):
            i, j, side = free[k]
            axis = (moved[j] - moved[i]) / np.linalg.norm(moved[j] - moved[i])
            K = np.cross(np.eye(3), axis)
            angle = rng.uniform(-np.pi, np.pi)
            R = np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * K @ K
            moved[side] = (moved[side] - moved[j]) @ R.T + moved[j]
        after = np.linalg.norm(moved[:, None] - moved, axis=-1) / sums
        if (bonded | (after > NEAREST) | np.eye(len(z), dtype=bool)).all():
            return moved
    return pos


def _side(bonded: np.ndarray, i: int, j: int) -> np.ndarray:
    """(atoms,) bool, those that are reached from j without the bond to i; of a ring i is, too."""
    without = bonded.copy()
    without[i, j] = without[j, i] = False
    reached = np.zeros(len(bonded), dtype=bool)
    reached[j] = True
    for _ in bonded:
        reached |= without[reached].any(0)
    return reached


def pulls(pos: np.ndarray, forces: np.ndarray) -> np.ndarray:
    """(pairs,) g in eV/Å that cancel the forces at a structure."""
    i, j = np.triu_indices(len(pos), 1)
    vector = pos[i] - pos[j]
    r = np.linalg.norm(vector, axis=1)
    A = np.zeros((len(pos), 3, len(r)))
    pair = np.arange(len(r))
    A[i, :, pair] = -vector / r[:, None]
    A[j, :, pair] = vector / r[:, None]
    weight = r**-WEIGHT
    found = np.linalg.lstsq(A.reshape(-1, len(r)) * weight, -forces.ravel(), rcond=SMALLEST)[0]
    return weight * found


def moved(
    pos: np.ndarray, energy: float, forces: np.ndarray, x0: np.ndarray, g: np.ndarray
) -> tuple[float, np.ndarray]:
    """E' and its forces at a structure."""
    i, j = np.triu_indices(len(pos), 1)
    vector, before = pos[i] - pos[j], np.linalg.norm(x0[i] - x0[j], axis=1)
    r = np.linalg.norm(vector, axis=1)
    pull = (g / r)[:, None] * vector
    forces = forces.copy()
    np.subtract.at(forces, i, pull)
    np.add.at(forces, j, pull)
    return energy + float(g @ (r - before)), forces


def label(all_known: Sequence[Known], together: Together, seed: int) -> dict[str, np.ndarray]:
    """Arrays of the npz of `molgeo train`, of some molecules."""
    rng = np.random.default_rng([SEED, seed])
    made = [(k, pos) for k in all_known for pos in structures(k, rng)]
    order = sorted(range(len(made)), key=lambda m: len(made[m][0].z))
    found: dict[int, tuple[float, np.ndarray]] = {}
    while order:
        size = max(1, PAIRS // len(made[order[-1]][0].z) ** 2)
        rows, order = order[-size:], order[:-size]
        together.take([Structure(made[m][0].z, made[m][1]) for m in rows])
        flat = np.concatenate([made[m][1] for m in rows])
        forces = together(torch.from_numpy(flat)).numpy()
        ends = np.cumsum([len(made[m][0].z) for m in rows])[:-1]
        energies = together.potentials[0].energy.double().numpy()
        found |= {
            m: (float(e), f) for m, e, f in zip(rows, energies, np.split(forces, ends), strict=True)
        }
    kept = []
    for m, (known, pos) in enumerate(made):
        energy, forces = found[m]
        if pos is known.pos:
            g = pulls(pos, forces)
            usable = np.linalg.norm(forces, axis=1).max() < LARGEST
            # They are zero; all zeros in a file would mean that nobody has computed them.
            forces = 1e-6 * np.sign(forces)
        else:
            energy, forces = moved(pos, energy, forces, known.pos, g)
        if usable and np.isfinite(energy) and np.abs(forces).max() < 10 * LARGEST:
            kept.append((known, pos, energy, forces))
    return {
        "z": np.concatenate([k.z for k, *_ in kept]).astype(np.uint8),
        "r": np.concatenate([pos for _, pos, *_ in kept]).astype(np.float32),
        "f": np.concatenate([f for *_, f in kept]).astype(np.float32),
        "n": np.array([len(k.z) for k, *_ in kept]),
        "e": np.array([e for *_, e, _ in kept]),
        "charge": np.zeros(len(kept), np.int64),
        "group": np.array([k.group for k, *_ in kept]),
        "part": np.array([k.part for k, *_ in kept]),
    }


def label_all(work: Path, n_train: int, ppe: Path | None, rmg: Path | None) -> None:
    """Files of `CHUNK` molecules, those that are not there yet; then one of all."""
    data = QM9()
    split = data.split()
    together = Together(members(FIELD, torch.device("cpu"), torch.float32, True))
    parts = [(split.validation[-1500:-1000], VALIDATION), (split.validation[-1000:], TEST)]
    parts += [(rows, TRAIN) for rows in split.train[:n_train].split(CHUNK)]
    files = []
    for k, (rows, part) in enumerate(parts):
        files.append(work / f"qm9-{k:03d}.npz")
        if not files[-1].exists():
            write(files[-1], label(list(of_qm9(data, rows.tolist(), part)), together, k))
    for k, path in enumerate([ppe, rmg]):
        if path is None:
            continue
        known = list(of_file(path, flat_smiles_of(data, work), k))
        for first in range(0, len(known), CHUNK):
            files.append(work / f"other-{k}-{first // CHUNK:03d}.npz")
            if not files[-1].exists():
                seed = 10_000 * (k + 1) + first
                write(files[-1], label(known[first : first + CHUNK], together, seed))
    loaded = [np.load(path) for path in files]
    write(
        work / "labelled.npz", {key: np.concatenate([f[key] for f in loaded]) for key in loaded[0]}
    )


def flat_smiles_of(data: QM9, work: Path) -> set[str]:
    """Canonical SMILES of all molecules without stereo."""
    from rdkit import Chem

    path = work / "smiles.json"
    if not path.exists():
        mols = map(Chem.MolFromSmiles, data.all_smiles())
        flat = {Chem.MolToSmiles(mol, isomericSmiles=False) for mol in mols if mol is not None}
        path.write_text(json.dumps(sorted(flat)))
    return set(json.loads(path.read_text()))


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """An npz, whole or not at all."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
    print(path, len(arrays["n"]), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--train", type=int, default=39_000, help="training molecules of QM9")
    parser.add_argument("--ppe", type=Path, default=None)
    parser.add_argument("--rmg", type=Path, default=None)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    label_all(options.work, options.train, options.ppe, options.rmg)


if __name__ == "__main__":
    main()
