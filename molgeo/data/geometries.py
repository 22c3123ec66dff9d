"""Cheap geometries of a data set's molecules, beside its own: one flat file per kind.

A file holds any number of conformers of each molecule, and for every molecule a status: how its
geometry was made, or why there is none. No molecule is ever left out.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from molgeo.data.molecules import MoleculeSet
from molgeo.data.tensor_file import write_tensors
from molgeo.runtime.errors import InputError, SettingError

FORMAT_VERSION: Final = 2
MAX_STATUSES: Final = 256
MAX_CONFORMERS: Final = 255

OTHER: Final = "no geometry, for a reason of its own"
"""A status in place of many that are rare."""

Cheap = Literal["mmff", "smiles", "flat", "relaxed", "relaxed_smiles", "relaxed_flat"]
"""The data set's conformer at MMFF94; conformers made from the SMILES, with the stereo of the data
set's conformer or without any. Then the same three, relaxed from there by the geometry engine."""

RELAXED: Final[dict[Cheap, Cheap]] = {
    "mmff": "relaxed",
    "smiles": "relaxed_smiles",
    "flat": "relaxed_flat",
}
"""Of each cheap geometry, what the engine makes of it."""

Geometry = Literal["dft"] | Cheap
"""The data set's own, or a cheap one."""


def cheap(names: str) -> tuple[Cheap, ...]:
    """Kinds of geometries from their names with commas between.

    Raises:
        ValueError: a name is none of `Cheap`.
    """
    known: tuple[Cheap, ...] = get_args(Cheap)
    kinds = []
    for name in names.split(","):
        if name.strip() not in known:
            raise SettingError(f"geometries: expected some of {', '.join(known)}, got {name!r}")
        kinds.append(known[known.index(name.strip())])
    return tuple(kinds)


class FlatGeometries(NamedTuple):
    """Conformers of some molecules, sorted by molecule, lowest energy first within each.

    Attributes:
        rows: (molecules,) int64, ascending: the molecules' rows in the data set.
        status: (molecules,) uint8, codes of ``statuses``.
        statuses: how a geometry was made, or why there is none; those of ``statuses`` that occur
            with conformers and without are different ones.
        n_conformers: (molecules,) int64, conformers of each.
        n_atoms: (conformers,) int64.
        z: (atoms,) uint8.
        pos: (atoms, 3) float32, Å.
        energy: (conformers,) float64, kcal/mol of the force field.
        number: (conformers,) uint8, the order in which a molecule's conformers were made.
    """

    rows: NDArray[np.int64]
    status: NDArray[np.uint8]
    statuses: tuple[str, ...]
    n_conformers: NDArray[np.int64]
    n_atoms: NDArray[np.int64]
    z: NDArray[np.uint8]
    pos: NDArray[np.float32]
    energy: NDArray[np.float64]
    number: NDArray[np.uint8]


def few(statuses: list[str]) -> list[str]:
    """The same, of which no more are different than a code can tell apart: the rarer get one."""
    counted = Counter(statuses)
    if len(counted) <= MAX_STATUSES:
        return statuses
    kept = {status for status, _ in counted.most_common(MAX_STATUSES - 1)}
    return [status if status in kept else OTHER for status in statuses]


def join(parts: list[FlatGeometries]) -> FlatGeometries:
    """All molecules of several parts; if one occurs twice, the later part counts."""
    names = few([status for part in parts for status in part.statuses])
    statuses = tuple(dict.fromkeys(names))
    left = iter(names)
    codes = [np.array([statuses.index(next(left)) for _ in p.statuses], np.uint8) for p in parts]
    recoded = [code[part.status] for code, part in zip(codes, parts, strict=True)]
    together = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in FlatGeometries._fields
        if name not in ("status", "statuses")
    }
    whole = FlatGeometries(status=np.concatenate(recoded), statuses=statuses, **together)
    last = {row: k for k, row in enumerate(whole.rows.tolist())}
    return taken(whole, np.array([last[row] for row in sorted(last)], np.int64))


def taken(geometries: FlatGeometries, places: NDArray[np.int64]) -> FlatGeometries:
    """Some of the molecules, in this order; one may be there several times.

    Args:
        geometries: of molecules.
        places: (n,) of molecules in these, not their rows.
    """
    conformers = _ranges(geometries.n_conformers, places)
    atoms = _ranges(geometries.n_atoms, conformers)
    return FlatGeometries(
        rows=geometries.rows[places],
        status=geometries.status[places],
        statuses=geometries.statuses,
        n_conformers=geometries.n_conformers[places],
        n_atoms=geometries.n_atoms[conformers],
        z=geometries.z[atoms],
        pos=geometries.pos[atoms],
        energy=geometries.energy[conformers],
        number=geometries.number[conformers],
    )


