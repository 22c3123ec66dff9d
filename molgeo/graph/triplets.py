"""Triplets k→j→i: pairs of edges that meet, as index tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from molgeo.graph.edges import Graph


def triplets(graph: Graph, n_triplets: int | None = None) -> tuple[Tensor, Tensor]:
    """All pairs of edges k→j, j→i of which neither is the reverse of the other.

    Through a periodic boundary i may be an image of k, or of j: only going back along the same edge
    is left out. An atom j of degree K takes part in K(K − 1) triplets, so that all sizes are known
    from the degrees: nothing is searched or masked.

    Args:
        graph: the edges.
        n_triplets: their number ``Σ_j K_j(K_j − 1)``, which is not checked; None to read it from
            the graph, for which alone the host waits for the device.

    Returns:
        ``edge_kj, edge_ji``: two (triplets,) int64 tensors of edge indices. ``edge_ji`` ascends;
        if it stays the same the edges j→k, the reverses of ``edge_kj``, ascend.

    Source:
        Gasteiger, Groß, Günnemann, ICLR 2020 (DimeNet), eq. 4: the sum over N_j∖{i}.
    """
    others = graph.degree[graph.source] - 1  # edges that leave j beside j→i
    others = others.clamp(min=0)  # padding edges leave no atom
    if n_triplets is None:
        n_triplets = int(others.sum())
    edge_ji = torch.repeat_interleave(others, output_size=n_triplets)
    first = others.cumsum(0) - others  # triplet of each edge j→i
    local = torch.arange(n_triplets, device=others.device) - first[edge_ji]
    edge_jk = graph.ptr[graph.source[edge_ji]] + local
    edge_jk = edge_jk + (edge_jk >= edge_ji)  # step over k = i
    # By symmetry the edges that end at j are the reverses of those that leave it.
    return graph.reverse[edge_jk], edge_ji
