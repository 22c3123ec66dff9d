"""Every directed edge j→i within a cutoff, as index tensors.

A `Graph` is built once per batch of structures and is never truncated: there is no
``max_num_neighbors``. It holds indices and lattice shifts only, so that distances are computed from
``pos`` inside the model and the autograd path from energy to positions is never cut.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Slots(NamedTuple):
    """Atoms with a similar number of neighbours, padded to the same number of slots.

    Slot s of atom j holds its s-th outgoing edge j→i, and with it the reverse edge i→j. Slots
    beyond an atom's degree repeat an edge: what is computed there has to be masked or ignored.

    Attributes:
        atoms: (block atoms,) int64.
        edge: (block atoms, slots) int64, the outgoing edge in each slot.
        filled: (block atoms, slots) bool, False if padded.
    """

    atoms: Tensor
    edge: Tensor
    filled: Tensor


@dataclass(frozen=True)
class Graph:
    """Directed edges j→i, both directions of each pair, sorted by their source atom j.

    Because edges that leave one atom are contiguous, a sum over the neighbours of an atom is a sum
    over a contiguous segment: by symmetry the incoming edges of atom j are the reverses of the
    edges that leave it.

    A padded graph (`molgeo.graph.padding`) has edges from ``ptr[-1]`` on that leave no atom: they
    are in nobody's neighbourhood, and lead from one padding atom to another.

    Attributes:
        source: (edges,) int64, atom j of edge j→i, ascending.
        target: (edges,) int64, atom i of edge j→i.
        reverse: (edges,) int64, index of the edge i→j; an involution.
        pair: (edges,) int64, the edge's undirected pair, which its reverse shares.
        forward: (pairs,) int64, for each pair, one of its two edges.
        ptr: (atoms + 1,) int64, edges ``ptr[j]:ptr[j + 1]`` leave atom j.
        batch: (atoms,) int64, molecule of each atom, ascending.
        n_molecules: number of molecules.
        offset: (edges, 3) lattice translation S·cell of each edge in Å, or None if no edge
            crosses a periodic boundary. ``R_i − R_j + offset`` is the displacement of edge j→i.
        slots: the neighbourhoods of all atoms that have neighbours, in blocks, if they are known;
            None to find them when they are needed, for which the host waits for the device.
        charge: (molecules,) int64, total charge of each molecule, e; None if all are neutral.
        descriptors: (molecules, d) what the bonds of each molecule say; None if nobody asked.
    """

    source: Tensor
    target: Tensor
    reverse: Tensor
    pair: Tensor
    forward: Tensor
    ptr: Tensor
    batch: Tensor
    n_molecules: int
    offset: Tensor | None = None
    slots: tuple[Slots, ...] | None = None
    charge: Tensor | None = None
    descriptors: Tensor | None = None
    _derived: dict[Hashable, Any] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return self.batch.numel()

    @property
    def n_edges(self) -> int:
        """Number of directed edges."""
        return self.source.numel()

    @property
    def edge_index(self) -> Tensor:
        """(2, edges) ``[source, target]``, PyG's convention."""
        return torch.stack([self.source, self.target])

    @property
    def degree(self) -> Tensor:
        """(atoms,) number of neighbours of each atom."""
        degree: Tensor = self.derived("degree", lambda graph: graph.ptr.diff())
        return degree

    @property
    def atoms_per_molecule(self) -> Tensor:
        """(molecules,) number of atoms of each molecule."""
        sizes: Tensor = self.derived("atoms of molecules", _atoms_per_molecule)
        return sizes

    def derived(self, key: Hashable, make: Callable[[Graph], Any]) -> Any:
        """What follows from the graph alone, made once and kept with it.

        Every layer, and every step of a simulation that keeps its graph, asks for the same. What is
        compiled makes it anew: it must hold for graphs with and without.

        Args:
            key: names it.
            make: makes it from the graph, the first time.
        """
        if torch.compiler.is_compiling():
            return make(self)
        if key not in self._derived:
            self._derived[key] = make(self)
        return self._derived[key]

    def clone(self) -> Graph:
        """A copy with tensors of its own."""
        return self.map(Tensor.clone)

    def to(self, device: torch.device | str) -> Graph:
        """The same graph on another device."""
        return self.map(lambda x: x.to(device))

    def map(self, function: Callable[[Tensor], Tensor]) -> Graph:
        """A graph of what a function makes of each tensor; nothing derived from it is taken along.

        Args:
            function: of one tensor, to one of the same meaning.
        """
        values = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        made: dict[str, Any] = {n: function(v) for n, v in values if isinstance(v, Tensor)}
        if self.slots is not None:
            made["slots"] = tuple(Slots(*map(function, block)) for block in self.slots)
        return dataclasses.replace(self, **made)

    def tensors(self) -> list[Tensor]:
        """All tensors of the graph, in a fixed order."""
        found: list[Tensor] = []
        self.map(lambda x: found.append(x) or x)  # type: ignore[func-returns-value]
        return found

    def with_offset(self, offset: Tensor | None) -> Graph:
        """The same edges through another lattice; what follows from their indices is shared.

        Args:
            offset: (edges, 3) lattice translation of each edge in Å, or None.
        """
        return self._sharing(dataclasses.replace(self, offset=offset))

    def with_known(self, charge: Tensor | None = None, descriptors: Tensor | None = None) -> Graph:
        """The same edges with what is known of the molecules; what follows from indices is shared.

        Args:
            charge: (molecules,) int64, e; None for those that the graph has.
            descriptors: (molecules, d); None likewise.
        """
        charge = self.charge if charge is None else charge
        descriptors = self.descriptors if descriptors is None else descriptors
        if charge is self.charge and descriptors is self.descriptors:
            return self
        return self._sharing(dataclasses.replace(self, charge=charge, descriptors=descriptors))

    def _sharing(self, other: Graph) -> Graph:
        other.__dict__["_derived"] = self._derived
        return other

    def displacements(self, pos: Tensor) -> Tensor:
        """Displacement of each undirected pair, along its forward edge.

        Args:
            pos: (atoms, 3) positions in Å.

        Returns:
            (pairs, 3) ``R_i − R_j + offset`` in Å of the pair's forward edge j→i.
        """
        forward = self.forward
        # The derivative of index_select is a sum, that of pos[index] sorts the index on a GPU.
        ends = pos.index_select(0, self.target[forward])
        delta = ends - pos.index_select(0, self.source[forward])
        if self.offset is not None:
            delta = delta + self.offset[forward].to(delta.dtype)
        return delta

    def vectors(self, pos: Tensor) -> Tensor:
        """(edges, 3) displacement ``R_i − R_j + offset`` of every directed edge j→i in Å."""
        delta = pos.index_select(0, self.target) - pos.index_select(0, self.source)
        return delta if self.offset is None else delta + self.offset.to(delta.dtype)

    def distances(self, pos: Tensor) -> Tensor:
        """(pairs,) interatomic distance of each undirected pair in Å."""
        return torch.linalg.vector_norm(self.displacements(pos), dim=-1)


