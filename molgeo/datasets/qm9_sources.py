"""Where QM9 comes from: an installed package, a download, or a file the user has.

Each source yields the same `RawQM9`; `prepare` checks it and writes the flat form that
`molgeo.datasets.QM9` loads in under two seconds.
"""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file

from molgeo.datasets import qm9

COLUMNS: Final = {
    "mu": "Dipole_debye",
    "alpha": "Polarizability_bohr3",
    "homo": "HOMO_au",
    "lumo": "LUMO_au",
    "gap": "HOMO_LUMO_gap_au",
    "r2": "R2_bohr2",
    "zpve": "ZPVE_au",
    "u0": "InternalEnergy_0K_au",
    "u298": "InternalEnergy_298K_au",
    "h298": "Enthalphy_298K_au",
    "g298": "GibbsFreeEnergy_298K_au",
    "cv": "Heatcapacity_Cv_cal_mol_K",
}
"""Columns of qm9pack's tables."""


class RawQM9(NamedTuple):
    """QM9 as read, molecules in any order.

    Attributes:
        idx: (molecules,) QM9's own number, 1 to 133,885.
        n_atoms: (molecules,).
        z: (atoms,) atomic numbers.
        pos: (atoms, 3) Å.
        y: (molecules, 12) in QM9's own units (Hartree, Debye, a0, cal/mol/K).
        smiles: SMILES of each molecule.
    """

    idx: np.ndarray
    n_atoms: np.ndarray
    z: np.ndarray
    pos: np.ndarray
    y: np.ndarray
    smiles: list[str]


def from_qm9pack() -> RawQM9:
    """Read the tables of the installed package ``qm9pack``.

    Its own module needs ``pkg_resources``, which setuptools no longer has, so the tables are
    opened directly.
    """
    import pandas as pd

    spec = importlib.util.find_spec("qm9pack")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("qm9pack is not installed; `pip install qm9pack` brings QM9 along")
    folder = Path(spec.origin).parent / "data"
    wanted = ["Index", "SMILES", "N_atoms", "Elements", "XYZ_Ang", *COLUMNS.values()]
    tables = [pd.read_csv(f, usecols=wanted) for f in sorted(folder.glob("qm9_part*.csv"))]
    table = pd.concat(tables, ignore_index=True)
    symbols = ",".join(table["Elements"].str.replace(r"[\[\]' ]", "", regex=True)).split(",")
    number = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}
    numbers = ",".join(table["XYZ_Ang"].str.replace(r"[\[\]]", "", regex=True)).split(",")
    return RawQM9(
        idx=table["Index"].to_numpy(np.int64),
        n_atoms=table["N_atoms"].to_numpy(np.int64),
        z=np.array([number[s] for s in symbols], np.uint8),
        pos=np.array(numbers, np.float64).reshape(-1, 3),
        y=table[[COLUMNS[name] for name in qm9.QM9_PROPERTIES]].to_numpy(np.float64),
        smiles=table["SMILES"].astype(str).tolist(),
    )


def write(raw: RawQM9, path: Path, source: str) -> None:
    """Write the prepared form, sorted by QM9's own index, all or nothing.

    Raises:
        ValueError: molecules are missing, doubled or without labels.
    """
    check(raw)
    order = np.argsort(raw.idx)
    first = np.concatenate([[0], raw.n_atoms.cumsum()])
    rows = np.concatenate([np.arange(first[m], first[m + 1]) for m in order])
    smiles = [raw.smiles[m].encode() for m in order]
    ptr = np.concatenate([[0], raw.n_atoms[order].cumsum()])
    smiles_ptr = np.concatenate([[0], np.cumsum([len(s) for s in smiles])])
    tensors = {
        "z": torch.from_numpy(raw.z[rows].astype(np.uint8)),
        "pos": torch.from_numpy(raw.pos[rows].astype(np.float32)),
        "ptr": torch.from_numpy(ptr.astype(np.int64)),
        "y": torch.from_numpy(qm9.in_units(raw.y[order], qm9.QM9_PROPERTIES)),
        "idx": torch.from_numpy(raw.idx[order].astype(np.int64)),
        "smiles": torch.frombuffer(bytearray(b"".join(smiles)), dtype=torch.uint8),
        "smiles_ptr": torch.from_numpy(smiles_ptr.astype(np.int64)),
    }
    header = {
        "version": qm9.FORMAT_VERSION,
        "properties": qm9.QM9_PROPERTIES,
        "level_of_theory": qm9.LEVEL_OF_THEORY,
        "source": source,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file(tensors, part, metadata={"molgeo": json.dumps(header)})
    os.replace(part, path)


def check(raw: RawQM9) -> None:
    """Check that a source holds QM9, whole.

    Raises:
        ValueError: the count, the labels or the geometries are not those of QM9.
    """
    if len(raw.idx) != qm9.N_MOLECULES or len(np.unique(raw.idx)) != qm9.N_MOLECULES:
        raise ValueError(
            f"QM9: expected {qm9.N_MOLECULES} different molecules, got {len(np.unique(raw.idx))}"
        )
    if raw.n_atoms.sum() != len(raw.z) or raw.pos.shape != (len(raw.z), 3):
        raise ValueError(f"QM9: expected {raw.n_atoms.sum()} atoms, got {len(raw.z)}")
    if not (np.isfinite(raw.y).all() and np.isfinite(raw.pos).all()):
        raise ValueError("QM9: a label or a coordinate is not a number")
