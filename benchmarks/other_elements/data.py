"""The labelled molecules of this folder as a model trains on them.

Those of `wide/` are labelled in a smaller basis. What it changes on average is known from training
molecules that have both labels: a factor, and a shift per atom of each element (per its share of
the atoms in orbital energies, none in dipoles). They are moved by that. Their electronic energies
are AIMNet2's, with a part of the smaller basis' difference from it, and a shift per atom of each
element and per bond of every two.

Energies are the electronic energy of `labels.jsonl` and what vibrations add to it (`heats.py`).
"""

from __future__ import annotations

import collections
import itertools
import sys
from pathlib import Path
from typing import Final

import ase
import ase.io
import numpy as np
import pandas as pd
import torch
from ase.data import chemical_symbols
from minima import ENERGIES, bonds_of

from molgeo.data.molecules import MoleculeSet
from molgeo.data.qm9.properties import NAMES
from molgeo.datasets import QM9

HERE: Final = Path(__file__).parent
WIDE: Final = HERE / "wide"
sys.path.insert(0, str(HERE.parent / "beyond_qm9"))

import labelled  # noqa: E402
from heats import with_heats  # noqa: E402
from labelled import by_name  # noqa: E402

COLUMNS: Final = {
    "mu": "mu_debye",
    "alpha": "alpha_bohr3",
    "homo": "homo_eV",
    "lumo": "lumo_eV",
    "gap": "gap_eV",
    "r2": "r2_bohr2",
}
ELEMENTS: Final = (1, 6, 7, 8, 9, 14, 15, 16, 17)
RIDGE: Final = 1.0
"""Bonds of no shift that each two elements have beside their own, so that rare ones have none."""
SMALL: Final = 6
"""Heavy atoms of QM9's molecules that are like hardly any other one: there are 649 of them."""
MOST_CLOSED_SHELL: Final = 3.0
"""eV: molecules with a smaller gap have a singlet instability at this level, and no label."""


def known_of(folder: Path, file: str) -> pd.DataFrame:
    """Molecules by name that a file labels: set, part, SMILES, ``atoms``, a column per label."""
    table = pd.read_csv(folder / "molecules.csv", keep_default_na=False).set_index("name")
    frames = {x.info["name"]: x for x in ase.io.iread(folder / "geometries.extxyz", ":")}
    rows = [
        {"name": name, "atoms": frames[name], "energy": row["energy_eV"]}
        | {own: row.get(column, np.nan) for own, column in COLUMNS.items()}
        for name, row in by_name(folder / file).items()
        if row.get("gap_eV", 0.0) >= MOST_CLOSED_SHELL
    ]
    return table.join(pd.DataFrame(rows).set_index("name"), how="inner")


def molecules() -> pd.DataFrame:
    """Labelled molecules by name: set, part, SMILES, ``atoms``, and a column per property."""
    return with_heats(known_of(HERE, "labels.jsonl"), HERE)


def counts(table: pd.DataFrame) -> np.ndarray:
    """(molecules, elements) atoms of each element."""
    return np.array([[np.sum(x.numbers == e) for e in ELEMENTS] for x in table["atoms"]], float)


def design(table: pd.DataFrame, name: str) -> np.ndarray:
    """(molecules, terms) whose sum with fitted factors is a label at QM9's level."""
    own, atoms = table[[name]].to_numpy(), counts(table)
    if name == "mu":
        return own
    if name in ("homo", "lumo"):
        atoms /= atoms.sum(1, keepdims=True)
    return np.hstack([own, atoms])


def moved(exact: pd.DataFrame, rough: pd.DataFrame, table: pd.DataFrame, name: str) -> np.ndarray:
    """Labels of `table` in the smaller basis, moved to QM9's level.

    Beyond the largest extent of which both labels are known there is none: a thousandth of the
    extent of a chain of 18 atoms is more than the model's error.

    Args:
        exact: training molecules at QM9's level.
        rough: the same in the smaller basis.
        table: molecules in the smaller basis.
        name: of the property.
    """
    both = (exact[name] + rough[name]).notna()
    terms, wanted = design(rough[both], name), exact.loc[both, name]
    found = design(table, name) @ np.linalg.lstsq(terms, wanted, rcond=1e-6)[0]
    is_beyond = (name == "r2") & (table[name] > rough.loc[both, name].max())
    return np.where(is_beyond, np.nan, found)


