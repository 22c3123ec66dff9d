"""Neighbourhoods in blocks: atoms with about as many neighbours, padded to as many slots.

Sums over the neighbours of an atom, and over pairs of them, are then batched matrix products.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from molgeo.graph.edges import Graph, Slots
from molgeo.graph.slots import neighbour_slots


class Block(NamedTuple):
    """Some atoms, each of which has a slot for each of its neighbours.

    Slot s of atom j holds an edge that leaves it, j→k. Padded slots repeat an edge: what is
    computed there is zero, or left out by ``filled``.

    Attributes:
        size: atoms and slots.
        atoms: (atoms,) int64.
        edge: (atoms · slots,) int64, the edge j→k in each slot.
        reverse: (atoms · slots,) int64, the edge k→j.
        neighbour: (atoms · slots,) int64, atom k.
        pair: (atoms · slots,) int64, the undirected pair of both edges.
        filled: (atoms · slots, 1) bool, False if padded.
        triplets: (atoms, slots i, slots k) bool, whether both slots are filled and i ≠ k.
    """

    size: tuple[int, int]
    atoms: Tensor
    edge: Tensor
    reverse: Tensor
    neighbour: Tensor
    pair: Tensor
    filled: Tensor
    triplets: Tensor

    def masked(self, x: Tensor, index: Tensor) -> Tensor:
        """Rows of x in the slots, zero if padded."""
        return x.index_select(0, index) * self.filled


def blocks_of(graph: Graph, rows: int) -> list[Block]:
    """The neighbourhoods of all atoms that have neighbours, made once and kept with the graph.

    Args:
        graph: the edges.
        rows: slots of a block on a CPU, so that it stays in a core's cache; a GPU has large ones,
            and a graph that knows its slots has those.
    """
    known = graph.slots
    if known is not None:
        return list(graph.derived("known blocks", lambda g: _blocks(g, known)))
    if graph.source.device.type != "cpu":
        rows = 2 * graph.n_edges + graph.n_atoms
    return list(graph.derived(("blocks", rows), lambda g: _blocks(g, neighbour_slots(g, rows)[0])))


def _blocks(graph: Graph, known: Iterable[Slots]) -> list[Block]:
    found = []
    for slots in known:
        n_atoms, n_slots = slots.edge.shape
        edge, filled = slots.edge.flatten(), slots.filled
        others = ~torch.eye(n_slots, dtype=torch.bool, device=edge.device)  # i ≠ k
        found.append(
            Block(
                size=(n_atoms, n_slots),
                atoms=slots.atoms,
                edge=edge,
                reverse=graph.reverse[edge],
                neighbour=graph.target[edge],
                pair=graph.pair[edge],
                filled=filled.view(-1, 1),
                triplets=filled.unsqueeze(1) & filled.unsqueeze(2) & others,
            )
        )
    return found


def joined(blocks: list[Block], name: str, graph: Graph) -> Tensor:
    """The index ``name`` of all blocks, one after the other."""
    return torch.cat([graph.source[:0], *(getattr(block, name) for block in blocks)])


def widest(operands: Iterable[Tensor]) -> torch.dtype:
    """The narrowest type that all operands fit in, of at least one."""
    return functools.reduce(torch.promote_types, (operand.dtype for operand in operands))
