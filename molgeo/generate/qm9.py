"""Cheap geometries of QM9: each depends on the molecule's SMILES (and coordinates) alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molgeo.chem.bonds import flat_smiles, stereo_smiles
from molgeo.chem.conformers.conformers import Conformers, generate
from molgeo.chem.conformers.embedding import ATTEMPTS
from molgeo.chem.conformers.force_field import relax
from molgeo.chem.limits import ordered_map
from molgeo.chem.molecule import BadRow, SmilesRow
from molgeo.data.geometries import (
    FORMAT_VERSION,
    MAX_CONFORMERS,
    Cheap,
    FlatGeometries,
)
from molgeo.data.qm9.dataset import QM9, geometry_path
from molgeo.generate.geometries import flat, made_before, make_in_pieces
from molgeo.runtime.errors import SettingError
from molgeo.runtime.progress import Progress


def prepare(
    root: str | Path | None = None,
    kind: Cheap = "mmff",
    conformers: int = 1,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Path:
    """Make the geometries of all molecules, except those that are there already.

    A file that was made with fewer attempts at embedding than there are now keeps what it has; only
    the molecules that failed are tried again. A file with more conformers than asked for is kept.

    Args:
        root: folder of the prepared QM9; None for the default one.
        kind: as in `molgeo.datasets.QM9.geometry`, but not ``dft``.
        conformers: per SMILES.
        progress: told (molecules done, molecules in all).
        workers: threads; None for one per core.

    Returns:
        Path of the file.

    Raises:
        FileNotFoundError: QM9 is not prepared.
        ValueError: ``conformers`` is not in 1 to 255.
        OSError: the disk is full.
    """
    if not 1 <= conformers <= MAX_CONFORMERS:
        raise SettingError(f"conformers: expected 1 to {MAX_CONFORMERS}, got {conformers}")
    data = QM9(root)
    path = geometry_path(root, kind)
    header = _header(data, kind, conformers)
    old, found = made_before(path)
    rows = np.arange(len(data))
    is_of_these = found.get("source") == header["source"]
    if old is None or not is_of_these or found["conformers"] < header["conformers"]:
        old = None
    else:
        rows = old.rows[old.n_conformers == 0]
        if len(rows) == 0 or found["attempts"] == header["attempts"]:
            return path
        header["conformers"] = found["conformers"]
    make_in_pieces(
        path,
        rows,
        header,
        lambda piece: make(data, piece, kind, header["conformers"], workers),
        progress,
        old,
    )
    return path


def make(
    data: QM9, rows: NDArray[np.int64], kind: Cheap, conformers: int = 1, workers: int | None = None
) -> FlatGeometries:
    """Geometries of some molecules.

    Args:
        data: the data set.
        rows: (n,) ascending.
        kind: as in `prepare`.
        conformers: as in `prepare`.
        workers: as in `prepare`.
    """

    def one(row: int) -> Conformers | BadRow:
        smiles = data.smiles(row)
        if kind == "flat":
            return generate(SmilesRow(flat_smiles(smiles)), conformers)
        start, end = data.molecules.ptr[row : row + 2].tolist()
        z = data.molecules.z[start:end].numpy().astype(np.int64)
        pos = data.molecules.pos[start:end].double().numpy()
        if kind == "mmff":
            return relax(SmilesRow(smiles), z, pos)
        return generate(SmilesRow(stereo_smiles(smiles, z, pos)), conformers)

    return flat(rows, list(ordered_map(one, rows.tolist(), workers)))


def _header(data: QM9, kind: Cheap, conformers: int) -> dict[str, Any]:
    """What identifies a file: two with the same header have the same content."""
    return {
        "version": FORMAT_VERSION,
        "kind": kind,
        "conformers": 1 if kind == "mmff" else conformers,
        "attempts": 1 if kind == "mmff" else ATTEMPTS,
        "source": data.digest(),
    }
