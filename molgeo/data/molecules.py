"""Many molecules as a few flat tensors, from which batches are cut without Python loops."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molgeo.data.neighbours import Neighbours, neighbours_of
from molgeo.graph import Graph, radius_graph
from molgeo.graph.padding import Capacity, padded, padded_atoms
from molgeo.runtime.device import sent
from molgeo.runtime.errors import SettingError
from molgeo.runtime.progress import Progress, silent

ATOMS_AT_ONCE: Final = 16_384
"""Atoms whose neighbours are looked for at a time, so that memory stays small."""

PADDING_IDX: Final = -1
"""Number of the molecule of a padded batch that is made of padding atoms."""


class Edges:
    """The graph of a batch that was gathered, not searched.

    It is a class of its own, as Lightning would look into tuples and dataclasses to change types.

    Args:
        graph: of the batch.
        cutoff: Å, closer than which atoms are neighbours.
        capacity: the shape that the batch is padded to; None if it is not padded.
    """

    def __init__(self, graph: Graph, cutoff: float, capacity: Capacity | None = None) -> None:
        self.graph = graph
        self.cutoff = cutoff
        self.capacity = capacity


class Batch(NamedTuple):
    """Some molecules, in the order wanted, under the names of PyG's ``Data``.

    A padded batch has one molecule more, the last one, of atoms that count nowhere. Its labels are
    NaN, as those that nobody knows, and its number is -1.

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
        charge: (molecules,) int64, total charge, e; None if the set is neutral.
        descriptors: (molecules, d) float32, what the bonds say; None if the set has none.
        edges: its graph, if that was gathered; None again if atoms are moved.
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
    charge: Tensor | None = None
    descriptors: Tensor | None = None
    edges: Edges | None = None

    @property
    def capacity(self) -> Capacity | None:
        """The shape that the batch is padded to; None if it is not padded."""
        return None if self.edges is None else self.edges.capacity

    @property
    def n_molecules(self) -> int:
        """Number of molecules, without that of padding."""
        return len(self.y) - (self.capacity is not None)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device; the host does not wait for a card."""
        there = torch.device(device)
        return self if self.pos.device == there else self.map(lambda x: sent(x, there))

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """A batch of what a function makes of each tensor, those of the graph included.

        Args:
            function: of one tensor, to one of the same meaning.
        """
        parts: dict[str, Any] = {
            name: function(x) for name, x in self._asdict().items() if isinstance(x, Tensor)
        }
        if self.edges is not None:
            graph = self.edges.graph.map(function)
            parts["edges"] = Edges(graph, self.edges.cutoff, self.edges.capacity)
        return Batch(**parts)

    def tensors(self) -> list[Tensor]:
        """All tensors of the batch and its graph, in a fixed order."""
        found: list[Tensor] = []
        self.map(lambda x: found.append(x) or x)  # type: ignore[func-returns-value]
        return found

    def graph(self, cutoff: float) -> Graph:
        """All pairs of atoms closer than a cutoff in Å, across boundaries if there is a lattice.

        It has the charges and the descriptors of the molecules.

        The graph is the one that was gathered if it is of that cutoff, else it is searched for.

        Raises:
            ValueError: the batch is padded, and the cutoff another one.
        """
        if self.edges is not None and self.edges.cutoff == cutoff:
            return self._known(self.edges.graph)
        if self.edges is not None and self.edges.capacity is not None:
            raise ValueError(
                f"cutoff: expected that of the padded batch, {self.edges.cutoff}, got {cutoff}"
            )
        return self._known(radius_graph(self.pos, cutoff, self.batch, self.cell, self.pbc))

    def _known(self, graph: Graph) -> Graph:
        """A graph with what is known of the molecules beside their atoms."""
        return graph.with_known(self.charge, self.descriptors)

    def padded(self, capacity: Capacity) -> Batch:
        """The same batch in a capacity's shape.

        Args:
            capacity: that holds the batch's load.

        Raises:
            ValueError: the batch has no gathered graph, or more atoms or edges than fit.
        """
        if self.edges is None:
            raise ValueError("capacity: expected a batch with its graph, got one without")
        graph = padded(self.edges.graph, capacity)
        z, pos = padded_atoms(self.z, self.pos, capacity)
        n_spare = capacity.atoms - len(self.z)
        return Batch(
            z=z,
            pos=pos,
            batch=graph.batch,
            ptr=_longer(self.ptr, 1, capacity.atoms),
            y=_longer(self.y, 1, math.nan),
            idx=_longer(self.idx, 1, PADDING_IDX),
            energy=None if self.energy is None else _longer(self.energy, 1, math.nan),
            force=None if self.force is None else _longer(self.force, n_spare, math.nan),
            cell=None if self.cell is None else _longer(self.cell, 1, 0),
            pbc=None if self.pbc is None else _longer(self.pbc, 1, False),
            charge=None if self.charge is None else _longer(self.charge, 1, 0),
            descriptors=None if self.descriptors is None else _longer(self.descriptors, 1, 0),
            edges=Edges(graph, self.edges.cutoff, capacity),
        )

    def molecule(self, m: int) -> Batch:
        """Molecule m alone, as a batch without a gathered graph."""
        atoms = slice(int(self.ptr[m]), int(self.ptr[m + 1]))
        own: dict[str, Any] = {
            "batch": self.batch[atoms] - m,
            "ptr": self.ptr[m : m + 2] - self.ptr[m],
        }
        for name, part in self._asdict().items():
            if name not in own and isinstance(part, Tensor):
                of_atoms = name in ("z", "pos", "force")
                own[name] = part[atoms] if of_atoms else part[m : m + 1]
        return Batch(**own)


def _longer(x: Tensor, n: int, value: float) -> Tensor:
    """A tensor with n more rows of a value."""
    return torch.cat([x, x.new_full((n, *x.shape[1:]), value)])


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
        charge: (molecules,) int64, total charge, e; None if all are neutral.
        descriptors: (molecules, d) float32, what the bonds say; None if nobody asked.
        neighbours: lists of these very positions, from which batches gather their graphs; None if
            each batch is to search.
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
    charge: Tensor | None = None
    descriptors: Tensor | None = None
    neighbours: Neighbours | None = None

    def __len__(self) -> int:
        """Number of molecules."""
        return self.ptr.numel() - 1

    @cached_property
    def bounds(self) -> NDArray[np.int64]:
        """(molecules + 1,) ``ptr``, as the host knows it."""
        return self.ptr.cpu().numpy()

    def heavy_atoms(self, rows: Tensor) -> Tensor:
        """Atoms other than hydrogen of some molecules, (n,) int64."""
        atoms, batch, _ = self.atoms(rows)
        return batch[self.z[atoms] > 1].bincount(minlength=len(rows))

    @property
    def n_bytes(self) -> int:
        """Memory that all tensors take, in bytes."""
        own = sum(x.nbytes for x in vars(self).values() if isinstance(x, Tensor))
        return own + (self.neighbours.n_bytes if self.neighbours is not None else 0)

    def to(self, device: torch.device | str) -> MoleculeSet:
        """The same molecules on another device."""
        named = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        moved: dict[str, Any] = {
            n: x.to(device) for n, x in named if isinstance(x, Tensor | Neighbours)
        }
        other = dataclasses.replace(self, **moved)
        other.__dict__["bounds"] = self.bounds
        return other

    def with_neighbours(
        self, cutoff: float, indices: Tensor, progress: Progress = silent
    ) -> MoleculeSet:
        """The same set, with the neighbour lists of some of its molecules (`find_neighbours`)."""
        return dataclasses.replace(self, neighbours=self.find_neighbours(cutoff, indices, progress))

    def find_neighbours(
        self, cutoff: float, indices: Tensor, progress: Progress = silent
    ) -> Neighbours:
        """The neighbour lists of some molecules.

        Args:
            cutoff: Å.
            indices: (n,) int64, the molecules, in any order.
            progress: called with (molecules done, molecules in all).
        """
        chosen = np.unique(indices.cpu().numpy())
        graphs = self._graphs(self._parts(chosen), cutoff, progress)
        return neighbours_of(graphs, chosen, self.bounds, cutoff).to(self.z.device)

    def _graphs(
        self, parts: list[NDArray[np.int64]], cutoff: float, progress: Progress
    ) -> Iterator[tuple[Tensor, Graph]]:
        """Atoms and searched graphs of batches of molecules."""
        done, n = 0, sum(map(len, parts))
        for part in parts:
            indices = torch.from_numpy(part)
            yield self.atoms(indices)[0], self.batch(indices).graph(cutoff)
            done += len(part)
            progress(done, n)

    def _parts(self, chosen: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Molecules in parts of about `ATOMS_AT_ONCE`."""
        ends = (self.bounds[chosen + 1] - self.bounds[chosen]).cumsum()
        return np.split(chosen, np.flatnonzero(np.diff(ends // ATOMS_AT_ONCE)) + 1)

    def atoms(self, indices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Atoms of some molecules; the host does not wait for a card if the indices are there.

        Args:
            indices: (n,) int64, molecules, in the order wanted.

        Returns:
            ``rows`` (atoms,) of `z` and `pos`, ``batch`` (atoms,) and ``ptr`` (n + 1,).
        """
        chosen, device = indices.cpu().numpy(), self.z.device
        first = self.bounds[chosen]
        ends = np.concatenate([[0], (self.bounds[chosen + 1] - first).cumsum()])
        n_atoms = int(ends[-1])
        starts = np.append(first - ends[:-1], 0)
        start, ptr = sent(torch.from_numpy(np.stack([starts, ends])), device)
        number = torch.arange(len(chosen), device=device)
        batch = number.repeat_interleave(ptr.diff(), output_size=n_atoms)
        return torch.arange(n_atoms, device=device) + start.index_select(0, batch), batch, ptr

    def batch(self, indices: Tensor, capacity: Capacity | None = None) -> Batch:
        """A batch of molecules, with its graph if their neighbours are known.

        Args:
            indices: (n,) int64, molecules, in the order wanted; on the host, so that it does not
                wait for a card.
            capacity: pad the batch to this shape, which is to hold its load.

        Raises:
            ValueError: there is a capacity, and the neighbours are not known or too many.
        """
        rows, batch, ptr = self.atoms(indices)
        here = sent(indices, self.z.device)
        y = self.y[here]
        has_energy = "energy" in self.properties
        found = Batch(
            z=self.z.index_select(0, rows).long(),
            pos=self.pos.index_select(0, rows),
            batch=batch,
            ptr=ptr,
            y=y,
            idx=self.idx[here],
            energy=y[:, self.properties.index("energy")] if has_energy else None,
            force=None if self.force is None else self.force[rows],
            cell=None if self.cell is None else self.cell[here],
            pbc=None if self.pbc is None else self.pbc[here],
            charge=None if self.charge is None else self.charge[here],
            descriptors=None if self.descriptors is None else self.descriptors[here],
            edges=self._edges(indices, rows, batch, capacity is not None),
        )
        return found if capacity is None else found.padded(capacity)

    def _edges(
        self, indices: Tensor, rows: Tensor, batch: Tensor, is_to_be_padded: bool
    ) -> Edges | None:
        known, chosen = self.neighbours, indices.cpu().numpy()
        if known is None or not known.knows(chosen):
            return None
        return Edges(known.graph(chosen, rows, batch, is_to_be_padded), known.cutoff)

    def joined(self, other: MoleculeSet) -> MoleculeSet:
        """These molecules, then those of another set with the same labels.

        What has no charges is neutral, and what has no cells is open.

        Raises:
            ValueError: the sets' labels differ, or one has forces or descriptors and the other not.
        """
        if self.properties != other.properties:
            raise ValueError(
                f"properties: expected {', '.join(self.properties)}, got "
                f"{', '.join(other.properties)}"
            )
        ptr = torch.cat([self.ptr, other.ptr[1:] + self.ptr[-1]])
        joined: dict[str, Any] = {"ptr": ptr, "neighbours": None}
        for name in ("z", "pos", "y", "idx", "force", "cell", "pbc", "charge", "descriptors"):
            mine, theirs = getattr(self, name), getattr(other, name)
            is_one_sided = (mine is None) != (theirs is None)
            if is_one_sided and name in ("force", "descriptors"):
                raise ValueError(f"{name}: expected both sets or none to have it, got one")
            if mine is None and theirs is not None:
                mine = theirs.new_zeros(len(self), *theirs.shape[1:])
            if theirs is None and mine is not None:
                theirs = mine.new_zeros(len(other), *mine.shape[1:])
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
