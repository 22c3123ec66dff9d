"""Neighbourhoods as dense blocks: the neighbours of an atom in a fixed number of slots."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from molgeo.graph.edges import Graph, Slots

GRANULE = 4
"""Numbers of slots are multiples of this: less padding with less, fewer blocks with more."""


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
        pieces = (x.split(n) for x in (atoms, edge, filled))
        blocks += [Slots(*piece) for piece in zip(*pieces, strict=True)]
    local = torch.arange(graph.n_edges, device=degree.device) - graph.ptr[graph.source]
    return blocks, row[graph.source] + local


def ranked_slots(ptr: Tensor, n_edges: int, blocks: Sequence[tuple[int, int]]) -> tuple[Slots, ...]:
    """Neighbourhoods in blocks of given sizes, without a look at the device.

    Atoms are ranked by their number of neighbours. The first block takes those with the most.

    Args:
        ptr: (atoms + 1,) int64, as in `Graph`.
        n_edges: of the graph, at least one.
        blocks: atoms and slots of each block, the widest first. All atoms with neighbours must fit:
            an atom of rank r has no more neighbours than the block of that rank has slots, which
            is not checked.

    Returns:
        The blocks. Slots that are not filled hold an edge of any atom.
    """
    degree = ptr.diff()
    order = degree.argsort(descending=True, stable=True)
    found, first = [], 0
    for n_atoms, width in blocks:
        atoms = order[first : first + n_atoms]
        first += n_atoms
        slot = torch.arange(width, device=ptr.device)
        filled = slot < degree[atoms, None]
        edge = (ptr[atoms, None] + slot * filled).clamp(max=n_edges - 1)
        found.append(Slots(atoms, edge, filled))
    return tuple(found)