def _ranges(sizes: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Members of groups that lie one after the other, for the groups in ``order``."""
    first = np.concatenate([[0], sizes.cumsum()])[order]
    size = sizes[order]
    start = np.concatenate([[0], size.cumsum()])[:-1]
    return np.repeat(first - start, size) + np.arange(size.sum())


def write_geometries(geometries: FlatGeometries, path: Path, header: dict[str, Any]) -> None:
    """Write a file, all or nothing.

    Args:
        geometries: what to write.
        path: of the file.
        header: what else identifies the file.

    Raises:
        OSError: the folder cannot be written to, or the disk is full.
    """
    arrays = geometries._asdict()
    statuses = arrays.pop("statuses")
    tensors = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
    write_tensors(tensors, {**header, "statuses": statuses}, path)


def read_geometries(path: Path) -> tuple[FlatGeometries, dict[str, Any]]:
    """Map a file into memory; its geometries and its header.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is damaged or of another version.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, Any] = json.loads((file.metadata() or {})["molgeo"])
            arrays = {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118
    # PyTorch's error is of a file that another process removes at this moment.
    except (SafetensorError, RuntimeError, KeyError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: damaged ({error}); delete it and prepare it anew") from error
    if header.get("version") != FORMAT_VERSION:
        raise InputError(
            f"{path}: expected version {FORMAT_VERSION}, got {header.get('version')}; delete it "
            "and prepare it anew"
        )
    return FlatGeometries(statuses=tuple(header.pop("statuses")), **arrays), header


@dataclass(frozen=True)
class GeometrySet:
    """Conformers of a data set's molecules, with the data set's labels.

    Attributes:
        molecules: the conformers, sorted by row; ``y`` and ``idx`` are those of their molecules.
        first: (rows + 1,) int64: conformers ``first[r]:first[r + 1]`` belong to row r of the data
            set, lowest force-field energy first.
        energy: (conformers,) float64, kcal/mol of the force field.
        number: (conformers,) uint8, the order in which a molecule's conformers were made; the
            first n are those that ``molgeo predict --conformers n`` makes.
        status: (rows,) uint8, codes of ``statuses``.
        statuses: how a geometry was made, or why there is none.
        conformers: how many were asked for of each molecule.
    """

    molecules: MoleculeSet
    first: Tensor
    energy: Tensor
    number: Tensor
    status: Tensor
    statuses: tuple[str, ...]
    conformers: int

    @property
    def exists(self) -> Tensor:
        """(rows,) bool: which molecules have a geometry."""
        return self.first.diff() > 0

    def tally(self, rows: Tensor) -> dict[str, int]:
        """How often each status occurs among some rows, most frequent first."""
        counted = Counter(self.statuses[code] for code in self.status[rows].tolist())
        return dict(counted.most_common())

    def with_descriptors(self, descriptors: Tensor) -> GeometrySet:
        """The same with what the bonds of each row's molecule say.

        Args:
            descriptors: (rows, d) float32.
        """
        row = torch.repeat_interleave(torch.arange(len(self.status)), self.first.diff())
        molecules = replace(self.molecules, descriptors=descriptors[row])
        return replace(self, molecules=molecules)

    def all_of(self, rows: Tensor, conformers: int = 0) -> Tensor:
        """All conformers of some rows.

        Args:
            rows: (n,) int64; those without a geometry count nothing.
            conformers: take those alone that would be there if so many had been asked for; 0 for
                all.

        Returns:
            (conformers,) int64, indices into `molecules`, in the order of the rows.
        """
        start, count = self.first[rows], self.first[rows + 1] - self.first[rows]
        before = count.cumsum(0) - count
        found = torch.repeat_interleave(start - before, count) + torch.arange(int(count.sum()))
        return found[self.number[found] < conformers] if conformers else found


def with_labels(
    geometries: FlatGeometries,
    y: Tensor,
    idx: Tensor,
    properties: tuple[str, ...],
    conformers: int,
    charge: Tensor | None = None,
) -> GeometrySet:
    """Join geometries of some molecules with their labels.

    Args:
        geometries: of all these molecules.
        y: (rows, properties) labels.
        idx: (rows,) the data set's own numbers.
        properties: names of the columns of ``y``.
        conformers: as in `GeometrySet`.
        charge: (rows,) int64, total charges, e; None if all are neutral.
    """
    n_conformers = torch.from_numpy(geometries.n_conformers)
    row = torch.repeat_interleave(torch.arange(len(idx)), n_conformers)
    n_atoms = torch.from_numpy(geometries.n_atoms)
    molecules = MoleculeSet(
        z=torch.from_numpy(geometries.z),
        pos=torch.from_numpy(geometries.pos),
        ptr=torch.cat([n_atoms.new_zeros(1), n_atoms.cumsum(0)]),
        y=y[row],
        idx=idx[row],
        properties=properties,
        charge=None if charge is None else charge[row],
    )
    return GeometrySet(
        molecules=molecules,
        first=torch.cat([n_conformers.new_zeros(1), n_conformers.cumsum(0)]),
        energy=torch.from_numpy(geometries.energy),
        number=torch.from_numpy(geometries.number),
        status=torch.from_numpy(geometries.status),
        statuses=geometries.statuses,
        conformers=conformers,
    )


def own_geometries(molecules: MoleculeSet) -> GeometrySet:
    """A data set's own geometries, one per molecule, energies unknown."""
    n = len(molecules)
    return GeometrySet(
        molecules=molecules,
        first=torch.arange(n + 1),
        energy=torch.full((n,), torch.nan, dtype=torch.float64),
        number=torch.zeros(n, dtype=torch.uint8),
        status=torch.zeros(n, dtype=torch.uint8),
        statuses=("given",),
        conformers=MAX_CONFORMERS,
    )
