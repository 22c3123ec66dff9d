"""Quadruplets c→a, a–b, b←d: how many there are, and those whose two ends are one atom."""

from __future__ import annotations

import torch
from torch import Tensor

from molgeo.graph.edges import Graph
from molgeo.graph.slots import neighbour_slots

DIRECTION = (0.61803399, 0.32471796, 0.75487767)
"""Along which lattice translations are told apart: no lattice is likely to be square to it."""

SAME = 1e-3
"""Å, within which two lattice translations are the same one, in spite of their rounding."""

CANDIDATES = 4
"""Edges that are looked at for one between two given images: there are hardly ever two."""

ROWS = 4096
"""Slots of atoms that are counted at a time."""


def count_quadruplets(graph: Graph, is_near: Tensor) -> int:
    """How many quadruplets a sum over c→a, a–b and d→b has, which is known before it is made.

    c and d are near neighbours of a and of b; a and b are any two neighbours. No two of the four
    are the same atom, or the same image of one, except that c may be an image of itself as d.

        Σ_ab (k_a − s_ab) (k_b − s_ab) − closed,    s_ab = 1 if a and b are near, else 0

    with k the number of near neighbours, and the ``closed`` ones those with d = c.

    Args:
        graph: all edges. The host waits for its device.
        is_near: (edges,) bool, the same in both directions.
    """
    near = torch.zeros_like(graph.degree).index_add_(0, graph.source, is_near.long())
    beside_a = near[graph.source] - is_near.long()
    beside_b = near[graph.target] - is_near.long()
    n_closed = 0
    for _, edge, filled in neighbour_slots(graph, ROWS)[0]:
        closing, found = closing_edges(graph, edge.unsqueeze(2), edge.unsqueeze(1))  # a→c, a→b
        is_pair = filled.unsqueeze(2) & filled.unsqueeze(1)
        # c = b closes nothing, as no edge leads from an atom to itself.
        is_closed = found & is_pair & is_near[edge].unsqueeze(2) & is_near[closing]
        n_closed += int(is_closed.sum())
    return int((beside_a * beside_b).sum()) - n_closed


def closing_edges(graph: Graph, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The edges c→b that close triangles of edges a→c and a→b, through the same images.

    Nothing waits for the device: edges are looked up by their ends and their lattice translation.

    Args:
        graph: the edges.
        first: (…) int64, edges a→c.
        second: (…) int64, edges a→b, of a shape that broadcasts with the other one.

    Returns:
        (…) int64, the edges, and (…) bool, whether there is one; any edge if not.
    """
    order, keys, scale = graph.derived("edges by their ends", _edges_by_ends)
    c, b = graph.target[first], graph.target[second]
    key = (c * graph.n_atoms + b).double()
    if graph.offset is None:
        n_candidates, shift = 1, None
        key = key - 0.5
    else:
        n_candidates, shift = CANDIDATES, graph.offset[second] - graph.offset[first]
        key = key + _along(shift) * scale - 2 * SAME * scale
    place = torch.searchsorted(keys, key.contiguous())
    edge = torch.zeros_like(place)
    found = torch.zeros_like(place, dtype=torch.bool)
    for k in range(n_candidates):
        one = order[(place + k).clamp(max=keys.shape[0] - 1)]
        matches = (graph.source[one] == c) & (graph.target[one] == b)
        if shift is not None:
            assert graph.offset is not None
            matches = matches & ((graph.offset[one] - shift).abs() < SAME).all(-1)
        edge, found = one.where(matches, edge), found | matches
    return edge, found


def _edges_by_ends(graph: Graph) -> tuple[Tensor, Tensor, Tensor]:
    """The order of the edges by source, target and lattice translation, their keys, and a scale."""
    keys = (graph.source * graph.n_atoms + graph.target).double()
    scale = keys.new_ones(())
    if graph.offset is not None:
        along = _along(graph.offset)
        # Differences of two translations stay within a quarter of the step to the next ends.
        scale = 0.125 / along.abs().amax().clamp(min=1.0)
        keys = keys + along * scale
    order = keys.argsort()
    return order, keys[order], scale


def _along(offset: Tensor) -> Tensor:
    """The part of lattice translations along `DIRECTION`, Å."""
    return sum(x * part for x, part in zip(offset.double().unbind(-1), DIRECTION, strict=True))  # type: ignore[return-value]
