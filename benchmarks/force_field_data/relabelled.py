"""Configurations of QM9's molecules that another force field learned, packed to be labelled anew.

    python benchmarks/force_field_data/relabelled.py configs/spectrum_net_gfn2.yaml PACK

They are drawn from the training part of the config's run, and only molecules are taken that are of
the training part here too, by their scaffold. QM9 has to be prepared. The file is read with
PACK's others.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from label_gpu import KINDS, SOURCES
from molecules import group, part, scaffold, trained_scaffolds
from pack import compressed, in_steps
from rdkit import Chem, RDLogger
from safetensors.numpy import load_file

from molgeo.data.location import data_dir
from molgeo.data.qm9.dataset import QM9
from molgeo.training.config import read_config
from molgeo.training.task import task_of

SEED = 5
THERMAL, NOISE, DIMER, GEOMETRY = range(4)
"""Kinds in those files. Of a dimer the second molecule is not known, so none is taken."""
NAMES = {THERMAL: "thermal", NOISE: "noise", GEOMETRY: "geometry"}


def main() -> None:
    """Draw, and pack."""
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--count", type=int, default=85_000)
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    config = read_config(options.config)
    _, (train, _, _) = task_of(config).data.load()
    files = [dict(np.load(path)) for path in config.data_file]
    there = {key: np.concatenate([f[key] for f in files]) for key in ("z", "r", "n", "kind", "qm9")}
    ptr = np.concatenate([[0], np.cumsum(there["n"], dtype=np.int64)])
    rows = train.numpy()
    rows = np.random.default_rng(SEED).permutation(rows[there["kind"][rows] != DIMER])
    trained = trained_scaffolds()
    data, numbers = QM9(), load_file(data_dir() / "qm9" / "qm9.safetensors")["idx"]
    owners: dict[int, int] = {}
    for row in rows:
        if len(owners) == options.count:
            break
        smiles = data.smiles(int(np.searchsorted(numbers, there["qm9"][row])))
        key = scaffold(Chem.MolFromSmiles(smiles))
        if part(key, trained) == "train":
            owners[int(row)] = group(key)
    kept = np.array(sorted(owners))
    atoms, steps = [], []
    for row in kept:
        z, pos = (there[key][ptr[row] : ptr[row + 1]] for key in ("z", "r"))
        order, places = in_steps(z, pos)
        atoms.append(z[order])
        steps.append(places.astype(np.int16))
    n = len(kept)
    kinds = [KINDS.index(NAMES[int(kind)]) for kind in there["kind"][kept]]
    made = {
        "n": there["n"][kept],
        "charge": np.zeros(n, np.int8),
        "kind": np.array(kinds, np.uint8),
        "group": np.array([owners[int(row)] for row in kept], np.int32),
        "part": np.zeros(n, np.uint8),
        "source": np.full(n, SOURCES.index("qm9"), np.uint8),
        "z": np.concatenate(atoms),
        "steps": np.concatenate(steps),
    }
    options.pack.mkdir(parents=True, exist_ok=True)
    path = options.pack / "structures-relabelled.npz.xz"
    path.write_bytes(compressed(made))
    print(f"{path}: {n:,} configurations, {path.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
