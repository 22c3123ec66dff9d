"""The neighbourhoods of a graph as padded blocks, for the forms that are dense products."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from molgeo.graph.edges import Graph
from molgeo.graph.slots import neighbour_slots

ROWS_PER_BLOCK = 1024
"""Padded edges taken at a time on a CPU: 2 MB of 7 · 64 float32, the L2 of two cores."""


class Plan(NamedTuple):
    """The slots of all neighbourhoods, in blocks of atoms with equally many.

    Slot s of atom j takes in the features of the edge k→j and gives out the message of its
    reverse j→k; both belong to the same undirected pair.

    Attributes:
        sizes: (atoms, slots) of each block.
        given: (rows,) int64, outgoing edge of each slot; padded ones repeat one of their atom's.
        taken: (rows,) int64, its reverse.
        pair: (rows,) int64, its pair.
        filled: (rows, 1) bool, False where padded.
        kept: (Σ atoms · slots², 1) bool, the pairs of slots that are triplets: both filled, k ≠ i.
        place: (edges,) int64, the slot that gives out each edge.
        place_taken: (edges,) int64, the slot that takes in each edge.
        place_forward: (pairs,) int64, the slot that gives out each pair's forward edge.
        place_backward: (pairs,) int64, the slot that gives out its reverse.
    """

    sizes: list[tuple[int, int]]
    given: Tensor
    taken: Tensor
    pair: Tensor
    filled: Tensor
    kept: Tensor
    place: Tensor
    place_taken: Tensor
    place_forward: Tensor
    place_backward: Tensor

    @property
    def rows(self) -> list[int]:
        """Number of slots of each block."""
        return [n_atoms * n_slots for n_atoms, n_slots in self.sizes]


def make_plan(graph: Graph) -> Plan:
    """The plan of a graph, made once and kept with it."""
    return graph.derived("directional plan", _make_plan)


def _make_plan(graph: Graph) -> Plan:
    on_cpu = graph.source.device.type == "cpu"
    rows = ROWS_PER_BLOCK if on_cpu else graph.n_edges + graph.n_atoms
    blocks, place = neighbour_slots(graph, rows)
    given = torch.cat([block.edge.flatten() for block in blocks] or [graph.source])
    filled = torch.cat([block.filled.flatten() for block in blocks] or [graph.source.bool()])
    kept = torch.cat([_triplets(block.filled) for block in blocks] or [graph.source.bool()])
    return Plan(
        sizes=[(block.edge.shape[0], block.edge.shape[1]) for block in blocks],
        given=given,
        taken=graph.reverse[given],
        pair=graph.pair[given],
        filled=filled.unsqueeze(-1),
        kept=kept.unsqueeze(-1),
        place=place,
        place_taken=place[graph.reverse],
        place_forward=place[graph.forward],
        place_backward=place[graph.reverse[graph.forward]],
    )


def _triplets(filled: Tensor) -> Tensor:
    """Which pairs of slots of a block are triplets, flattened."""
    kept = filled.unsqueeze(1) & filled.unsqueeze(2)
    kept.diagonal(dim1=1, dim2=2).fill_(False)
    return kept.flatten()
