"""Triplets k→j→i: pairs of edges that meet, as index tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from molgeo.graph.edges import Graph


def triplets(graph: Graph) -> tuple[Tensor, Tensor]:
    """All pairs of edges k→j, j→i of which neither is the reverse of the other.

    Through a periodic boundary i may be an image of k, or of j: only going back along the same edge
    is left out.

    Args:
        graph: the edges.

    Returns:
        ``edge_kj, edge_ji``: two (triplets,) int64 tensors of edge indices; ``edge_ji`` ascends.

    Source:
        Gasteiger, Groß, Günnemann, ICLR 2020 (DimeNet), eq. 4: the sum over N_j∖{i}.
    """
    j = graph.source
    incoming = graph.degree[j]  # edges that end at j, as many as leave it
    first = incoming.cumsum(0) - incoming
    edge_ji = torch.repeat_interleave(torch.arange(graph.n_edges, device=j.device), incoming)
    local = torch.arange(edge_ji.numel(), device=j.device) - first[edge_ji]
    # By symmetry the edges that end at j are the reverses of those that leave it.
    edge_jk = graph.ptr[j[edge_ji]] + local
    kept = edge_jk != edge_ji
    return graph.reverse[edge_jk[kept]], edge_ji[kept]
