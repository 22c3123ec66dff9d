"""Which form of the directional sum is the fastest."""

from __future__ import annotations

from molgeo.graph.edges import Graph


def cheapest_form(graph: Graph, n_spherical: int) -> str:
    """TODO."""
    return "gram"
