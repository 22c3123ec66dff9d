"""Positions and lattices under a homogeneous strain."""

from __future__ import annotations

import torch
from torch import Tensor

from molgeo.graph.edges import Graph


def strained(pos: Tensor, graph: Graph, epsilon: Tensor) -> tuple[Tensor, Graph]:
    """Positions and lattice translations under the symmetric part of a strain of each molecule.

    Args:
        pos: (atoms, 3) Å.
        graph: of these atoms.
        epsilon: (molecules, 3, 3), without unit.
    """
    eye = torch.eye(3, dtype=pos.dtype, device=pos.device)
    deformation = eye + 0.5 * (epsilon + epsilon.mT)  # (molecules, 3, 3)
    moved = (pos.unsqueeze(-2) @ deformation.index_select(0, graph.batch)).squeeze(-2)
    if graph.offset is None:
        return moved, graph
    of_edges = deformation.index_select(0, graph.batch[graph.source])
    offset = graph.offset.to(pos.dtype).unsqueeze(-2) @ of_edges
    return moved, graph.with_offset(offset.squeeze(-2))
