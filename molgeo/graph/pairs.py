"""The graph of pairs of atoms that somebody else has found."""

from __future__ import annotations

import torch
from torch import Tensor

from molgeo.graph.edges import Graph


def graph_of_pairs(pairs: Tensor, offset: Tensor, batch: Tensor, n_molecules: int) -> Graph:
    """Both edges of each pair of atoms, as a `Graph` has them; no value is looked at.

    Args:
        pairs: (2, pairs) int64, both atoms of each pair, which are of one molecule. Each pair is
            there once, in either order; of a periodic system once for each lattice translation.
        offset: (pairs, 3) Å, lattice translation of each pair: its second atom lies at
            ``pos[pairs[1]] + offset`` as seen from its first one.
        batch: (atoms,) int64, molecule of each atom, ascending.
        n_molecules: number of molecules.
    """
    n_pairs = pairs.shape[1]
    first, second = pairs.unbind()
    source, target = torch.cat([first, second]), torch.cat([second, first])
    # Edge n of these and edge n + n_pairs are each other's reverse. Sorted, they are elsewhere.
    order = source.argsort(stable=True)
    place = order.argsort()
    degree = torch.zeros_like(batch).index_add_(0, source, torch.ones_like(source))
    return Graph(
        source=source[order],
        target=target[order],
        reverse=place[(order + n_pairs) % (2 * n_pairs)],
        pair=order % n_pairs,
        forward=place[:n_pairs],
        ptr=torch.cat([degree.new_zeros(1), degree.cumsum(0)]),
        batch=batch,
        n_molecules=n_molecules,
        offset=torch.cat([offset, -offset])[order],
    )
