"""Pairs of molecules that lie on each other, stand on each other, or meet anyhow, at all distances.

    python benchmarks/force_field_data/pairs.py PACK [--pairs 12000]

Clusters of `structures.py` meet at random, so that planes are rarely parallel and held by
dispersion alone. Here two monomers (`monomers.smi`, one molecule twice in every other pair) have
their planes parallel, at right angles, or turned at random, in equal shares. Their closest atoms
are 0.6 to 3 sums of van der Waals radii apart. Each is shaken a little. It writes a pack as
`pack.py` does, all of it for training; ``label_gpu.py`` labels it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from label_gpu import KINDS, PARTS, SOURCES, STEP
from molecules import group, scaffold
from numpy.typing import NDArray
from pack import compressed
from rdkit import Chem
from rdkit.Chem import AllChem
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

HERE = Path(__file__).parent
SEED = 50_001
CLOSEST, FARTHEST = 0.6, 3.0
"""Sums of van der Waals radii between the closest two atoms."""
SHAKEN, ASIDE = 0.03, 0.8
"""Å, standard deviations: of each coordinate, and of the middles of what lies on each other."""
WAYS = ("parallel", "upright", "random")

UP = np.array([0.0, 0.0, 1.0])
TABLE = Chem.GetPeriodicTable()

Monomer = tuple[NDArray[np.int64], NDArray[np.float64], int, int]
"""Atomic numbers, positions in the frame of their axes of inertia (the normal of a plane last),
charge, group."""


def monomers() -> list[Monomer]:
    """Each at MMFF94's or UFF's minimum; those of one atom stay what they are."""
    found = []
    for line in (HERE / "monomers.smi").read_text().split():
        mol = Chem.AddHs(Chem.MolFromSmiles(line))
        AllChem.EmbedMolecule(mol, randomSeed=SEED)
        if AllChem.MMFFHasAllMoleculeParams(mol):
            AllChem.MMFFOptimizeMolecule(mol)
        elif mol.GetNumAtoms() > 1:
            AllChem.UFFOptimizeMolecule(mol)
        z = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
        pos = mol.GetConformer().GetPositions()
        pos -= pos.mean(0)
        axes = np.linalg.svd(pos, full_matrices=True)[2]
        found.append((z, pos @ axes.T, Chem.GetFormalCharge(mol), group(scaffold(mol))))
    return found


def turned(way: str, rng: np.random.Generator) -> tuple[Rotation, Rotation]:
    """Of both molecules of a pair; the second one is then moved along the third axis."""
    if way == "random":
        return tuple(Rotation.random(2, random_state=rng))
    about = Rotation.from_euler("z", rng.uniform(0.0, 360.0), degrees=True)
    tipped = Rotation.from_euler("x", 90.0 if way == "upright" else 0.0, degrees=True)
    return Rotation.identity(), about * tipped


def pair(first: Monomer, second: Monomer, rng: np.random.Generator) -> NDArray[np.float64]:
    """(atoms, 3) positions of both."""
    way = WAYS[rng.integers(len(WAYS))]
    (a, b), aside = turned(way, rng), np.append(rng.normal(0.0, ASIDE, 2), 0.0)
    one, other = a.apply(first[1]), b.apply(second[1]) + aside
    radii = [np.array([TABLE.GetRvdw(int(z)) for z in each[0]]) for each in (first, second)]
    reach = radii[0][:, None] + radii[1][None]
    wanted = rng.uniform(CLOSEST, FARTHEST)
    low, high = 0.0, 40.0
    while high - low > STEP:
        middle = 0.5 * (low + high)
        contact = (cdist(one, other + middle * UP) / reach).min()
        low, high = (low, middle) if contact > wanted else (middle, high)
    both = np.concatenate([one, other + high * UP])
    return both + rng.normal(0.0, SHAKEN, both.shape)


def main() -> None:
    """Write the pack."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pack", type=Path)
    parser.add_argument("--pairs", type=int, default=12_000)
    options = parser.parse_args()
    rng, known = np.random.default_rng(SEED), monomers()
    rows, z, steps = [], [], []
    while len(rows) < options.pairs:
        first = known[rng.integers(len(known))]
        second = first if rng.random() < 0.5 else known[rng.integers(len(known))]
        charge = first[2] + second[2]
        if abs(charge) > 1:
            continue
        pos = pair(first, second, rng)
        numbers = np.concatenate([first[0], second[0]])
        about = KINDS.index("dimer"), first[3], PARTS.index("train"), SOURCES.index("monomers")
        rows.append((len(numbers), charge, *about))
        z.append(numbers.astype(np.uint8))
        steps.append(np.rint((pos - 0.5 * (pos.max(0) + pos.min(0))) / STEP).astype(np.int16))
    types = (np.uint8, np.int8, np.uint8, np.int32, np.uint8, np.uint8)
    keys = ("n", "charge", "kind", "group", "part", "source")
    made = {k: c.astype(t) for k, c, t in zip(keys, np.array(rows).T, types, strict=True)}
    made |= {"z": np.concatenate(z), "steps": np.concatenate(steps)}
    options.pack.mkdir(parents=True, exist_ok=True)
    (options.pack / "structures-00.npz.xz").write_bytes(compressed(made))
    print(f"{len(rows)} pairs, {len(made['z'])} atoms")


if __name__ == "__main__":
    main()
