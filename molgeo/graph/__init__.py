"""Index tensors of molecular graphs: edges within a cutoff, triplets over them."""

from molgeo.graph.edges import Graph
from molgeo.graph.radius import given_or_found, radius_graph

__all__ = ["Graph", "given_or_found", "radius_graph"]
