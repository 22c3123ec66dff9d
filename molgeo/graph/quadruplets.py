"""Quadruplets c→a←b←d: chains over three edges, as index tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from molgeo.graph.edges import Graph
from molgeo.graph.triplets import expand

SAME_IMAGE = 0.01
"""Å by which two lattice translations may differ and still be the same: rounding stays far below,
and no lattice vector is as short."""


def quadruplets(graph: Graph, interaction: Graph) -> tuple[Tensor, Tensor, Tensor]:
    """All chains of four different atoms c→a←b←d with an interaction edge in the middle.

    The message of d→b goes over the interaction edge b→a to the message of c→a:

        c→a, d→b in ``graph``,    b→a in ``interaction``,    b ≠ c,  d ≠ a,  d ≠ c

    Every such chain is there once, hence each dihedral angle of a bond in both directions. Images
    of an atom through a periodic boundary are different atoms, and each chain is followed through
    it: b ≠ c means that b→a and c→a do not start at the same image; a and b, or c and d, may be
    images of each other. Nothing is said of angles: where c→a or d→b is in line with b→a the
    dihedral angle is undefined.

    Candidates are counted from the degrees, K in ``graph`` and M in ``interaction``: Σ_a K_a M_a
    for the first two edges and Σ_ba K_a K_b for all three, read at once. Those with equal atoms are
    left out in the end, because no degree tells how many neighbours two atoms share. So the host
    waits for the device twice.

    Args:
        graph: the edges whose messages are passed, in GemNet within 5 Å.
        interaction: the edges that they are passed along, of the same atoms, in GemNet within 10 Å.
            Neither graph need contain the other.

    Returns:
        ``edge_ca, edge_ba, edge_db``: three (quadruplets,) int64 tensors, edges of ``graph``, of
        ``interaction`` and of ``graph``. ``edge_ca`` ascends, so that a sum over all that arrives
        at c→a is one over a contiguous segment; within it the reverses a→b of ``edge_ba`` ascend,
        and within these the reverses b→d of ``edge_db``.

    Raises:
        ValueError: the graphs have different atoms.

    Source:
        Gasteiger, Becker, Günnemann, NeurIPS 2021 (GemNet), arXiv:2106.08903, the two-hop message
        passing of GemNet-Q: the sum over b ∈ N_int(a)∖{c} and d ∈ N_emb(b)∖{a, c}.
    """
    if graph.n_atoms != interaction.n_atoms:
        raise ValueError(
            f"interaction: expected the {graph.n_atoms} atoms of graph, got {interaction.n_atoms}"
        )
    degree, hops = graph.degree, interaction.degree
    pairs = (degree * hops).sum()
    chains = (degree[interaction.source] * degree[interaction.target]).sum()
    n_pairs, n_chains = torch.stack([pairs, chains]).tolist()

    # By symmetry the edges that end at an atom are the reverses of those that leave it.
    edge_ca, local = expand(hops[graph.target], n_pairs)
    edge_ba = interaction.reverse[interaction.ptr[graph.target[edge_ca]] + local]
    pair, local = expand(degree[interaction.source[edge_ba]], n_chains)
    edge_ca, edge_ba = edge_ca[pair], edge_ba[pair]
    edge_db = graph.reverse[graph.ptr[interaction.source[edge_ba]] + local]

    kept = _different(graph, interaction, edge_ca, edge_ba, edge_db).nonzero().squeeze(-1)
    return edge_ca[kept], edge_ba[kept], edge_db[kept]


def _different(
    graph: Graph, interaction: Graph, edge_ca: Tensor, edge_ba: Tensor, edge_db: Tensor
) -> Tensor:
    """(chains,) whether b ≠ c, d ≠ a and d ≠ c."""
    a, b = interaction.target[edge_ba], interaction.source[edge_ba]
    c, d = graph.source[edge_ca], graph.source[edge_db]
    b_is_c, d_is_a, d_is_c = b == c, d == a, d == c
    if graph.offset is not None or interaction.offset is not None:
        # Where each atom's image lies, with a in the home cell: R − S for an edge R_a − R + S.
        to_b = _offset(interaction, edge_ba)
        to_c = _offset(graph, edge_ca)
        to_d = _offset(graph, edge_db) + to_b
        b_is_c = b_is_c & _same_image(to_b - to_c)
        d_is_a = d_is_a & _same_image(to_d)
        d_is_c = d_is_c & _same_image(to_d - to_c)
    return ~(b_is_c | d_is_a | d_is_c)


def _offset(graph: Graph, edge: Tensor) -> Tensor:
    """(edges, 3) lattice translation of some edges in Å; zeros where none crosses a boundary."""
    if graph.offset is None:
        return torch.zeros(edge.numel(), 3, device=edge.device)
    return graph.offset[edge]


def _same_image(difference: Tensor) -> Tensor:
    return difference.abs().amax(-1) < SAME_IMAGE
