"""The structures that come with molgeo for runs that rehearse: a sample of the training part.

python benchmarks/force_field_data/rehearsal.py labelled.npz molgeo/training/structures.npz

They have no labels, as the model that a run starts from makes them. Coordinates are in mÅ.
"""

from __future__ import annotations

import sys

import numpy as np

STRUCTURES, SEED = 3000, 17


def main(source: str, output: str) -> None:
    """Write a sample of the rows of part 0."""
    with np.load(source) as file:
        arrays = {name: file[name] for name in ("z", "r", "n", "charge", "part")}
    n, training = arrays["n"].astype(np.int64), np.flatnonzero(arrays["part"] == 0)
    ptr = np.concatenate([[0], n.cumsum()])
    rows = np.random.RandomState(SEED).permutation(training)[:STRUCTURES]
    atoms = np.concatenate([np.arange(ptr[m], ptr[m + 1]) for m in rows])
    np.savez_compressed(
        output,
        z=arrays["z"][atoms],
        r=np.round(1000 * arrays["r"][atoms]).astype(np.int16),
        n=n[rows].astype(np.uint8),
        charge=arrays["charge"][rows].astype(np.int8),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