def _atoms_per_molecule(graph: Graph) -> Tensor:
    ones = torch.ones_like(graph.batch)  # torch.bincount would wait for the device
    return ones.new_zeros(graph.n_molecules).index_add_(0, graph.batch, ones)


def assemble(
    source: Tensor,
    target: Tensor,
    reverse: Tensor,
    batch: Tensor,
    n_molecules: int,
    offset: Tensor | None,
) -> Graph:
    """Complete a graph from edges sorted by source and the index of each edge's reverse.

    All sizes are known, so that nothing waits for the device.

    Args:
        source: (edges,) int64, ascending.
        target: (edges,) int64.
        reverse: (edges,) int64.
        batch: (atoms,) int64, ascending.
        n_molecules: number of molecules.
        offset: (edges, 3) lattice translation of each edge in Å, or None.
    """
    n_pairs = source.numel() // 2
    index = torch.arange(source.numel(), device=source.device)
    is_forward = index < reverse
    number = is_forward.cumsum(0) - 1
    place = number.where(is_forward, n_pairs)  # what is not forward goes beyond the end
    forward = index.new_empty(n_pairs + 1).scatter_(0, place, index)[:n_pairs]
    atom = torch.arange(batch.numel() + 1, device=source.device)
    return Graph(
        source=source,
        target=target,
        reverse=reverse,
        pair=number[torch.minimum(index, reverse)],
        forward=forward,
        ptr=torch.searchsorted(source, atom),
        batch=batch,
        n_molecules=n_molecules,
        offset=offset,
    )
