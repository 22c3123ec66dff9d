"""Molecules of `wide/` that get a label at QM9's level as well: the smallest with some bonds.

    python benchmarks/other_elements/again.py 'S(=O)(=O)[NX3]' --n 24
    python benchmarks/other_elements/again.py 'P[NX3]' --sets pool --n 24
    OMP_NUM_THREADS=1 python benchmarks/beyond_qm9/label.py benchmarks/other_elements

They are the set ``again`` of `molecules.csv`, and all train, as they do in `wide/`. Each keeps its
name, its geometry, and what is known of it there.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Final

import ase.io
import pandas as pd
from minima import ENERGIES
from rdkit import Chem

from data import HERE, WIDE, by_name, known_of

FILES: Final = ("rough.jsonl", "frequencies.jsonl", ENERGIES)


def chosen(table: pd.DataFrame, smarts: str, n: int) -> pd.DataFrame:
    """The n smallest molecules of a table with a substructure; of equal ones the first names."""
    pattern = Chem.MolFromSmarts(smarts)
    mols = [Chem.MolFromSmiles(smiles) for smiles in table["smiles"]]
    size = pd.Series([mol.GetNumHeavyAtoms() for mol in mols], table.index)
    has_it = [mol.HasSubstructMatch(pattern) for mol in mols]
    return table.loc[size[has_it].sort_index().sort_values(kind="stable").index[:n]]


def write(table: pd.DataFrame, folder: Path = HERE) -> None:
    """Add molecules of `wide/` to a folder."""
    with (folder / "molecules.csv").open("a") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerows((name, "again", "train", row.smiles) for name, row in table.iterrows())
    for atoms in table["atoms"]:
        ase.io.write(folder / "geometries.extxyz", atoms, format="extxyz", append=True)
    for own in FILES:
        known = by_name(WIDE / own)
        with (folder / own).open("a") as file:
            file.writelines(json.dumps(known[name]) + "\n" for name in table.index if name in known)


def main() -> None:
    """Choose and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("smarts")
    parser.add_argument("--n", type=int, default=24)
    parser.add_argument("--sets", nargs="*", help="of which; all if not given")
    args = parser.parse_args()
    wide = known_of(WIDE, "rough.jsonl")
    if args.sets:
        wide = wide[wide["set"].isin(args.sets)]
    have = pd.read_csv(HERE / "molecules.csv", keep_default_na=False)
    write(chosen(wide[~wide["smiles"].isin(have["smiles"])], args.smarts, args.n))


if __name__ == "__main__":
    main()
