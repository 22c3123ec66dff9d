"""Neighbourhoods as dense blocks: the neighbours of an atom in a fixed number of slots."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from molgeo.graph.edges import Graph

GRANULE = 4
"""Numbers of slots are multiples of this: less padding with less, fewer blocks with more."""


@dataclass(frozen=True)
class Slots:
    """Atoms with a similar number of neighbours, padded to the same number of slots.

    Slot s of atom j holds its s-th outgoing edge j→i, and with it the reverse edge i→j. Slots
    beyond an atom's degree repeat its first edge: what is computed there has to be masked or
    ignored.

    Attributes:
        edge: (block atoms, slots) int64, the outgoing edge in each slot.
        filled: (block atoms, slots) bool, False if padded.
    """

    edge: Tensor
    filled: Tensor


def neighbour_slots(graph: Graph, rows: int) -> tuple[list[Slots], Tensor]:
    """Group the atoms of a graph by their number of neighbours.

    Args:
        graph: the edges. Atoms without neighbours are in no block.
        rows: slots a block may have, all its atoms together, unless it is of a single atom.

    Returns:
        The blocks, and (edges,) int64, the position of each edge in the flattened and concatenated
        slots of all blocks.
    """
    degree = graph.degree
    widest = int(degree.max()) if degree.numel() else 0
    granule = GRANULE if degree.numel() * widest > rows else max(widest, 1)  # one block will do
    granules = (degree + (granule - 1)) // granule
    row = torch.zeros_like(degree)  # first slot of each atom
    order = granules.argsort(stable=True)
    blocks = []
    start = first = 0
    for number, n_atoms in enumerate(torch.bincount(granules).tolist()):
        atoms = order[first : first + n_atoms]
        first += n_atoms
        if number == 0 or n_atoms == 0:
            continue
        width = number * granule
        slot = torch.arange(width, device=degree.device)
        filled = slot < degree[atoms, None]
        edge = graph.ptr[atoms, None] + slot * filled
        row[atoms] = torch.arange(start, start + edge.numel(), width, device=degree.device)
        start += edge.numel()
        n = max(1, rows // width)
        blocks += [Slots(e, f) for e, f in zip(edge.split(n), filled.split(n), strict=True)]
    local = torch.arange(graph.n_edges, device=degree.device) - graph.ptr[graph.source]
    return blocks, row[graph.source] + local
