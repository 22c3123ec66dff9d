"""Configurations with energies and forces as a file holds them, in its own units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molgeo.data.split import UNDECIDED
from molgeo.runtime.errors import InputError

_PER_ATOM: Final = ("z", "pos", "force")


@dataclass
class Frames:
    """Frames (configurations) with labels, all atoms concatenated.

    Attributes:
        z: (atoms,) atomic numbers.
        pos: (atoms, 3) positions.
        n_atoms: (frames,) atoms of each frame.
        energy: (frames,) float64 total energies.
        force: (atoms, 3) forces.
        group: (frames,) int64, frames of one group are never in two parts of a split; -1 for one
            that is a group of its own.
        part: (frames,) `TRAIN`, `VALIDATION`, `TEST` if the file says so, else `UNDECIDED`.
        cell: (frames, 3, 3) lattice vectors, as rows; zero if there is none.
        pbc: (frames, 3) bool.
        charge: (frames,) int64, total charge of each frame, e.
        source: name of the file, for messages.
    """

    z: NDArray[Any]
    pos: NDArray[Any]
    n_atoms: NDArray[Any]
    energy: NDArray[Any]
    force: NDArray[Any]
    group: NDArray[Any] = field(default_factory=lambda: np.zeros(0, np.int64))
    part: NDArray[Any] = field(default_factory=lambda: np.zeros(0, np.int64))
    cell: NDArray[Any] = field(default_factory=lambda: np.zeros((0, 3, 3)))
    pbc: NDArray[Any] = field(default_factory=lambda: np.zeros((0, 3), bool))
    charge: NDArray[Any] = field(default_factory=lambda: np.zeros(0, np.int64))
    source: str = "data"

    def __post_init__(self) -> None:
        """Fill in what was not given and check that all shapes fit together."""
        n = len(self.n_atoms)
        defaults = {
            "group": np.full(n, -1),
            "part": np.full(n, UNDECIDED),
            "cell": np.zeros((n, 3, 3)),
            "pbc": np.zeros((n, 3), bool),
            "charge": np.zeros(n, np.int64),
        }
        for name, value in defaults.items():
            if n and not len(getattr(self, name)):
                setattr(self, name, value)
        atoms = int(self.n_atoms.sum())
        expected = {
            "z": (atoms,),
            "pos": (atoms, 3),
            "force": (atoms, 3),
            "energy": (n,),
            "group": (n,),
            "part": (n,),
            "cell": (n, 3, 3),
            "pbc": (n, 3),
            "charge": (n,),
        }
        for name, shape in expected.items():
            if (got := np.shape(getattr(self, name))) != shape:
                raise InputError(
                    f"{self.source}: {name}: expected shape {shape} for {n} frames of {atoms} "
                    f"atoms in all, got {got}"
                )

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.n_atoms)

    @property
    def ptr(self) -> NDArray[np.int64]:
        """(frames + 1,) atoms ``ptr[m]:ptr[m + 1]`` form frame m."""
        return np.concatenate([[0], np.cumsum(self.n_atoms, dtype=np.int64)])

    @property
    def frame_of_atom(self) -> NDArray[np.int64]:
        """(atoms,) frame of each atom."""
        return np.repeat(np.arange(len(self)), self.n_atoms)

    def select(self, keep: NDArray[np.bool_]) -> Frames:
        """Some of the frames, in their order.

        Args:
            keep: (frames,) bool.
        """
        atoms = np.repeat(keep, self.n_atoms)
        chosen = {
            f.name: getattr(self, f.name)[atoms if f.name in _PER_ATOM else keep]
            for f in fields(self)
            if f.name != "source"
        }
        return Frames(**chosen, source=self.source)


def concatenate(parts: Sequence[Frames]) -> Frames:
    """All frames of several files, in order; groups of the same number are one group."""
    if len(parts) == 1:
        return parts[0]
    joined = {
        f.name: np.concatenate([getattr(p, f.name) for p in parts])
        for f in fields(Frames)
        if f.name != "source"
    }
    return Frames(**joined, source=", ".join(p.source for p in parts))