def energy_terms(table: pd.DataFrame, kinds: list[str]) -> np.ndarray:
    """(molecules, kinds) atoms of an element, and bonds of two, such as ``Si`` and ``H-Si``."""
    found = []
    for atoms in table["atoms"]:
        number = collections.Counter(atoms.symbols)
        number.update("-".join(elements) for _, elements, _ in bonds_of(atoms)[1])
        found.append([number[kind] for kind in kinds])
    return np.array(found, dtype=float)


def moved_energies(exact: pd.DataFrame, rough: pd.DataFrame, table: pd.DataFrame) -> np.ndarray:
    """(molecules,) electronic energies of `table` at QM9's level, eV; NaN without AIMNet2's.

    Args:
        exact: training molecules at QM9's level.
        rough: the same in the smaller basis.
        table: molecules in the smaller basis.
    """
    cheap = {x: row["aimnet2_eV"] for f in (HERE, WIDE) for x, row in by_name(f / ENERGIES).items()}
    elements = [chemical_symbols[e] for e in ELEMENTS]
    bonds = [
        "-".join(pair) for pair in itertools.combinations_with_replacement(sorted(elements), 2)
    ]

    def terms(some: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        own = some.index.map(cheap).to_numpy(dtype=float)
        less = (some["energy"].to_numpy() - own)[:, None]
        return own, np.hstack([less, energy_terms(some, [*elements, *bonds])])

    start, some = terms(rough)
    rare = np.diag([0.0] * (1 + len(elements)) + [RIDGE] * len(bonds))
    wanted = np.append(exact["energy"].to_numpy() - start, np.zeros(len(rare)))
    fit = np.linalg.lstsq(np.vstack([some, rare]), wanted, rcond=1e-9)[0]
    start, some = terms(table)
    return start + some @ fit


def wide_molecules() -> pd.DataFrame:
    """The molecules of `wide/`, as of `molecules`, with labels moved to QM9's level."""
    exact, rough = (known_of(HERE, file) for file in ("labels.jsonl", "rough.jsonl"))
    exact = exact[(exact["part"] == "train") & exact.index.isin(rough.index)]
    rough, table = rough.loc[exact.index], known_of(WIDE, "rough.jsonl")
    table["energy"] = moved_energies(exact, rough, table)
    table = table[table["energy"].notna()].copy()
    for name in ("mu", "alpha", "homo", "lumo", "r2"):
        table[name] = moved(exact, rough, table, name)
    table["gap"] = table["lumo"] - table["homo"]
    return with_heats(table, WIDE)


def small_of_qm9() -> pd.DataFrame:
    """QM9's training molecules of up to `SMALL` heavy atoms, as of `molecules`, by their rows."""
    data = QM9()
    train = data.split().train
    rows = train[data.molecules.heavy_atoms(train) <= SMALL].tolist()
    table = pd.DataFrame(data.molecules.y[rows].double().numpy(), rows, NAMES)
    table["energy"] = table["u0"] - table["zpve"]
    table["smiles"] = [data.smiles(k) for k in rows]
    table["atoms"] = [ase.Atoms(data[k].z.numpy(), data[k].pos.numpy()) for k in rows]
    return table


def molecule_set(table: pd.DataFrame, positions: list[np.ndarray] | None = None) -> MoleculeSet:
    """Molecules with their labels; a row's number is its place in the table.

    Args:
        table: as of `molecules`.
        positions: of each molecule, (atoms, 3) Å; None for its own. Moved molecules have no ⟨R²⟩:
            it changes with the positions more than the error that is left.
    """
    y = labels(table)
    if positions is not None:
        y[:, NAMES.index("r2")] = torch.nan
    return labelled.molecule_set(table["atoms"].tolist(), y, positions)


def labels(table: pd.DataFrame) -> torch.Tensor:
    """(molecules, properties) in QM9's units."""
    return torch.tensor(table[list(NAMES)].to_numpy(dtype=float))


def some_of_qm9(rows: torch.Tensor) -> MoleculeSet:
    """Molecules of QM9 alone."""
    found = QM9().molecules.batch(rows)
    return MoleculeSet(found.z.byte(), found.pos, found.ptr, found.y, found.idx, NAMES)
