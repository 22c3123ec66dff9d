"""Graphs of a fixed shape: what is left of a capacity is padding, which counts nowhere.

A step that is recorded once and replayed on a device must have the same shapes every time. So a
graph is padded to a capacity of atoms, edges and slots. Padding atoms form one more molecule, the
last one, and padding edges join them in pairs, so far apart that a model gives them nothing.

A load says how much of a capacity molecules take, and a capacity how much there is, in the same
order: atoms, edges, and for k = 0, 1, 2 … the atoms with more than k · `STEP` neighbours. Loads of
molecules add up to the load of their batch. Atoms that are ranked by their number of neighbours
then fit into blocks of slots of fixed sizes, whatever atoms they are.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from molgeo.graph.edges import Graph
from molgeo.graph.slots import ranked_slots

STEP: Final = 8
"""Slots by which blocks differ: a narrower block wastes less, and is one more launch."""

SPARE_ATOMS: Final = 2
"""Least padding atoms: the two ends of the padding edges."""

PADDING_Z: Final = 1
"""Element of padding atoms: one that every model knows."""

APART: Final = 32.0
"""Å between the ends of a padding edge, beyond the cutoff of every model."""

Load = NDArray[np.int64]


def load_of(degree: ArrayLike, n_steps: int | None = None) -> Load:
    """The load of some atoms.

    Args:
        degree: (atoms,) number of neighbours of each.
        n_steps: numbers k; no atom may have more than ``n_steps`` · `STEP` neighbours. If it is
            None, as few as that allows.

    Returns:
        (2 + n_steps,) atoms, edges, atoms with more than k · `STEP` neighbours for each k.
    """
    degree = np.asarray(degree, dtype=np.int64)
    if n_steps is None:
        n_steps = -(-int(degree.max(initial=0)) // STEP)
    beyond = [int((degree > k * STEP).sum()) for k in range(n_steps)]
    return np.array([len(degree), int(degree.sum()), *beyond], dtype=np.int64)


@dataclass(frozen=True)
class Capacity:
    """The fixed shape of padded graphs.

    Attributes:
        limits: largest load that fits, but that `SPARE_ATOMS` of the atoms are always padding.
            None is less than the next from the third on.
    """

    limits: tuple[int, ...]

    @classmethod
    def around(cls, load: Load, spare: float, n_spare_atoms: int = 0) -> Capacity:
        """A capacity that holds the load of some atoms with more neighbours too.

        Args:
            load: of the atoms.
            spare: room for more edges and for atoms with more neighbours, as a part of those.
            n_spare_atoms: room for more atoms.
        """
        n_atoms, n_edges, *beyond = load.tolist()
        n_atoms += n_spare_atoms
        # Some atoms may come to have more neighbours than any has now: one block more.
        extra = STEP + n_atoms // STEP
        now = [n for n in beyond if n]
        more = [min(n_atoms, math.ceil((1 + spare) * n) + extra) for n in (*now, 0)]
        n_edges = math.ceil((1 + spare) * n_edges) + 2
        return cls((n_atoms + SPARE_ATOMS, n_edges + n_edges % 2, *more))

    @property
    def atoms(self) -> int:
        """Atoms, padding included."""
        return self.limits[0]

    @property
    def edges(self) -> int:
        """Directed edges, padding included; an even number."""
        return self.limits[1]

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """Atoms and slots of each block of neighbourhoods, the widest first."""
        beyond = (*self.limits[2:], 0)
        sizes = [(beyond[k] - beyond[k + 1], (k + 1) * STEP) for k in range(len(beyond) - 1)]
        return tuple(size for size in reversed(sizes) if size[0])

    def holds(self, load: Load) -> bool:
        """Whether molecules of a load fit."""
        if len(load) > len(self.limits) and load[len(self.limits) :].any():
            return False
        n = min(len(load), len(self.limits))
        needed = load[:n] + np.array([SPARE_ATOMS, *[0] * (n - 1)])
        return bool((needed <= np.array(self.limits[:n])).all())


def padded(graph: Graph, capacity: Capacity) -> Graph:
    """A graph in a capacity's shape, its neighbourhoods in blocks; nothing waits for the device.

    Args:
        graph: whose load the capacity holds, which is not checked beyond atoms and edges.
        capacity: the shape.

    Returns:
        The same atoms and edges, then padding; one molecule more.

    Raises:
        ValueError: more atoms or edges than fit.
    """
    n_atoms, n_edges = graph.n_atoms, graph.n_edges
    spare, n_pairs = capacity.atoms - n_atoms, (capacity.edges - n_edges) // 2
    if spare < SPARE_ATOMS or n_pairs < 0:
        raise ValueError(
            f"capacity: expected at least {n_atoms + SPARE_ATOMS} atoms and {n_edges} edges, got "
            f"{capacity.atoms} and {capacity.edges}"
        )
    number = torch.arange(n_pairs, device=graph.source.device)
    first = n_atoms + 2 * (number % (spare // 2))  # spread, so that sums over an atom stay short
    forward = n_edges + number
    ptr = torch.cat([graph.ptr, graph.ptr[-1:].expand(spare)])
    padding = graph.batch.new_full((spare,), graph.n_molecules)
    offset = graph.offset
    if offset is not None:
        offset = torch.cat([offset, offset.new_zeros(2 * n_pairs, 3)])
    charge, descriptors = (
        None if known is None else torch.cat([known, known.new_zeros(1, *known.shape[1:])])
        for known in (graph.charge, graph.descriptors)
    )
    return dataclasses.replace(
        graph,
        source=torch.cat([graph.source, first, first + 1]),
        target=torch.cat([graph.target, first + 1, first]),
        reverse=torch.cat([graph.reverse, forward + n_pairs, forward]),
        pair=torch.cat([graph.pair, *[graph.forward.numel() + number] * 2]),
        forward=torch.cat([graph.forward, forward]),
        ptr=ptr,
        batch=torch.cat([graph.batch, padding]),
        n_molecules=graph.n_molecules + 1,
        offset=offset,
        slots=ranked_slots(ptr, capacity.edges, capacity.blocks),
        charge=charge,
        descriptors=descriptors,
    )


def padded_atoms(z: Tensor, pos: Tensor, capacity: Capacity) -> tuple[Tensor, Tensor]:
    """Elements and positions of the atoms of a padded graph.

    Args:
        z: (atoms,) int64.
        pos: (atoms, 3) Å.
        capacity: the shape.

    Returns:
        The same, then those of padding atoms, each two of which are `APART`.
    """
    spare = capacity.atoms - len(z)
    place = torch.zeros(spare, 3, dtype=pos.dtype, device=pos.device)
    place[1::2, 0].fill_(APART)
    return torch.cat([z, z.new_full((spare,), PADDING_Z)]), torch.cat([pos, place])
