"""Make cheap geometries of all of QM9, in threads and in pieces that survive a kill.

The geometry of a molecule depends on its SMILES (and coordinates) alone. A piece of 1,000 molecules
is written as a whole, and the next call finds it again. The pieces are joined in the end.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

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
    join,
    read,
    write,
)
from molgeo.data.qm9.dataset import QM9, geometry_path
from molgeo.runtime.errors import SettingError

PIECE: Final = 1000
"""Molecules between two files."""

Progress = Callable[[int, int], None]


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
    old, found = _usable(path, header)
    rows = np.arange(len(data))
    if old is not None:
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


def make_in_pieces(
    path: Path,
    rows: NDArray[np.int64],
    header: dict[str, Any],
    make: Callable[[NDArray[np.int64]], FlatGeometries],
    progress: Progress | None = None,
    old: FlatGeometries | None = None,
) -> None:
    """Make geometries piece by piece; what a run that was broken off has made is kept.

    Args:
        path: of the file.
        rows: (n,) ascending.
        header: of the file, which identifies its content.
        make: gives geometries of some rows.
        progress: told (molecules done, molecules in all).
        old: geometries of other rows, which the file will have too.
    """
    folder = path.with_suffix(".parts")
    parts = [] if old is None else [old]
    for start in range(0, len(rows), PIECE):
        piece = rows[start : start + PIECE]
        parts.append(_piece(folder / f"{start:06d}.safetensors", piece, header, make))
        if progress:
            progress(min(start + PIECE, len(rows)), len(rows))
    # Within the folder, so that whatever a kill leaves goes with it.
    write(join(parts), folder / path.name, header)
    os.replace(folder / path.name, path)
    shutil.rmtree(folder, ignore_errors=True)


def tally(path: Path) -> dict[str, int]:
    """How often each status occurs in a file, most frequent first."""
    geometries, _ = read(path)
    counted = Counter(geometries.statuses[code] for code in geometries.status.tolist())
    return dict(counted.most_common())


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


def flat(rows: NDArray[np.int64], made: list[Conformers | BadRow]) -> FlatGeometries:
    """What was made of each row, as flat arrays."""
    names = [m.message if isinstance(m, BadRow) else m.geometry for m in made]
    statuses = tuple(dict.fromkeys(names))
    found = [m for m in made if not isinstance(m, BadRow)]
    count = [0 if isinstance(m, BadRow) else len(m.pos) for m in made]
    return FlatGeometries(
        rows=rows.astype(np.int64),
        status=np.array([statuses.index(name) for name in names], np.uint8),
        statuses=statuses,
        n_conformers=np.array(count, np.int64),
        n_atoms=_joined([np.full(len(m.pos), len(m.z)) for m in found], np.int64),
        z=_joined([np.tile(m.z, len(m.pos)) for m in found], np.uint8),
        pos=_joined([m.pos.reshape(-1) for m in found], np.float32).reshape(-1, 3),
        energy=_joined([m.energy for m in found], np.float64),
        number=_joined([m.number for m in found], np.uint8),
    )


def _joined(arrays: list[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate(arrays).astype(dtype) if arrays else np.zeros(0, dtype)


def _header(data: QM9, kind: Cheap, conformers: int) -> dict[str, Any]:
    """What identifies a file: two with the same header have the same content."""
    return {
        "version": FORMAT_VERSION,
        "kind": kind,
        "conformers": 1 if kind == "mmff" else conformers,
        "attempts": 1 if kind == "mmff" else ATTEMPTS,
        "source": data.digest(),
    }


def _usable(
    path: Path, header: dict[str, Any]
) -> tuple[FlatGeometries, dict[str, Any]] | tuple[None, dict[str, Any]]:
    """What an earlier run made, if it is of these molecules and enough conformers."""
    try:
        geometries, found = read(path)
    except (FileNotFoundError, ValueError):
        return None, {}
    same = found["source"] == header["source"] and found["conformers"] >= header["conformers"]
    return (geometries, found) if same else (None, {})


def _piece(
    path: Path,
    rows: NDArray[np.int64],
    header: dict[str, Any],
    make: Callable[[NDArray[np.int64]], FlatGeometries],
) -> FlatGeometries:
    """One piece, made now or by a run that was broken off."""
    own = {**header, "rows": hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()}
    try:
        geometries, found = read(path)
        if found == own:
            return geometries
    except (FileNotFoundError, ValueError):
        pass
    geometries = make(rows)
    write(geometries, path, own)
    return geometries
