"""Labelled molecules of a folder: their lines by name, and what a model is given of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def by_name(path: Path) -> dict[str, dict[str, Any]]:
    """JSON lines by the molecules' names; lines of one molecule belong together."""
    found: dict[str, dict[str, Any]] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        row = json.loads(line)
        found[row["name"]] = found.get(row["name"], {}) | row
    return found


def molecule_set(each: Sequence[Any], y: Any, positions: Sequence[np.ndarray] | None = None) -> Any:
    """Molecules with labels of QM9's properties, as a `molgeo.data.molecules.MoleculeSet`.

    Args:
        each: their atoms.
        y: (molecules, properties) tensor in QM9's units.
        positions: of each molecule, (atoms, 3) Å; None for its own.
    """
    # Here, so that who labels needs neither torch nor molgeo.
    import torch

    from molgeo.data.molecules import MoleculeSet
    from molgeo.data.qm9.properties import NAMES

    places = [atoms.positions for atoms in each] if positions is None else positions
    return MoleculeSet(
        z=torch.cat([torch.from_numpy(atoms.numbers) for atoms in each]).to(torch.uint8),
        pos=torch.from_numpy(np.concatenate(places)).float(),
        ptr=torch.tensor([0, *map(len, places)]).cumsum(0),
        y=y,
        idx=torch.arange(len(each)),
        properties=NAMES,
    )
