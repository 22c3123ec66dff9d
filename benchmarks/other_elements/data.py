"""The labelled molecules of this folder as a model trains on them.

Energies are the electronic energy of `labels.jsonl` and what vibrations add to it. PPE1694 has
frequencies at QM9's level. Of others they are AIMNet2's, times a factor below `STIFF` and another
above it, with which AIMNet2's are PPE1694's on its training molecules.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

import ase
import ase.io
import numpy as np
import pandas as pd
import torch
from thermal import SCALED, thermal

from molgeo.data.molecules import MoleculeSet
from molgeo.data.qm9.properties import NAMES
from molgeo.datasets import QM9

HERE: Final = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "beyond_qm9"))

import labelled  # noqa: E402
from labelled import by_name  # noqa: E402

STIFF: Final = 2000.0
"""1/cm, above which bonds to hydrogen stretch."""
COLUMNS: Final = {
    "mu": "mu_debye",
    "alpha": "alpha_bohr3",
    "homo": "homo_eV",
    "lumo": "lumo_eV",
    "gap": "gap_eV",
    "r2": "r2_bohr2",
}
MOST_CLOSED_SHELL: Final = 3.0
"""eV: molecules with a smaller gap have a singlet instability at this level, and no label."""


def lines(name: str) -> dict[str, dict[str, Any]]:
    """A file of JSON lines by the molecules' names."""
    return by_name(HERE / name)


@cache
def factors() -> tuple[float, float]:
    """Of AIMNet2's frequencies, below and above `STIFF`."""
    table, ours = pd.read_csv(HERE / "molecules.csv").set_index("name"), lines("frequencies.jsonl")
    sums = np.zeros((2, 2))
    for atoms in ase.io.iread(HERE / "geometries.extxyz", ":"):
        name = atoms.info["name"]
        other = np.sort(ours.get(name, {}).get("frequencies_cm", ()))
        own = np.sort(np.atleast_1d(atoms.info.get("frequencies", ()))) / SCALED
        if not len(own) or len(own) != len(other) or table.loc[name, "part"] != "train":
            continue
        for k, some in enumerate((own < STIFF, own >= STIFF)):
            sums[k] += own[some].sum(), other[some].sum()
    low, high = (sums[:, 0] / sums[:, 1].clip(1e-9)).tolist()
    return low, high


def frequencies(atoms: ase.Atoms, other: list[float] | None) -> list[float] | None:
    """Of QM9's level, 1/cm; None if nobody knows them."""
    if "frequencies" in atoms.info:
        return (np.atleast_1d(atoms.info["frequencies"]) / SCALED).tolist()
    if other is None:
        return None
    low, high = factors()
    return [f * (low if f < STIFF else high) for f in other]


def molecules() -> pd.DataFrame:
    """Labelled molecules by name: set, part, SMILES, ``atoms``, and a column per property."""
    table = pd.read_csv(HERE / "molecules.csv", keep_default_na=False).set_index("name")
    labels, vibrating = lines("labels.jsonl"), lines("frequencies.jsonl")
    frames = {atoms.info["name"]: atoms for atoms in ase.io.iread(HERE / "geometries.extxyz", ":")}
    rows = []
    for name in table.index:
        known = labels.get(name, {})
        if "gap_eV" not in known or known["gap_eV"] < MOST_CLOSED_SHELL:
            continue
        atoms = frames[name]
        row = {own: known.get(column, np.nan) for own, column in COLUMNS.items()}
        found = frequencies(atoms, vibrating.get(name, {}).get("frequencies_cm"))
        added = None if found is None else thermal(atoms, found)
        if added is not None:
            energy = known["energy_eV"]
            row |= {"zpve": added["zpve"], "cv": added["cv"], "u0": energy + added["zpve"]}
            row |= {own: energy + added[own] for own in ("u298", "h298", "g298")}
        rows.append({"name": name, "energy": known["energy_eV"], "atoms": atoms, **row})
    made = pd.DataFrame(rows).set_index("name")
    return table.join(made, how="inner")


def molecule_set(table: pd.DataFrame, positions: list[np.ndarray] | None = None) -> MoleculeSet:
    """Molecules with their labels; a row's number is its place in the table.

    Args:
        table: as of `molecules`.
        positions: of each molecule, (atoms, 3) Å; None for its own.
    """
    return labelled.molecule_set(table["atoms"].tolist(), labels(table), positions)


def labels(table: pd.DataFrame) -> torch.Tensor:
    """(molecules, properties) in QM9's units."""
    return torch.tensor(table[list(NAMES)].to_numpy(dtype=float))


def some_of_qm9(rows: torch.Tensor) -> MoleculeSet:
    """Molecules of QM9 alone."""
    found = QM9().molecules.batch(rows)
    return MoleculeSet(found.z.byte(), found.pos, found.ptr, found.y, found.idx, NAMES)
