"""Molecules with sulfur, phosphorus, chlorine or silicon: which, and in which part.

* ``ppe``: all of PPE1694 (moldis-group, MIT): geometries at QM9's level, with frequencies.
* ``rmg``: some of RMG's G4 library (MIT) with chlorine: geometries at QM9's level.
* ``pool``: small molecules of public lists of SMILES (openforcefield/qca-dataset-submission,
  CC BY 4.0), as many of each size as the lists bear. `relax.py` makes their geometries.
* ``known``: the smallest molecules of ESOL and FreeSolv: what users ask for.
* ``qm9``: 20 molecules of QM9's test part at their own geometries: they check the level.

A seed draws all before anything is predicted. Molecules of one scaffold, and those of one skeleton
that have no ring, are in one part: train, validation or test.

    python benchmarks/other_elements/draw.py ppe1694.json.gz rmg_g4_closed_shell.json.gz \
        --pool qca_smiles.csv.gz --known esol.csv freesolv.csv
"""

from __future__ import annotations

import argparse
import collections
import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import pandas as pd
from ase.data import atomic_numbers
from rdkit import Chem, RDLogger
from rdkit.Chem.Scaffolds import MurckoScaffold

from molgeo.chem.bonds import from_coordinates
from molgeo.data.location import data_dir
from molgeo.data.qm9.dataset import QM9

HERE = Path(__file__).parent
SEED = 2026
QM9_ELEMENTS = frozenset(["H", "C", "N", "O", "F"])
ELEMENTS = QM9_ELEMENTS | {"Si", "P", "S", "Cl"}
POOL = {"S": 150, "P": 70, "Si": 70, "Cl": 60}
SIZES = range(3, 10)
N_RMG, N_KNOWN, N_QM9 = 90, 100, 20
PARTS = {"test": 0.22, "validation": 0.16}
"""Shares of the scaffolds' molecules; the others train."""


def read(path: Path) -> list[dict[str, Any]]:
    """A list of JSON, zipped."""
    with gzip.open(path) as file:
        return json.load(file)


def is_wanted(symbols: set[str]) -> bool:
    """Whether a molecule has a new element, and no other."""
    return symbols <= ELEMENTS and not symbols <= QM9_ELEMENTS


def skeleton(mol: Chem.Mol) -> str:
    """Canonical SMILES without stereo, by which molecules are told apart."""
    return Chem.MolToSmiles(Chem.RemoveHs(mol), isomericSmiles=False)


def bonded(symbols: list[str], positions: list[list[float]]) -> Chem.Mol | None:
    """The molecule of a geometry; None if no bonds fit it."""
    z = np.array([atomic_numbers[one] for one in symbols])
    mol = from_coordinates(z, np.array(positions))
    if mol is None:
        return None
    mol = Chem.RemoveHs(mol)
    if any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()):
        return None
    return None if len(Chem.GetMolFrags(mol)) > 1 else mol


def by_size(
    smiles: list[str], wanted: range, fits: Callable[[set[str]], bool]
) -> dict[int, set[str]]:
    """Neutral closed-shell molecules by their heavy atoms, whose elements fit."""
    found: dict[int, set[str]] = collections.defaultdict(set)
    for one in smiles:
        mol = None if "." in one else Chem.MolFromSmiles(one)
        if mol is None or mol.GetNumHeavyAtoms() not in wanted:
            continue
        radical = any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())
        if fits(elements(mol)) and not radical and not Chem.GetFormalCharge(mol):
            found[mol.GetNumHeavyAtoms()].add(Chem.MolToSmiles(mol))
    return found


def elements(mol: Chem.Mol) -> set[str]:
    """Symbols of the atoms that are written."""
    return {atom.GetSymbol() for atom in mol.GetAtoms()}


def by_element(smiles: list[str], wanted: range = SIZES) -> dict[str, dict[int, list[str]]]:
    """Neutral closed-shell molecules with new elements, by the rarest of these and by size."""
    found: dict[str, dict[int, set[str]]] = {e: collections.defaultdict(set) for e in POOL}
    for n, some in by_size(smiles, wanted, is_wanted).items():
        for one in some:
            symbols = elements(Chem.MolFromSmiles(one))
            rarest = next(e for e in ("Si", "P", "S", "Cl") if e in symbols)
            found[rarest][n].add(one)
    return {e: {n: sorted(some) for n, some in sorted(sizes.items())} for e, sizes in found.items()}


