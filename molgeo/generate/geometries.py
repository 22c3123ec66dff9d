"""Make cheap geometries of many molecules, in pieces that survive a kill.

A piece of 1,000 molecules is written as a whole, and the next call finds it again. The pieces are
joined in the end.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molgeo.chem.conformers.conformers import Conformers
from molgeo.chem.molecule import BadRow
from molgeo.data.geometries import FlatGeometries, few, join, read_geometries, write_geometries
from molgeo.runtime.progress import Progress

PIECE: Final = 1000
"""Molecules between two files."""


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
        parts.append(piece(folder, rows[start : start + PIECE], header, make, f"{start:06d}"))
        if progress:
            progress(min(start + PIECE, len(rows)), len(rows))
    # Within the folder, so that whatever a kill leaves goes with it.
    write_geometries(join(parts), folder / path.name, header)
    os.replace(folder / path.name, path)
    shutil.rmtree(folder, ignore_errors=True)


def tally(path: Path) -> dict[str, int]:
    """How often each status occurs in a file, most frequent first."""
    geometries, _ = read_geometries(path)
    counted = Counter(geometries.statuses[code] for code in geometries.status.tolist())
    return dict(counted.most_common())


def flat(rows: NDArray[np.int64], made: list[Conformers | BadRow]) -> FlatGeometries:
    """What was made of each row, as flat arrays."""
    names = few([m.message if isinstance(m, BadRow) else m.geometry for m in made])
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


def parted(made: FlatGeometries) -> list[Conformers | BadRow]:
    """What was made of each row, from flat arrays; of neutral molecules."""
    found: list[Conformers | BadRow] = []
    atoms = np.concatenate([[0], made.n_atoms.cumsum()])
    last = made.n_conformers.cumsum()
    for code, n, end in zip(made.status.tolist(), made.n_conformers.tolist(), last, strict=True):
        if n == 0:
            found.append(BadRow("", message=made.statuses[code]))
            continue
        own, a, b = slice(end - n, end), atoms[end - n], atoms[end]
        pos = made.pos[a:b].astype(float).reshape(n, -1, 3)
        z = made.z[a : a + pos.shape[1]].astype(np.int64)
        number = made.number[own].astype(np.int64)
        found.append(Conformers(z, pos, made.energy[own], number, 0, made.statuses[code]))
    return found


def _joined(arrays: list[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate(arrays).astype(dtype) if arrays else np.zeros(0, dtype)


def piece(
    folder: Path,
    rows: NDArray[np.int64],
    header: dict[str, Any],
    make: Callable[[NDArray[np.int64]], FlatGeometries],
    name: str = "",
) -> FlatGeometries:
    """One piece, made now or by a run before.

    Args:
        folder: in which it is kept.
        rows: (n,) ascending.
        header: as of `make_in_pieces`.
        make: as of `make_in_pieces`.
        name: of its file; "" for one that its rows and header give.

    Raises:
        OSError: the folder cannot be written to, or the disk is full.
    """
    own = {**header, "rows": hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()}
    name = name or hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{name}.safetensors"
    geometries, found = made_before(path)
    if geometries is None or found != own:
        geometries = make(rows)
        write_geometries(geometries, path, own)
    return geometries


def made_before(path: Path) -> tuple[FlatGeometries | None, dict[str, Any]]:
    """What an earlier run made, with its header; None if there is nothing that can be read."""
    try:
        return read_geometries(path)
    except (FileNotFoundError, ValueError):
        return None, {}
