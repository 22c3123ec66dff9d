"""Predictions beside experiments: dipoles, polarizabilities, heats of formation.

    pip install chemicals
    python benchmarks/other_elements/experiments.py ppe1694.json.gz

Dipoles of gases are CCCBDB's, as the package `chemicals` has them, from SMILES by the default path.
Polarizabilities are those of liquids with up to 9 heavy atoms, by their densities and refractive
indices in the CRC Handbook (`chemicals`, too) and the formula of Lorentz and Lorenz: at the yellow
light of sodium, so that they are some percent larger than the static ones that are predicted.

Heats of formation of PPE1694's test part come from atomization energies by way of the free atoms'
(Curtiss, Raghavachari, Redfern, Pople, J. Chem. Phys. 106, 1063 (1997)), predicted and labelled
ones: the difference of the latter from experiment is B3LYP's own error.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from chemicals import dipole, identifiers, miscdata
from chemicals.refractivity import polarizability_from_RI
from numpy.typing import ArrayLike
from rdkit import Chem, RDLogger
from start import free_atom

import molgeo
from data import molecules
from molgeo.data.qm9.dataset import atom_references
from molgeo.data.qm9.properties import PROPERTIES
from molgeo.predictor.checkpoint import DEFAULT_OUTSIDE
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
MOST_HEAVY: Final = 9
N_LIQUIDS: Final = 600
SEED: Final = 2026
BOHR: Final = 5.29177210903e-11
"""m."""
OTHERS: Final = frozenset(("Si", "P", "S", "Cl"))


def known_molecules(values: pd.Series) -> pd.DataFrame:
    """SMILES, experiment, and whether an element is none of QM9's, of values by CAS number."""
    rows = []
    for cas, value in values.items():
        try:
            smiles = identifiers.search_chemical(cas).smiles
        except ValueError:
            continue
        mol = Chem.MolFromSmiles(smiles) if smiles else None
        if mol is None or mol.GetNumAtoms() > MOST_HEAVY or "." in smiles:
            continue
        symbols = {atom.GetSymbol() for atom in mol.GetAtoms()} | {"H"}
        if symbols <= OURS:
            rows.append((smiles, value, bool(symbols & OTHERS)))
    return pd.DataFrame(rows, columns=["smiles", "experiment", "is_other"])


def polarizabilities() -> pd.Series:
    """In bohr³, by CAS number."""
    table = miscdata.CRC_organic_data.dropna(subset=["rho", "RI"])
    volumes = pd.Series(table.index, table.index).map(weight) / 1000 / table["rho"]
    return polarizability_from_RI(table["RI"], volumes).dropna() / BOHR**3


def weight(cas: str) -> float:
    """Of a substance, g/mol; NaN if it is not known."""
    try:
        return identifiers.search_chemical(cas).MW
    except ValueError:
        return np.nan


def compare(title: str, name: str, known: pd.DataFrame) -> None:
    """Predict a property from SMILES, and print how far experiments are."""
    found = molgeo.predict(known["smiles"].tolist(), properties=name, conformers=8)
    off = found[PROPERTIES[name].column] - known["experiment"]
    for elements, some in (("QM9's elements", ~known["is_other"]), ("others", known["is_other"])):
        told(f"{title}, {elements}", off[some])
        share = (off / known["experiment"])[some]
        print(f"  relative: median {share.median():+.1%}, absolute {share.abs().median():.1%}")
        for flag in (True, False):
            told(f"  in_domain {flag}", off[some & (found["in_domain"] == flag).fillna(False)])


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
    gases = known_molecules(dipole.dipole_data_CCDB["dipole_moment"])
    compare("dipole beside experiment, D", "mu", gases)
    liquids = known_molecules(polarizabilities())
    rng = np.random.default_rng(SEED)
    drawn = np.sort(rng.permutation(len(liquids))[:N_LIQUIDS])
    compare("polarizability beside experiment, a0³", "alpha", liquids.iloc[drawn].reset_index())

    with gzip.open(args.ppe) as file:
        measured = {place(x["positions"]): x["hf298_experiment_kcal"] for x in json.load(file)}
    table = molecules()
    table = table[(table["set"] == "ppe") & (table["part"] == "test")]
    frames = table["atoms"].tolist()
    given = molgeo.predict(frames, DEFAULT_OUTSIDE, properties="u0,h298")
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