def even(sizes: dict[int, list[str]], n: int, rng: np.random.Generator) -> list[str]:
    """Some of each size in turn, until there are n."""
    left = [rng.permutation(some).tolist() for some in sizes.values()]
    drawn: list[str] = []
    while len(drawn) < n and any(left):
        drawn += [some.pop() for some in left if some]
    return drawn[:n]


def group(mol: Chem.Mol | None, name: str) -> str:
    """What must not be in two parts: the scaffold, or the skeleton if there is no ring."""
    if mol is None:
        return name
    return MurckoScaffold.MurckoScaffoldSmiles(mol=mol) or skeleton(mol)


def parts(groups: list[str], rng: np.random.Generator) -> list[str]:
    """A part for each molecule; groups of more than a tenth of a part train."""
    members = collections.defaultdict(list)
    for k, one in enumerate(groups):
        members[one].append(k)
    chosen = ["train"] * len(groups)
    sizes = {part: round(share * len(groups)) for part, share in PARTS.items()}
    for one in rng.permutation(sorted(members)).tolist():
        for part, size in sizes.items():
            if len(members[one]) * 10 <= size and chosen.count(part) < size:
                for k in members[one]:
                    chosen[k] = part
                break
    return chosen


def main() -> None:
    """Write molecules.csv and the geometries that are there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ppe", type=Path)
    parser.add_argument("rmg", type=Path)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--known", type=Path, nargs=2, required=True)
    args = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    rng = np.random.default_rng(SEED)
    rows: list[tuple[str, str, Chem.Mol | None, ase.Atoms | None]] = []
    have: set[str] = set()

    def add(kind: str, mol: Chem.Mol | None, atoms: ase.Atoms | None) -> bool:
        if mol is not None and skeleton(mol) in have:
            return False
        if mol is not None:
            have.add(skeleton(mol))
        rows.append((kind, "" if mol is None else Chem.MolToSmiles(mol), mol, atoms))
        return True

    for x in read(args.ppe):
        if (x["charge"], x["multiplicity"]) == (0, 1) and is_wanted(set(x["symbols"])):
            atoms = ase.Atoms(x["symbols"], x["positions"])
            atoms.info["frequencies"] = x["frequencies_scaled"]
            add("ppe", bonded(x["symbols"], x["positions"]), atoms)
    library = [x for x in read(args.rmg) if is_wanted(set(x["symbols"]))]
    n = 0
    for k in rng.permutation(len(library)):
        x = library[k]
        mol = bonded(x["symbols"], x["positions"])
        if n < N_RMG and mol is not None:
            n += add("rmg", mol, ase.Atoms(x["symbols"], x["positions"]))
    known = [s for path in args.known for s in pd.read_csv(path)["smiles"]]
    sizes: dict[int, list[str]] = collections.defaultdict(list)
    for some in by_element(known).values():
        for size, smiles in some.items():
            sizes[size] += smiles
    for smiles in even(sizes, N_KNOWN, rng):
        add("known", Chem.MolFromSmiles(smiles), None)
    for element, some in by_element(pd.read_csv(args.pool)["smiles"].unique().tolist()).items():
        for smiles in even(some, POOL[element], rng):
            add("pool", Chem.MolFromSmiles(smiles), None)

    chosen = parts([group(mol, f"{k}") for k, (_, _, mol, _) in enumerate(rows)], rng)
    qm9 = QM9(data_dir() / "qm9")
    for k in sorted(rng.choice(np.asarray(qm9.split().test), N_QM9, replace=False).tolist()):
        one = qm9[k]
        rows.append(("qm9", qm9.smiles(k), None, ase.Atoms(one.z.numpy(), one.pos.numpy())))
        chosen.append("check")
    with (HERE / "molecules.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["name", "set", "part", "smiles"])
        number: collections.Counter[str] = collections.Counter()
        for (kind, smiles, _, atoms), part in zip(rows, chosen, strict=True):
            name = f"{kind}_{number[kind]:03d}"
            number[kind] += 1
            table.writerow([name, kind, part, smiles])
            if atoms is not None:
                atoms.info = {"name": name, "state": "ok", **atoms.info}
                ase.io.write(HERE / "geometries.extxyz", atoms, format="extxyz", append=True)
    print(number, collections.Counter(chosen))


if __name__ == "__main__":
    main()
