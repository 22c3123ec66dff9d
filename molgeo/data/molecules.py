"""Many molecules as a few flat tensors, from which batches are cut without Python loops."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from molgeo.graph import Graph, radius_graph
from molgeo.runtime.errors import SettingError


class Batch(NamedTuple):
    """Some molecules, in the order wanted, under the names of PyG's ``Data``.

    Attributes:
        z: (atoms,) int64 atomic numbers.
        pos: (atoms, 3) Å.
        batch: (atoms,) int64, the molecule of each atom.
        ptr: (molecules + 1,) int64, atoms ``ptr[m]:ptr[m + 1]`` form molecule m.
        y: (molecules, properties) float64 labels.
        idx: (molecules,) int64, the data set's own number of each molecule.
        energy: (molecules,) float64, eV; None if the set has no ``energy``.
        force: (atoms, 3) float64, eV/Å; None if the set has none.
        cell: (molecules, 3, 3) float64 lattice vectors in Å, as rows; None for open systems.
        pbc: (molecules, 3) bool; None for open systems.
    """

    z: Tensor
    pos: Tensor
    batch: Tensor
    ptr: Tensor
    y: Tensor
    idx: Tensor
    energy: Tensor | None = None
    force: Tensor | None = None
    cell: Tensor | None = None
    pbc: Tensor | None = None

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        parts = {name: t.to(device) for name, t in self._asdict().items() if t is not None}
        return Batch(**parts)

    def graph(self, cutoff: float) -> Graph:
        """All pairs of atoms closer than a cutoff in Å, across boundaries if there is a lattice."""
        return radius_graph(self.pos, cutoff, self.batch, self.cell, self.pbc)

    def molecule(self, m: int) -> Batch:
        """Molecule m alone, as a batch."""
        atoms = slice(int(self.ptr[m]), int(self.ptr[m + 1]))
        own = {"batch": self.batch[atoms] - m, "ptr": self.ptr[m : m + 2] - self.ptr[m]}
        for name, part in self._asdict().items():
            if name not in own and part is not None:
                of_atoms = name in ("z", "pos", "force")
                own[name] = part[atoms] if of_atoms else part[m : m + 1]
        return Batch(**own)


@dataclass(frozen=True)
class MoleculeSet:
    """Molecules with labels, all atoms concatenated.

    Attributes:
        z: (atoms,) uint8 atomic numbers.
        pos: (atoms, 3) float32, Å.
        ptr: (molecules + 1,) int64, atoms ``ptr[m]:ptr[m + 1]`` form molecule m.
        y: (molecules, properties) float64 labels, in the units of `molgeo.properties`.
        idx: (molecules,) int64, the data set's own number of each molecule.
        properties: names of the columns of ``y``.
        force: (atoms, 3) float64, eV/Å; None if the set has none.
        cell: (molecules, 3, 3) float64 lattice vectors in Å, as rows; None for open systems.
        pbc: (molecules, 3) bool, periodic along each lattice vector; None for open systems.
    """

    z: Tensor
    pos: Tensor
    ptr: Tensor
    y: Tensor
    idx: Tensor
    properties: tuple[str, ...]
    force: Tensor | None = None
    cell: Tensor | None = None
    pbc: Tensor | None = None

    def __len__(self) -> int:
        """Number of molecules."""
        return self.ptr.numel() - 1

    def to(self, device: torch.device | str) -> MoleculeSet:
        """The same molecules on another device."""
        named = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        moved: dict[str, Any] = {n: t.to(device) for n, t in named if isinstance(t, Tensor)}
        return dataclasses.replace(self, **moved)

    def atoms(self, indices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Atoms of some molecules.

        Args:
            indices: (n,) int64, molecules, in the order wanted.

        Returns:
            ``rows`` (atoms,) of `z` and `pos`, ``batch`` (atoms,) and ``ptr`` (n + 1,).
        """
        first = self.ptr[indices]
        size = self.ptr[indices + 1] - first
        ptr = torch.cat([size.new_zeros(1), size.cumsum(0)])
        n_atoms = int(ptr[-1])
        number = torch.arange(indices.numel(), device=first.device)
        batch = torch.repeat_interleave(number, size, output_size=n_atoms)
        rows = torch.arange(n_atoms, device=first.device) + (first - ptr[:-1])[batch]
        return rows, batch, ptr

    def batch(self, indices: Tensor) -> Batch:
        """A batch of molecules.

        Args:
            indices: (n,) int64, molecules, in the order wanted.
        """
        rows, batch, ptr = self.atoms(indices)
        y = self.y[indices]
        has_energy = "energy" in self.properties
        return Batch(
            z=self.z[rows].long(),
            pos=self.pos[rows],
            batch=batch,
            ptr=ptr,
            y=y,
            idx=self.idx[indices],
            energy=y[:, self.properties.index("energy")] if has_energy else None,
            force=None if self.force is None else self.force[rows],
            cell=None if self.cell is None else self.cell[indices],
            pbc=None if self.pbc is None else self.pbc[indices],
        )

    def joined(self, other: MoleculeSet) -> MoleculeSet:
        """These molecules, then those of another set with the same labels.

        Raises:
            ValueError: the sets' labels differ, or one has forces or cells and the other has not.
        """
        if self.properties != other.properties:
            raise ValueError(
                f"properties: expected {', '.join(self.properties)}, got "
                f"{', '.join(other.properties)}"
            )
        joined: dict[str, Any] = {"ptr": torch.cat([self.ptr, other.ptr[1:] + self.ptr[-1]])}
        for name in ("z", "pos", "y", "idx", "force", "cell", "pbc"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if (mine is None) != (theirs is None):
                raise ValueError(f"{name}: expected both sets or none to have it, got one")
            if mine is not None:
                joined[name] = torch.cat([mine, theirs])
        return dataclasses.replace(self, **joined)

    def select(self, properties: tuple[str, ...]) -> MoleculeSet:
        """The same molecules with some of the labels.

        Raises:
            ValueError: a property is not among the labels.
        """
        missing = [name for name in properties if name not in self.properties]
        if missing:
            raise SettingError(
                f"properties: expected some of {', '.join(self.properties)}, got {missing[0]!r}"
            )
        columns = [self.properties.index(name) for name in properties]
        return dataclasses.replace(self, y=self.y[:, columns], properties=properties)
