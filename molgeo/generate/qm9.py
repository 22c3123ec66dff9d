"""Cheap geometries of QM9: each depends on the molecule's SMILES (and coordinates) alone.

Those that the geometry engine relaxes depend on it too. What is made for an evaluation is kept
beside the data set.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from pathlib import Path
from typing import Any, NamedTuple

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
    RELAXED,
    Cheap,
    FlatGeometries,
)
from molgeo.data.qm9.dataset import QM9, geometry_path
from molgeo.generate.geometries import flat, made_before, make_in_pieces, parted, piece
from molgeo.predictor import checkpoint
from molgeo.runtime.errors import SettingError
from molgeo.runtime.progress import Progress
from molgeo.simulation.engine import GeometryEngine


class Choice(NamedTuple):
    """Which conformers of a molecule are relaxed.

    Attributes:
        about: what tells it from other choices: plain JSON values.
        numbers: from rows, (n,), to the numbers of each one's conformers; None for all of them.
    """

    about: dict[str, Any]
    numbers: Callable[[NDArray[np.int64]], list[set[int] | None]]


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
    engine = engine_for(kind)
    header = _header(data, kind, conformers, engine)
    old, found = made_before(path)
    rows = np.arange(len(data))
    is_of_these = all(found.get(name) == header.get(name) for name in ("source", "engine"))
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
        lambda some: make(data, some, kind, header["conformers"], workers, engine),
        progress,
        old,
    )
    return path


def make(
    data: QM9,
    rows: NDArray[np.int64],
    kind: Cheap,
    conformers: int = 1,
    workers: int | None = None,
    engine: GeometryEngine | None = None,
    choice: Choice | None = None,
) -> FlatGeometries:
    """Geometries of some molecules.

    Args:
        data: the data set.
        rows: (n,) ascending.
        kind: as in `prepare`.
        conformers: as in `prepare`.
        workers: as in `prepare`.
        engine: of a kind that is relaxed; None to load the shipped one.
        choice: which conformers it relaxes; None for all of them.
    """
    engine = engine or engine_for(kind)
    if engine is not None:
        before = next(cheap for cheap, relaxed in RELAXED.items() if relaxed == kind)
        made = parted(make_once(data, rows, before, conformers, workers))
        if choice is not None:
            made = list(map(chosen, made, choice.numbers(rows)))
        relaxed = iter(engine.relax([one for one in made if not isinstance(one, BadRow)]))
        return flat(rows, [one if isinstance(one, BadRow) else next(relaxed) for one in made])

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


def make_once(
    data: QM9,
    rows: NDArray[np.int64],
    kind: Cheap,
    conformers: int,
    workers: int | None = None,
    engine: GeometryEngine | None = None,
    choice: Choice | None = None,
) -> FlatGeometries:
    """As `make`, but what was made before is read.

    Args:
        data: as in `make`.
        rows: as in `make`.
        kind: as in `make`.
        conformers: as in `make`.
        workers: as in `make`.
        engine: as in `make`.
        choice: as in `make`.
    """
    engine = engine or engine_for(kind)
    found: list[FlatGeometries] = []

    def make_now(some: NDArray[np.int64]) -> FlatGeometries:
        found.append(make(data, some, kind, conformers, workers, engine, choice))
        return found[-1]

    folder = geometry_path(data.root, kind).with_suffix(".kept")
    header = _header(data, kind, conformers, engine)
    header |= {} if choice is None else {"choice": choice.about}
    try:
        return piece(folder, rows, header, make_now)
    except OSError:  # a folder that cannot be written to, or a full disk
        if not found:
            raise
        return found[-1]


def chosen(made: Conformers | BadRow, numbers: Set[int] | None) -> Conformers | BadRow:
    """A molecule with some of its conformers.

    Args:
        made: with all of them.
        numbers: theirs; None for all.
    """
    if isinstance(made, BadRow) or numbers is None:
        return made
    is_in = [number in numbers for number in made.number.tolist()]
    return made._replace(pos=made.pos[is_in], energy=made.energy[is_in], number=made.number[is_in])


def engine_for(kind: Cheap) -> GeometryEngine | None:
    """The shipped engine if a kind of geometries needs it; else None.

    Raises:
        SettingError: there is none.
    """
    if kind not in RELAXED.values():
        return None
    name = checkpoint.geometry_engine()
    if name is None:
        raise SettingError(f"geometries: {kind} needs a geometry engine, and none is shipped")
    return GeometryEngine(name)


def _header(
    data: QM9, kind: Cheap, conformers: int, engine: GeometryEngine | None
) -> dict[str, Any]:
    """What identifies a file: two with the same header have the same content."""
    is_given = kind in ("mmff", "relaxed")
    header = {
        "version": FORMAT_VERSION,
        "kind": kind,
        "conformers": 1 if is_given else conformers,
        "attempts": 1 if is_given else ATTEMPTS,
        "source": data.digest(),
    }
    return header if engine is None else {**header, "engine": engine.weights}
