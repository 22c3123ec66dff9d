"""The sum over triplets k→j→i of directional message passing, in two exact forms.

    m_ji[c] = Σ_{k∈N(j)∖i} x_kj[c] Σ_l Y_l0(α) S_kj[l,c],    cos α = û_ji · û_kj

``Y_l0(α) = √((2l+1)/4π) P_l(cos α)`` is a polynomial in a dot product of unit vectors: no angle is
ever computed, hence all derivatives are finite where α is 0° or 180°.

``reference`` goes over explicit triplets and is the oracle. ``gram`` sees that all but Y belongs to
one edge, so that the neighbourhood of an atom j is one matrix product: ``out_j = Y_j (x·S)_j`` with
the harmonics Y_j of the Gram matrix of its unit vectors. Those depend on the geometry alone and are
shared by all the sums of a model.

Source:
    Gasteiger, Giri, Margraf, Günnemann, arXiv:2011.14115 (DimeNet++), eq. 2 and 3.
"""

from __future__ import annotations

import math
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from molgeo.graph.edges import Graph
from molgeo.graph.slots import Slots, neighbour_slots
from molgeo.graph.triplets import triplets
from molgeo.ops.segment import expand_pairs

Form = Literal["reference", "gram"]


class DirectionalSum(Protocol):
    """The sum for one geometry; call it for each pair of features and filters."""

    def __call__(self, x: Tensor, filters: Tensor) -> Tensor:
        """Sum over triplets.

        Args:
            x: (edges, channels) features x_kj.
            filters: (pairs, n_spherical, channels) filters S, the same for both directions.

        Returns:
            (edges, channels) messages m_ji.
        """


def directional_sum(
    unit: Tensor, graph: Graph, n_spherical: int, form: Form = "gram"
) -> DirectionalSum:
    """Prepare the directional sum for one geometry.

    Args:
        unit: (pairs, 3) unit vector of each pair along its forward edge.
        graph: the edges.
        n_spherical: number of orders l = 0 … n_spherical − 1.
        form: ``gram`` or ``reference``; both give the same result.

    Returns:
        The sum, a function of features and filters.

    Raises:
        ValueError: ``form`` is unknown.
    """
    if form == "gram":
        return _Gram(unit, graph, n_spherical)
    if form == "reference":
        return _Reference(unit, graph, n_spherical)
    raise ValueError(f"form: expected 'gram' or 'reference', got {form!r}")


def zonal_harmonics(cosine: Tensor, n_spherical: int) -> Tensor:
    """``Y_l0(α) = √((2l+1)/4π) P_l(cos α)`` for l = 0 … n_spherical − 1.

    By Bonnet's recurrence ``l P_l = (2l−1) x P_{l−1} − (l−1) P_{l−2}``, a polynomial in the cosine.

    Args:
        cosine: (…,) cos α.
        n_spherical: number of orders, at least 1.

    Returns:
        (…, n_spherical).
    """
    p = [torch.ones_like(cosine), cosine]
    for l in range(2, n_spherical):
        p.append((2 - 1 / l) * cosine * p[-1] - (1 - 1 / l) * p[-2])
    norm = [math.sqrt((2 * l + 1) / (4 * math.pi)) for l in range(n_spherical)]
    return torch.stack([n * p_l for n, p_l in zip(norm, p, strict=False)], dim=-1)


class _Reference:
    """Explicit triplets: Θ(triplets · n_spherical · channels) memory."""

    def __init__(self, unit: Tensor, graph: Graph, n_spherical: int) -> None:
        self.graph = graph
        self.kj, self.ji = triplets(graph)
        u = expand_pairs(unit, graph, sign=-1.0)
        self.harmonics = zonal_harmonics((u[self.ji] * u[self.kj]).sum(-1), n_spherical)

    def __call__(self, x: Tensor, filters: Tensor) -> Tensor:
        filters = filters[self.graph.pair[self.kj]]  # (triplets, n_spherical, channels)
        messages = x[self.kj] * torch.einsum("tl,tlc->tc", self.harmonics, filters)
        return torch.zeros_like(x).index_add(0, self.ji, messages)


class _Gram:
    """One matrix product for each atom, over blocks of atoms of similar degree."""

    def __init__(self, unit: Tensor, graph: Graph, n_spherical: int) -> None:
        self.blocks, position = neighbour_slots(graph)
        self.sizes = [block.edge.numel() for block in self.blocks]
        edge = torch.cat([block.edge.flatten() for block in self.blocks] or [graph.source])
        # Slot s of atom j takes in the edge k→j and gives out the edge j→k, its reverse.
        self.given = _Rows(position, (edge,))
        self.taken = _Rows(graph.reverse[edge], (position[graph.reverse],))
        forward = graph.forward
        self.pair = _Rows(graph.pair[edge], (position[forward], position[graph.reverse[forward]]))
        u = _take(expand_pairs(unit, graph, sign=-1.0), _Rows(edge, (position,)))
        self.harmonics = [
            _block_harmonics(u_block.view(*block.edge.shape, 3), block, n_spherical)
            for u_block, block in zip(u.split(self.sizes), self.blocks, strict=True)
        ]

    def __call__(self, x: Tensor, filters: Tensor) -> Tensor:
        if not self.blocks:
            return torch.zeros_like(x)
        x_slots = _take(x, self.taken).split(self.sizes)
        s_slots = _take(filters, self.pair).split(self.sizes)
        sums = []
        for x_kj, s_kj, y in zip(x_slots, s_slots, self.harmonics, strict=True):
            weighted = x_kj.unsqueeze(1) * s_kj  # (atoms · slots, n_spherical, channels)
            sums.append(torch.bmm(y, weighted.view(y.shape[0], y.shape[2], -1)).flatten(0, 1))
        return _take(torch.cat(sums), self.given)


def _block_harmonics(unit: Tensor, block: Slots, n_spherical: int) -> Tensor:
    """(atoms, slots i, slots k · n_spherical) Y_l0 of û_ji · û_kj; zero for k = i and padding."""
    cosine = -torch.bmm(unit, unit.transpose(1, 2))  # û_kj = −û_jk
    kept = block.filled.unsqueeze(1) & block.filled.unsqueeze(2)
    kept = kept & ~torch.eye(unit.shape[1], dtype=torch.bool, device=unit.device)
    return (zonal_harmonics(cosine, n_spherical) * kept.unsqueeze(-1)).flatten(2)


class _Rows:
    """Rows to take, and for each row of the operand where it went.

    Rows of padded slots are missing from ``back``: their derivative is zero, as the harmonics are
    zero there.
    """

    def __init__(self, index: Tensor, back: tuple[Tensor, ...]) -> None:
        self.index = index
        self.back = back


def _take(x: Tensor, rows: _Rows) -> Tensor:
    return _Take.apply(x, rows)  # type: ignore[no-any-return]


class _Take(torch.autograd.Function):
    """``out[s] = x[index[s]]``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: _Rows) -> Tensor:
        ctx.rows = rows
        return x.index_select(0, rows.index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _Collect.apply(grads[0], ctx.rows), None


class _Collect(torch.autograd.Function):
    """The transpose of `_Take`: a sum of gathers."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: _Rows) -> Tensor:
        ctx.rows = rows
        total = x.index_select(0, rows.back[0])
        for index in rows.back[1:]:
            total += x.index_select(0, index)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _take(grads[0], ctx.rows), None
