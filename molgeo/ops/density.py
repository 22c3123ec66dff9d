"""Densities of neighbours: a continuous-filter convolution weighed by spherical harmonics.

    A_i[s, c] = Σ_{j∈N(i)} Y_s(r̂_ij) W_ij[c] h_j[c]

with r̂_ij from i to j. Its arithmetic is one matrix product an atom, ``Yᵀ m`` with the messages
m = W ∘ h of its neighbours, and those of many atoms are one batched product of padded blocks.

Everything stands on one form that is linear in each of its three arguments,

    Φ(Y, m, G) = Σ_i Σ_{j∈N(i)} Y_ijᵀ G_i m_ij

whose derivatives by G, m and Y (`gathered`, `spread` and `projected`) are each other's derivatives:
any order follows from these three. A first-order backward pass, which is all that training on
properties needs, goes through the same blocks without holding more than one tensor of all edges.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from molgeo.graph.edges import Graph
from molgeo.graph.slots import neighbour_slots
from molgeo.ops.segment import EDGES_PER_RUN, fold_pairs, gather, permute, scale_pairs, sum_scaled
from molgeo.ops.wanted import wanted
from molgeo.ops.widest import widest


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
        self.slots = [y.mT.contiguous() for y in _by_slot(harmonics.detach(), graph)]

    def __call__(self, h: Tensor, filters: Tensor) -> Tensor:
        """``A_i[s, c]``.

        Args:
            h: (atoms, channels) features of the neighbours.
            filters: (pairs, channels) one filter W for each undirected pair.

        Returns:
            (atoms, components, channels), of the widest type of the arguments.
        """
        dtype = widest((h, filters, self.harmonics))
        slots = [x.to(dtype) for x in self.slots]
        density: Tensor = _Density.apply(
            h.to(dtype), filters.to(dtype), self.harmonics.to(dtype), slots, self.graph
        )
        return density


def gathered(y: Tensor, m: Tensor, graph: Graph) -> Tensor:
    """∂Φ/∂G: ``Σ_{j∈N(i)} Y_ij m_ijᵀ``.

    Args:
        y: (edges, components).
        m: (edges, channels), one row for each edge that leaves atom i.
        graph: the edges.

    Returns:
        (atoms, components, channels).
    """
    return _Gathered.apply(y, m, graph)


def spread(y: Tensor, g: Tensor, graph: Graph) -> Tensor:
    """∂Φ/∂m: ``Y_ijᵀ G_i`` of each edge.

    Args:
        y: (edges, components).
        g: (atoms, components, channels).
        graph: the edges.

    Returns:
        (edges, channels).
    """
    return _Spread.apply(y, g, graph)


def projected(m: Tensor, g: Tensor, graph: Graph) -> Tensor:
    """∂Φ/∂Y: ``G_i m_ij`` of each edge.

    Args:
        m: (edges, channels).
        g: (atoms, components, channels).
        graph: the edges.

    Returns:
        (edges, components).
    """
    return _Projected.apply(m, g, graph)


class _Density(torch.autograd.Function):
    """A, with the messages of one block of atoms at a time.

    ``slots`` holds y by block, (atoms, components, slots) each; the derivative is that by y.
    """

    @staticmethod
    def forward(
        ctx: Any, h: Tensor, filters: Tensor, y: Tensor, slots: list[Tensor], graph: Graph
    ) -> Tensor:
        ctx.save_for_backward(h, filters, y)
        ctx.slots, ctx.graph = slots, graph
        out = h.new_zeros(graph.n_atoms, y.shape[1], h.shape[1])
        for block, w in zip(_plan(graph).blocks, slots, strict=True):
            m = filters.index_select(0, block.pair).mul_(h.index_select(0, block.neighbour))
            out.index_copy_(0, block.atoms, torch.bmm(w, block.dense(m)))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        h, filters, y = ctx.saved_tensors
        g, graph = grads[0].contiguous(), ctx.graph
        need_h, need_filters, need_y = wanted(ctx)[:3]
        grad_h = grad_filters = grad_y = None
        if need_h or need_filters:
            again = torch.is_grad_enabled()
            dm = spread(y, g, graph) if again else _spread([w.mT for w in ctx.slots], g, graph)
            grad_h = sum_scaled(dm, filters, graph) if need_h else None
            grad_filters = _filters_gradient(dm, h, graph) if need_filters else None
        if need_y:
            grad_y = projected(scale_pairs(_of_neighbours(h, graph), filters, graph), g, graph)
        return grad_h, grad_filters, grad_y, None, None


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, m: Tensor, graph: Graph) -> Tensor:
        ctx.save_for_backward(y, m)
        ctx.graph = graph
        out = m.new_zeros(graph.n_atoms, y.shape[1], m.shape[1])
        rows = zip(_plan(graph).blocks, _by_slot(y, graph), _by_slot(m, graph), strict=True)
        for block, y_block, m_block in rows:
            out.index_copy_(0, block.atoms, torch.bmm(y_block.mT, m_block))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        y, m = ctx.saved_tensors
        need_y, need_m, _ = wanted(ctx)
        g = grads[0].contiguous()
        grad_y = projected(m, g, ctx.graph) if need_y else None
        return grad_y, spread(y, g, ctx.graph) if need_m else None, None


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, g: Tensor, graph: Graph) -> Tensor:
        ctx.save_for_backward(y, g)
        ctx.graph = graph
        return _spread(_by_slot(y, graph), g, graph)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        y, g = ctx.saved_tensors
        need_y, need_g, _ = wanted(ctx)
        u = grads[0].contiguous()
        grad_y = projected(u, g, ctx.graph) if need_y else None
        return grad_y, gathered(y, u, ctx.graph) if need_g else None, None


class _Projected(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, m: Tensor, g: Tensor, graph: Graph) -> Tensor:
        ctx.save_for_backward(m, g)
        ctx.graph = graph
        return _spread(_by_slot(m, graph), g.mT, graph)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        m, g = ctx.saved_tensors
        need_m, need_g, _ = wanted(ctx)
        u = grads[0].contiguous()
        grad_m = spread(u, g, ctx.graph) if need_m else None
        return grad_m, gathered(u, m, ctx.graph) if need_g else None, None


def _spread(slots: list[Tensor], g: Tensor, graph: Graph) -> Tensor:
    """``G_iᵀ x_ij`` of each edge, from the x of the slots: (edges, n), G is (atoms, …, n)."""
    plan = _plan(graph)
    rows = g.new_empty(len(plan.edge), g.shape[2])
    sizes = [len(block.pair) for block in plan.blocks]
    for block, x, part in zip(plan.blocks, slots, rows.split(sizes), strict=True):
        torch.bmm(x, g.index_select(0, block.atoms), out=block.dense(part))
    return rows.index_select(0, plan.place)


class _Block(NamedTuple):
    """Atoms with about as many neighbours, each of which has a slot.

    Attributes:
        size: atoms and slots.
        atoms: (atoms,) int64.
        neighbour: (atoms · slots,) int64, the atom in each slot; any where padded.
        pair: (atoms · slots,) int64, the pair that it makes.
    """

    size: tuple[int, int]
    atoms: Tensor
    neighbour: Tensor
    pair: Tensor

    def dense(self, rows: Tensor) -> Tensor:
        """(atoms · slots, n) → (atoms, slots, n)."""
        return rows.view(*self.size, -1)


class _Plan(NamedTuple):
    """The blocks of a graph.

    Attributes:
        blocks: all atoms that have neighbours.
        edge: (slots of all blocks,) int64, the edge in each; ``n_edges`` where padded.
        place: (edges,) int64, the slot of each edge.
    """

    blocks: list[_Block]
    edge: Tensor
    place: Tensor


def _plan(graph: Graph) -> _Plan:
    """The plan of a graph, made once and kept with it."""
    plan: _Plan = graph.derived("density", _make_plan)
    return plan


def _make_plan(graph: Graph) -> _Plan:
    on_cpu = graph.source.device.type == "cpu"
    slots, place = neighbour_slots(graph, EDGES_PER_RUN if on_cpu else 2 * graph.n_edges)
    blocks = [
        _Block(
            size=(s.edge.shape[0], s.edge.shape[1]),
            atoms=graph.source[s.edge[:, 0]],
            neighbour=graph.target[s.edge.flatten()],
            pair=graph.pair[s.edge.flatten()],
        )
        for s in slots
    ]
    edges = [s.edge.masked_fill(~s.filled, graph.n_edges).flatten() for s in slots]
    return _Plan(blocks, torch.cat(edges or [graph.source]), place)


def _by_slot(rows: Tensor, graph: Graph) -> list[Tensor]:
    """Rows of edges by block, (atoms, slots, n) each, zero where padded."""
    plan = _plan(graph)
    padded = torch.cat([rows, rows.new_zeros(1, rows.shape[1])]).index_select(0, plan.edge)
    parts = padded.split([len(block.pair) for block in plan.blocks])
    return [block.dense(part) for block, part in zip(plan.blocks, parts, strict=True)]


def _of_neighbours(h: Tensor, graph: Graph) -> Tensor:
    """(edges, channels) features of the atom where each edge ends."""
    return permute(gather(h, graph.source, graph.ptr), graph.reverse, graph.reverse)


def _filters_gradient(dm: Tensor, h: Tensor, graph: Graph) -> Tensor:
    """``Σ dm ∘ h`` over both edges of each pair, (pairs, channels)."""
    if torch.is_grad_enabled() or dm.device.type != "cpu":
        return fold_pairs(dm * _of_neighbours(h, graph), graph)
    forward = graph.forward
    indices = (forward, graph.reverse[forward], graph.target[forward], graph.source[forward])
    out = dm.new_empty(forward.numel(), dm.shape[1])
    pieces = (out, *indices)
    for piece, there, back, b, a in zip(*(p.split(EDGES_PER_RUN) for p in pieces), strict=True):
        torch.mul(dm.index_select(0, there), h.index_select(0, b), out=piece)
        piece.addcmul_(dm.index_select(0, back), h.index_select(0, a))
    return out
