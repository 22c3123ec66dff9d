"""Predictions beside experiments: dipoles of gases, and heats of formation of PPE1694's test part.

    pip install chemicals
    python benchmarks/other_elements/experiments.py ppe1694.json.gz

Dipoles are CCCBDB's, as the package `chemicals` has them, from SMILES by the default path. Heats of
formation come from atomization energies by way of the free atoms' (Curtiss, Raghavachari, Redfern,
Pople, J. Chem. Phys. 106, 1063 (1997)), predicted and labelled ones: the difference of the latter
from experiment is B3LYP's own error.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from chemicals import dipole, identifiers
from numpy.typing import ArrayLike
from rdkit import Chem, RDLogger
from train import free_atom

import molgeo
from data import molecules
from molgeo.data.qm9.dataset import atom_references
from molgeo.data.qm9.properties import PROPERTIES
from molgeo.predictor.checkpoint import DEFAULT_ELEMENTS
from molgeo.units import KCAL_MOL

OF_ATOMS: Final = {
    "H": (51.63, 1.01),
    "C": (169.98, 0.25),
    "N": (112.53, 1.04),
    "O": (58.99, 1.04),
    "F": (18.47, 1.05),
    "Si": (106.6, 0.76),
    "P": (75.42, 1.28),
    "S": (65.66, 1.05),
    "Cl": (28.59, 1.10),
}
"""Heat of formation of the free atom at 0 K, and H(298 K) − H(0 K) of the element, kcal/mol."""
OURS: Final = frozenset(OF_ATOMS)
OTHERS: Final = frozenset(("Si", "P", "S", "Cl"))


def dipoles() -> pd.DataFrame:
    """SMILES, experimental dipole in Debye, and whether there is an element that QM9 lacks."""
    rows = []
    for cas, value in dipole.dipole_data_CCDB["dipole_moment"].items():
        try:
            smiles = identifiers.search_chemical(cas).smiles
        except ValueError:
            continue
        mol = Chem.MolFromSmiles(smiles) if smiles else None
        if mol is None:
            continue
        symbols = {atom.GetSymbol() for atom in mol.GetAtoms()} | {"H"}
        if symbols <= OURS:
            rows.append((smiles, value, bool(symbols & OTHERS)))
    return pd.DataFrame(rows, columns=["smiles", "experiment", "is_other"])


def heat_of_formation(symbols: list[str], u0: float, h298: float) -> float:
    """ΔH_f at 298 K in kcal/mol, of total energies in eV."""
    free = atom_references()["u0"]
    total = 0.0
    for symbol in symbols:
        z = Chem.GetPeriodicTable().GetAtomicNumber(symbol)
        atom = free[z] if z in free else free_atom(z)["u0"]
        of_atom, of_element = OF_ATOMS[symbol]
        total += of_atom - of_element - atom / KCAL_MOL
    return total + u0 / KCAL_MOL + (h298 - u0) / KCAL_MOL


def place(positions: ArrayLike) -> bytes:
    """What tells a geometry from others."""
    return (np.round(np.asarray(positions), 5) + 0.0).tobytes()


def told(name: str, differences: pd.Series) -> None:
    """Print what differences are like."""
    far = differences.dropna().abs()
    print(f"{name}: {len(far)}, mean absolute {far.mean():.3f}, median {far.median():.3f}")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ppe", type=Path)
    args = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    known = dipoles()
    found = molgeo.predict(known["smiles"].tolist(), properties="mu", conformers=8)
    for title, some in (("QM9's elements", ~known["is_other"]), ("others", known["is_other"])):
        off = (found["mu_debye"] - known["experiment"])[some]
        told(f"dipole beside experiment, D, {title}", off)
        for flag in (True, False):
            told(f"  in_domain {flag}", off[(found["in_domain"][some] == flag).fillna(False)])

    with gzip.open(args.ppe) as file:
        measured = {place(x["positions"]): x["hf298_experiment_kcal"] for x in json.load(file)}
    table = molecules()
    table = table[(table["set"] == "ppe") & (table["part"] == "test")]
    frames = table["atoms"].tolist()
    given = molgeo.predict(frames, DEFAULT_ELEMENTS, properties="u0,h298")
    made = molgeo.predict(table["smiles"].replace("", "?").tolist(), properties="u0,h298")
    columns = [PROPERTIES[name].column for name in ("u0", "h298")]
    experiment = np.array([measured[place(atoms.positions)] for atoms in frames])
    for title, energies in (
        ("B3LYP, the labels", table[["u0", "h298"]]),
        ("molgeo at B3LYP's geometries", given[columns]),
        ("molgeo from SMILES", made[columns]),
    ):
        heats = [
            heat_of_formation(list(atoms.symbols), *pair)
            for atoms, pair in zip(frames, energies.to_numpy(dtype=float), strict=True)
        ]
        told(
            f"heat of formation beside experiment, kcal/mol, {title}", pd.Series(heats) - experiment
        )


if __name__ == "__main__":
    main()
