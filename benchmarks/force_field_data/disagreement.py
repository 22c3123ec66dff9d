"""How far the teacher determines what it teaches: one network beside the mean of the other three.

    python benchmarks/force_field_data/disagreement.py labelled.npz aimnet2_wb97m-d3_ens.jpt

Mean absolute differences of force components by element and of the energy per atom, on the test
part of a labelled set. Four networks that have learned the same labels differ by what the labels do
not determine. A model that learns their mean cannot be told from a fifth one below that.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from label_gpu import PARTS, batches
from numpy.typing import NDArray

from molgeo.elements import SYMBOLS
from molgeo.generate.aimnet2_method import Ensemble


def others(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over networks k of ``|v_k − mean of the others|``; networks come first."""
    n = len(values)
    apart: NDArray[np.float64] = np.abs(values - values.mean(0)).mean(0) * n / (n - 1)
    return apart


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("labelled", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--configurations", type=int, default=1500)
    options = parser.parse_args()
    with np.load(options.labelled) as file:
        data = dict(file)
    n = data["n"].astype(int)
    ptr = np.concatenate([[0], np.cumsum(n)])
    rows = np.flatnonzero(data["part"] == PARTS.index("test"))
    rows = np.random.default_rng(0).permutation(rows)[: options.configurations]
    ensemble = Ensemble(options.model)
    networks = list(zip(ensemble.networks, ensemble.references, strict=True))
    forces: dict[str, list[float]] = {}
    energies: list[float] = []
    for size, places, _ in batches(n[rows], 2000, 60_000):
        own = rows[places]
        is_atom = np.arange(size) < n[own][:, None]
        atom = np.where(is_atom, ptr[own][:, None] + np.arange(size), 0)
        z = np.where(is_atom, data["z"][atom], 0)
        r = np.where(is_atom[..., None], data["r"][atom], 0.0).astype(np.float32)
        found = []
        for network, reference in networks:
            ensemble.networks, ensemble.references = [network], [reference]
            found.append(ensemble(z, r, data["charge"][own].astype(float)))
        energies += (others(np.stack([one.energy for one in found])) / n[own]).tolist()
        apart = others(np.stack([one.forces.astype(float) for one in found])).mean(-1)
        for number, value in zip(z[is_atom], apart[is_atom], strict=True):
            forces.setdefault(SYMBOLS[number], []).append(value)
    print(f"{len(rows)} configurations, energy {1e3 * np.mean(energies):.2f} meV per atom")
    print(f"forces {1e3 * np.mean(np.concatenate([*forces.values()])):.1f} meV/Å, by element:")
    print(", ".join(f"{symbol} {1e3 * np.mean(forces[symbol]):.0f}" for symbol in sorted(forces)))


if __name__ == "__main__":
    main()
