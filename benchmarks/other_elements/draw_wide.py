"""More molecules with Si, P, S or Cl, to train on in a smaller basis: `wide/molecules.csv`.

* ``pool``: small molecules of public lists of SMILES (openforcefield/qca-dataset-submission,
  CC BY 4.0), all of them.
* ``changed``: molecules of QM9's training part in which one atom is another one: carbon became
  silicon, nitrogen phosphorus, oxygen sulfur (with or without oxygen bonded to it), hydrogen
  chlorine. The lists have few molecules with silicon and phosphorus.

None has the scaffold of a molecule that validates or tests in `molecules.csv`, nor its skeleton.

    python benchmarks/other_elements/draw_wide.py qca_smiles.csv.gz
"""

from __future__ import annotations

import argparse
import collections
import csv
from pathlib import Path

import numpy as np
import pandas as pd
from draw import HERE, SEED, by_element, group, skeleton
from rdkit import Chem, RDLogger

from molgeo.data.location import data_dir
from molgeo.data.qm9.dataset import QM9

CHANGED = {"Si": 900, "P": 900, "S": 500, "Cl": 500}
MOST_HEAVY = 8
"""Heavy atoms of the molecules that are changed."""
REACTIONS = {
    "Si": ("[CX4:1]>>[Si:1]",),
    "P": ("[NX3;!$(N-[C,N]=*);!$(N-[#6;a]);!$(N-C#*):1]>>[P:1]", "[NX3;H0:1]>>[P:1]=O"),
    "S": (
        "[OX2:1]>>[S:1]",
        "[OX1:1]=[#6:2]>>[S:1]=[#6:2]",
        "[o:1]>>[s:1]",
        "[OX2;H0:1]([#6:2])[#6:3]>>[S:1](=O)([#6:2])[#6:3]",
        "[OX2;H0:1]([#6:2])[#6:3]>>[S:1](=O)(=O)([#6:2])[#6:3]",
        "[CX4;H2:1]([#6:2])[#6,#7:3]>>[S:1](=O)(=O)([#6:2])[*:3]",
    ),
    "Cl": ("[#6;!H0:1]>>[*:1]Cl",),
}
"""Changes by the element that they bring, of which one is drawn."""


def changed(mol: Chem.Mol, element: str, rng: np.random.Generator) -> str | None:
    """The SMILES of a molecule after one change; None if the change does not fit it."""
    reaction = Chem.rdChemReactions.ReactionFromSmarts(str(rng.choice(REACTIONS[element])))
    made = reaction.RunReactants((mol,))
    if not made:
        return None
    (product,) = made[rng.integers(len(made))]
    try:
        Chem.SanitizeMol(product)
    except Chem.MolSanitizeException:
        return None
    smiles = Chem.MolToSmiles(product)
    return None if Chem.GetFormalCharge(product) or Chem.MolFromSmiles(smiles) is None else smiles


def main() -> None:
    """Write wide/molecules.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", type=Path)
    args = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    rng = np.random.default_rng(SEED)
    table = pd.read_csv(HERE / "molecules.csv", keep_default_na=False)
    table = table[table["set"] != "qm9"]
    known = {one: Chem.MolFromSmiles(one) for one in table["smiles"] if one}
    have = {skeleton(mol) for mol in known.values()}
    judging = table[table["part"] != "train"]["smiles"]
    barred = {group(known[one], "") for one in judging if one}
    rows: list[tuple[str, str]] = []

    def add(kind: str, smiles: str) -> bool:
        mol = Chem.MolFromSmiles(smiles)
        if skeleton(mol) in have or group(mol, "") in barred:
            return False
        have.add(skeleton(mol))
        rows.append((kind, smiles))
        return True

    for sizes in by_element(pd.read_csv(args.pool)["smiles"].unique().tolist()).values():
        for some in sizes.values():
            for smiles in some:
                add("pool", smiles)
    qm9 = QM9(data_dir() / "qm9")
    train = rng.permutation(qm9.split().train.numpy()).tolist()
    left = collections.Counter(CHANGED)
    while left.total():
        mol = Chem.MolFromSmiles(qm9.smiles(train.pop()))
        element = str(rng.choice(sorted(+left)))
        if mol is None or mol.GetNumHeavyAtoms() > MOST_HEAVY or Chem.GetFormalCharge(mol):
            continue
        smiles = changed(mol, element, rng)
        if smiles is not None and add("changed", smiles):
            left[element] -= 1

    folder = HERE / "wide"
    folder.mkdir(exist_ok=True)
    with (folder / "molecules.csv").open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["name", "set", "part", "smiles"])
        number: collections.Counter[str] = collections.Counter()
        for k in rng.permutation(len(rows)):
            kind, smiles = rows[k]
            out.writerow([f"{kind}_{number[kind]:04d}", kind, "train", smiles])
            number[kind] += 1
    print(number)


if __name__ == "__main__":
    main()
