"""Chemprop on QM9's own parts: what a network that knows the SMILES alone has for errors.

    python benchmarks/chemprop_qm9.py WORK --chemprop ~/chemprop/bin/chemprop

Chemprop at its defaults but for the epochs, one model of all twelve properties, energies as
atomization energies. It trains on QM9's training part and chooses its epoch by 2,000 validation
molecules. It is tested on the first 2,000 test molecules, those of the column *SMILES: default* of
``docs/accuracy.md``. SMILES have the stereo of QM9's coordinates; with ``--flat`` they have none.
Chemprop comes from an environment of its own (`pip install chemprop`). Results are written beside
this file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from fit import chemprop, of_free_atoms, write_results

from molgeo.chem.bonds import stereo_smiles
from molgeo.data.qm9.dataset import QM9

RESULTS = Path(__file__).with_suffix(".json")
TESTED = 2000
"""Molecules of the validation part and of the test part."""


def table(data: QM9, flat: bool, n: int | None = None) -> pd.DataFrame:
    """SMILES, twelve values and the part of each molecule.

    Args:
        data: QM9.
        flat: whether SMILES have no stereo.
        n: of the training part; None for all.
    """
    own, molecules = data.split(), data.molecules
    rows = torch.cat([own.train[:n], own.validation[:TESTED], own.test[:TESTED]]).numpy()
    n_train = len(rows) - 2 * TESTED
    parts = ["train"] * n_train + ["val"] * TESTED + ["test"] * TESTED
    smiles = data.all_smiles()
    texts = [smiles[row] for row in rows]
    if not flat:
        bounds = molecules.bounds
        numbers = [molecules.z[bounds[row] : bounds[row + 1]].numpy() for row in rows]
        places = [molecules.pos[bounds[row] : bounds[row + 1]].double().numpy() for row in rows]
        texts = list(map(stereo_smiles, texts, numbers, places))
    found = pd.DataFrame({"smiles": texts, "split": parts})
    for k, name in enumerate(molecules.properties):
        found[name] = molecules.y[rows, k].numpy() - of_free_atoms(data, rows, name)
    return found


def main() -> None:
    """Train it, test it, and write its errors."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("work", type=Path, help="folder of the table and the model")
    parser.add_argument("--chemprop", default="chemprop", help="chemprop's program")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--flat", action="store_true", help="SMILES without stereo")
    parser.add_argument("--molecules", type=int, help="to train on; all without it")
    options = parser.parse_args()
    data = QM9()
    names = list(data.molecules.properties)
    run = "flat" if options.flat else "stereo"
    path, folder = options.work / f"{run}.csv", options.work / run
    folder.mkdir(parents=True, exist_ok=True)
    rows = table(data, options.flat, options.molecules)
    rows.to_csv(path, index=False)
    n_train = int((rows["split"] == "train").sum())
    words = ("--epochs", str(options.epochs), "--pytorch-seed", "0")
    test, predicted, took = chemprop(options.chemprop, path, folder, names, *words)
    told: dict[str, Any] = {"epochs": options.epochs, "train": n_train}
    told |= took | {"mae": {k: float(np.mean(np.abs(predicted[k] - test[k]))) for k in names}}
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    known[run] = told
    write_results(known, RESULTS)
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
