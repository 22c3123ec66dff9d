"""Densities of neighbours: a continuous-filter convolution weighed by spherical harmonics.

    A_i[s, c] = Σ_{j∈N(i)} Y_s(r̂_ij) m_ij[c],    m_ij = W_ij ∘ h_j

with r̂_ij from i to j. For F = Σ_i ⟨G_i, A_i⟩ the derivatives by messages and harmonics are

    ∂F/∂m_ij = G_iᵀ Y_ij,    ∂F/∂Y_ij = G_i m_ij

of which ``∂F/∂W_ij = ∂F/∂m_ij ∘ h_j`` and ``∂F/∂h_j = Σ_i ∂F/∂m_ij ∘ W_ij`` follow. They, and
their changes along a tangent, are batched products of padded blocks of atoms; nothing the size of
the edges' channels is ever held. `molgeo.ops.derivatives` makes them derivatives of every order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from molgeo.graph.edges import Graph
from molgeo.ops.blocks import Block, blocks_of, widest
from molgeo.ops.derivatives import Dual, change, neighbour_sum, product, rows_of, value
from molgeo.runtime.precision import full_on_cpu, without_autocast

_ROWS_PER_BLOCK = 2048
"""Padded edges taken at a time on a CPU: 1 MB of 128 float32 channels, as large as L2."""


class NeighbourDensity:
    """The densities of one geometry; call it for each pair of features and filters.

    Args:
        harmonics: (edges, components) Y_s of each edge's direction, seen from the atom that it
            leaves.
        graph: the edges.
    """

    def __init__(self, harmonics: Tensor, graph: Graph) -> None:
        self.harmonics = harmonics
        self.graph = graph
        self.blocks = blocks_of(graph, _ROWS_PER_BLOCK)
        # Y of the slots of each block, (atoms, components, slots), the same for all calls.
        self.slots = [_in_slots(harmonics.detach(), b).mT.contiguous() for b in self.blocks]

    def __call__(self, h: Tensor, filters: Tensor) -> Tensor:
        """``A_i[s, c]``.

        Args:
            h: (atoms, channels) features of the neighbours.
            filters: (pairs, channels) one filter W for each undirected pair.

        Returns:
            (atoms, components, channels), of the widest type of the arguments.
        """
        dtype = widest((h, filters, self.harmonics))
        h, filters = h.to(dtype).contiguous(), filters.to(dtype).contiguous()
        return neighbour_sum(self, self.harmonics.to(dtype), h, filters)

    def value(self, y: Tensor, h: Tensor, filters: Tensor) -> Tensor:
        """A, with the messages of one block of atoms at a time."""
        out = h.new_zeros(self.graph.n_atoms, y.shape[1], h.shape[1])
        with _exactly(h):
            for block, y_slots in zip(self.blocks, self.slots, strict=True):
                m = filters.index_select(0, block.pair).mul_(h.index_select(0, block.neighbour))
                out.index_copy_(0, block.atoms, _collect(y_slots.to(h.dtype), m))
        return out

    def gradients(
        self,
        need: Sequence[bool],
        grad: Tensor,
        y: Tensor,
        h: Tensor,
        filters: Tensor,
        tangents: Sequence[Tensor | None] | None = None,
    ) -> Sequence[Tensor | None]:
        """Derivatives of Σ_i ⟨G_i, A_i⟩ by harmonics, features and filters, or their changes."""
        d_y, d_h, d_filters = tangents or (None, None, None)
        second, outcome = tangents is not None, value if tangents is None else change
        totals = [
            torch.zeros_like(x) if needed else None
            for x, needed in zip((grad, y, h, filters), (second, *need), strict=True)
        ]
        of_grad, of_y, of_h, of_filters = totals
        with _exactly(h):
            for block, y_slots in zip(self.blocks, self.slots, strict=True):
                g = Dual(grad.index_select(0, block.atoms))  # (atoms, components, channels)
                d_y_slots = None if d_y is None else _in_slots(d_y, block).mT
                y_in = Dual(y_slots.to(h.dtype), d_y_slots)
                h_in, w = rows_of(h, d_h, block.neighbour), rows_of(filters, d_filters, block.pair)
                if of_h is not None or of_filters is not None:
                    of_m = product(_spread, y_in, g)  # G_iᵀ Y_ij, zero if padded
                    _add(of_h, block.neighbour, outcome(torch.mul, of_m, w))  # ∂F/∂h
                    _add(of_filters, block.pair, outcome(torch.mul, of_m, h_in))  # ∂F/∂W
                if of_grad is not None or of_y is not None:
                    m = product(torch.mul, w, h_in)  # W_ij ∘ h_j
                    if of_y is not None:
                        _add(of_y, block.edge, outcome(_project, m, g), block.filled)
                    _add(of_grad, block.atoms, outcome(_collect, y_in, m))  # change of A
        return totals

    def definition(self, y: Tensor, h: Tensor, filters: Tensor) -> Tensor:
        """The sum edge by edge: (edges, components, channels) of memory."""
        graph = self.graph
        m = filters[graph.pair] * h[graph.target]
        out = h.new_zeros(graph.n_atoms, y.shape[1], h.shape[1])
        return out.index_add(0, graph.source, y.unsqueeze(2) * m.unsqueeze(1))


def _in_slots(y: Tensor, block: Block) -> Tensor:
    """Rows of edges in the slots of a block, (atoms, slots, components), zero if padded."""
    return block.masked(y, block.edge).view(*block.size, -1)


def _collect(y: Tensor, m: Tensor) -> Tensor:
    """``Σ_j Y_ij m_ijᵀ``: (atoms, components, slots) and (rows, channels) to atoms."""
    return torch.bmm(y, m.view(y.shape[0], y.shape[2], -1))


def _spread(y: Tensor, g: Tensor) -> Tensor:
    """``G_iᵀ Y_ij``: the transpose of `_collect`, (rows, channels)."""
    return torch.bmm(y.mT, g).flatten(0, 1)


def _project(m: Tensor, g: Tensor) -> Tensor:
    """``G_i m_ij``, (rows, components)."""
    return torch.bmm(m.view(g.shape[0], -1, g.shape[2]), g.mT).flatten(0, 1)


def _add(
    total: Tensor | None, index: Tensor, rows: Tensor | None, filled: Tensor | None = None
) -> None:
    """Add the rows of a block to those of all, if both are asked for."""
    if total is not None and rows is not None:
        total.index_add_(0, index, rows if filled is None else rows * filled)


@contextmanager
def _exactly(x: Tensor) -> Iterator[None]:
    """Products in the type and, on a CPU, the precision of their factors, which are small."""
    with without_autocast(x), full_on_cpu(x):
        yield
