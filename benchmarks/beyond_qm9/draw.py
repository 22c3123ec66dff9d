"""Which molecules: drawn by a seed before anything is predicted.

* ``drug``: fragments of drugs, 24 of each number of heavy atoms from 10 to 16, from a list of
  SMILES of public molecules (openforcefield/qca-dataset-submission, CC BY 4.0).
* ``small``: all closed-shell molecules of H, C, N, O and F with one to three heavy atoms in
  chains and rings, as valences allow, that QM9 lacks, and the well-known ones with separated
  charges.
* ``conjugated``: polyenes, acenes, azides, diazenes, nitro compounds, quinones and others that
  QM9 lacks, listed here by hand.
* ``qm9``: 20 molecules of QM9's test part; treated like the others, they tell what the geometry
  costs.

Half of the first three, drawn by the same seed, are for calibration, the others to check it.

    python benchmarks/beyond_qm9/draw.py qca_smiles.csv.gz
"""

from __future__ import annotations

import argparse
import csv
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
from rdkit import Chem, RDLogger

from molgeo.data.location import data_dir
from molgeo.data.qm9.dataset import QM9

SEED = 2026
MOLECULES = Path(__file__).with_name("molecules.csv")
PER_SIZE = 24
SIZES = range(10, 17)
N_QM9 = 20
VALENCE = {"C": 4, "N": 3, "O": 2, "F": 1}

CHARGE_SEPARATED = (
    "[C-]#[O+] [N-]=[N+]=O [N-]=[N+]=N C=[N+]=[N-] [O-][O+]=O [O-][N+]#C C[N+]#[C-] [C-]#[NH+] "
    "[O-][NH+]=O C[O+]=[N-] C=[NH+][O-]"
)
CONJUGATED = (
    # polyenes, cumulenes and polyynes
    "C=CC=CC=CC=C C=CC=CC=CC=CC=C C=CC=CC=CC=CC=CC=C C=C=C=C=C C#CC#CC#C C#CC#CC#CC#C "
    "C=CC=CC=CC=O O=CC=CC=CC=O N#CC=CC=CC#N CN(C)C=CC=CC=O NC=CC=CC=CC=O C=CC(C=C)=CC=C "
    # acenes, other rings
    "c1ccc2ccccc2c1 c1ccc2cc3ccccc3cc2c1 c1ccc2c(c1)ccc1ccccc12 c1cc2cccc3ccc4cccc1c4c32 "
    "c1ccc2cc3cc4ccccc4cc3cc2c1 C1=CC2=CC=CC2=C1 c1ccc2cccc-2cc1 C1=CC=CC=CC=C1 C=C1C=CC=CC=C1 "
    "C1=CC(=C2C=CC=C2)C=C1 c1ccc(-c2ccccc2)cc1 C(=Cc1ccccc1)c1ccccc1 C(#Cc1ccccc1)c1ccccc1 "
    "C=C1C=CC(=C)C=C1 c1ccc2ncccc2c1 c1ccc2[nH]ccc2c1 c1ccc2nc3ccccc3nc2c1 c1ncc2nccnc2n1 "
    # azides, diazenes, diazo
    "CN=[N+]=[N-] CCN=[N+]=[N-] C=CN=[N+]=[N-] [N-]=[N+]=Nc1ccccc1 CN=NC CN=Nc1ccccc1 "
    "c1ccc(N=Nc2ccccc2)cc1 N=NC=C [N-]=[N+]=CC=O [N-]=[N+]=C1C=CC=C1 c1nnnn1C c1nn[nH]n1 "
    # nitro, nitroso, nitrates
    "C[N+](=O)[O-] CC[N+](=O)[O-] C=C[N+](=O)[O-] O=[N+]([O-])c1ccccc1 "
    "Nc1ccc([N+](=O)[O-])cc1 CN(C)c1ccc([N+](=O)[O-])cc1 O=[N+]([O-])c1ccc([N+](=O)[O-])cc1 "
    "O=Nc1ccccc1 CN=O CO[N+](=O)[O-] O=[N+]([O-])C[N+](=O)[O-] "
    # quinones, acceptors, donors
    "O=C1C=CC(=O)C=C1 O=C1C=CC(=O)c2ccccc21 O=C1C=CC=CC1=O N#CC(C#N)=C(C#N)C#N "
    "N#Cc1ccc(C#N)cc1 CN(C)c1ccc(N(C)C)cc1 CN(C)c1ccc(C=O)cc1 O=C1C=CC(=O)N1 "
    "O=c1cc[nH]c2ccccc12 O=c1ccc2ccccc2o1 "
    # fluorine, peroxides
    "FC(F)(F)F FC(F)(F)C(F)(F)F Fc1c(F)c(F)c(F)c(F)c1F FC=CF FC(F)=C(F)F COOC CC(=O)OO"
)


def skeleton(smiles: str) -> str:
    """Canonical SMILES without stereo, by which molecules are told apart."""
    return Chem.MolToSmiles(Chem.MolFromSmiles(smiles), isomericSmiles=False)


def small() -> list[str]:
    """Neutral closed-shell molecules of one to three heavy atoms of normal valences."""
    found = {"[H][H]", *map(skeleton, CHARGE_SEPARATED.split())}
    for n in (1, 2, 3):
        bonds = list(itertools.combinations(range(n), 2))
        for atoms in itertools.combinations_with_replacement(VALENCE, n):
            for orders in itertools.product(range(4), repeat=len(bonds)):
                mol = Chem.RWMol()
                for symbol in atoms:
                    mol.AddAtom(Chem.Atom(symbol))
                used = [0] * n
                for (a, b), order in zip(bonds, orders, strict=True):
                    used[a] += order
                    used[b] += order
                    if order:
                        mol.AddBond(a, b, Chem.BondType.values[order])
                if any(u > VALENCE[s] for u, s in zip(used, atoms, strict=True)):
                    continue
                # a triple bond in a ring of three, and a ring of two double bonds, are no molecules
                if all(orders) and sum(orders) > len(orders) + 1 and n == 3:
                    continue
                if len(Chem.GetMolFrags(mol)) == 1:
                    found.add(Chem.MolToSmiles(mol))
    return sorted(found - {"O=O"})  # a triplet


def drugs(pool: Path, known: set[str], rng: np.random.Generator) -> list[str]:
    """Fragments of drugs, `PER_SIZE` of each size."""
    by_size: dict[int, dict[str, str]] = {n: {} for n in SIZES}
    for smiles, name in zip(*pd.read_csv(pool)[["smiles", "set"]].to_numpy().T, strict=True):
        if "RECAP-Optimized" not in name and "Industry" not in name and "ESP-Frag" not in name:
            continue
        mol = Chem.MolFromSmiles(smiles)
        if mol is None or mol.GetNumHeavyAtoms() not in SIZES or "." in smiles:
            continue
        if {a.GetSymbol() for a in Chem.AddHs(mol).GetAtoms()} - {"H", "C", "N", "O", "F"}:
            continue
        if Chem.GetFormalCharge(mol) or any(a.GetNumRadicalElectrons() for a in mol.GetAtoms()):
            continue
        key = skeleton(smiles)
        if key not in known:
            by_size[mol.GetNumHeavyAtoms()].setdefault(key, Chem.MolToSmiles(mol))
    return [
        pool_of[key]
        for pool_of in by_size.values()
        for key in rng.choice(sorted(pool_of), PER_SIZE, replace=False)
    ]


def main() -> None:
    """Write `MOLECULES`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", type=Path, help="csv of SMILES, with a column smiles and one set")
    args = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    rng = np.random.default_rng(SEED)
    qm9 = QM9(data_dir() / "qm9")
    known = set(map(skeleton, filter(Chem.MolFromSmiles, qm9.all_smiles())))
    rows = [("drug", smiles) for smiles in drugs(args.pool, known, rng)]
    rows += [("small", smiles) for smiles in small() if skeleton(smiles) not in known]
    have = {skeleton(smiles) for _, smiles in rows}
    for smiles in CONJUGATED.split():
        if skeleton(smiles) not in known | have:
            rows.append(("conjugated", smiles))
            have.add(skeleton(smiles))
    part = np.array(["calibration", "check"])[rng.permutation(len(rows)) % 2]
    test = rng.choice(np.asarray(qm9.split().test), N_QM9, replace=False)
    with MOLECULES.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["name", "set", "part", "smiles"])
        n = dict.fromkeys(("drug", "small", "conjugated"), 0)
        for (kind, smiles), which in zip(rows, part, strict=True):
            table.writerow([f"{kind}_{n[kind]:03d}", kind, which, smiles])
            n[kind] += 1
        for k in sorted(test.tolist()):
            table.writerow([f"qm9_{k}", "qm9", "check", qm9.smiles(k)])
    print(n)


if __name__ == "__main__":
    main()
