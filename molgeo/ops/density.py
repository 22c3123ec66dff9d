"""Densities of neighbours: a continuous-filter convolution weighed by spherical harmonics.

    A_i[s, c] = Σ_{j∈N(i)} Y_s(r̂_ij) W_ij[c] h_j[c]

with r̂_ij from i to j. Its arithmetic is one matrix product an atom, of the harmonics and the
messages m = W ∘ h of its neighbours; those of many atoms are one batched product of padded blocks.

Everything stands on one form that is linear in each of its three arguments,

    Φ(Y, m, G) = Σ_i Σ_{j∈N(i)} Y_ijᵀ G_i m_ij

whose derivatives by G (`collect`) and by m and Y (`spread`, with G or its transpose) are each
other's derivatives: those of any order follow from these two. Where the backward pass is not to be
differentiated itself, it goes block by block, and only the gradient of the messages is ever held
for all edges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from molgeo.graph.edges import Graph
from molgeo.graph.slots import neighbour_slots
from molgeo.ops.segment import (
    EDGES_PER_RUN,
    at_target,
    fold_pairs,
    scale_pairs,
    sum_scaled,
    sum_scaled_rows,
)
from molgeo.ops.wanted import wanted
from molgeo.ops.widest import widest
from molgeo.runtime.precision import full_on_cpu


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
        self.slots = _by_slot(harmonics.detach(), graph)

    def __call__(self, h: Tensor, filters: Tensor) -> Tensor:
        """``A_i[s, c]``.

        Args:
            h: (atoms, channels) features of the neighbours.
            filters: (pairs, channels) one filter W for each undirected pair.

        Returns:
            (atoms, components, channels), of the widest type of the arguments.
        """
        dtype = widest((h, filters, self.harmonics))
        slots = [y.to(dtype) for y in self.slots]
        density: Tensor = _Density.apply(
            h.to(dtype), filters.to(dtype), self.harmonics.to(dtype), slots, self.graph
        )
        return density


def collect(y: Tensor, m: Tensor, graph: Graph) -> Tensor:
    """∂Φ/∂G: ``Σ_{j∈N(i)} Y_ij m_ijᵀ``.

    Args:
        y: (edges, components), one row for each edge that leaves atom i.
        m: (edges, channels).
        graph: the edges.

    Returns:
        (atoms, components, channels).
    """
    return _Collect.apply(y, m, graph)


def spread(x: Tensor, g: Tensor, graph: Graph) -> Tensor:
    """∂Φ/∂m: ``G_iᵀ Y_ij`` of each edge; of m and ``G.mT``, ∂Φ/∂Y.

    Args:
        x: (edges, components).
        g: (atoms, components, channels).
        graph: the edges.

    Returns:
        (edges, channels).
    """
    return _Spread.apply(x, g, graph)


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
        with _exactly(h):
            return _collect(slots, _messages(h, filters), (y.shape[1], h.shape[1]), h, graph)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        h, filters, y = ctx.saved_tensors
        need = wanted(ctx)[:3]
        g = grads[0].contiguous()
        with _exactly(g):
            if torch.is_grad_enabled():
                found = _gradients(g, h, filters, y, ctx.graph, need)
            else:
                found = _gradients_by_block(g, h, filters, ctx.slots, ctx.graph, need)
        return *found, None, None


class _Collect(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, m: Tensor, graph: Graph) -> Tensor:
        ctx.save_for_backward(y, m)
        ctx.graph = graph
        with _exactly(m):
            shape = y.shape[1], m.shape[1]
            return _collect(_by_slot(y, graph), _in_slots(m), shape, m, graph)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        y, m = ctx.saved_tensors
        need_y, need_m, _ = wanted(ctx)
        g = grads[0].contiguous()
        grad_y = spread(m, g.mT, ctx.graph) if need_y else None
        return grad_y, spread(y, g, ctx.graph) if need_m else None, None


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, g: Tensor, graph: Graph) -> Tensor:
        ctx.save_for_backward(x, g)
        ctx.graph = graph
        with _exactly(x):
            rows = _spread(_in_slots(x), g, graph)
        return rows.index_select(0, _plan(graph).place)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, g = ctx.saved_tensors
        need_x, need_g, _ = wanted(ctx)
        u = grads[0].contiguous()
        grad_x = spread(u, g.mT, ctx.graph) if need_x else None
        return grad_x, collect(x, u, ctx.graph) if need_g else None, None


def _gradients(
    g: Tensor, h: Tensor, filters: Tensor, y: Tensor, graph: Graph, need: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Derivatives of ⟨g, A⟩ by h, filters and y, to be differentiated again."""
    need_h, need_filters, need_y = need
    grad_h = grad_filters = grad_y = None
    if need_h or need_filters:
        of_m = spread(y, g, graph)
        grad_h = sum_scaled(of_m, filters, graph) if need_h else None
        grad_filters = fold_pairs(of_m * at_target(h, graph), graph) if need_filters else None
    if need_y:
        grad_y = spread(scale_pairs(at_target(h, graph), filters, graph), g.mT, graph)
    return grad_h, grad_filters, grad_y


def _gradients_by_block(
    g: Tensor,
    h: Tensor,
    filters: Tensor,
    slots: Sequence[Tensor],
    graph: Graph,
    need: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The same, not to be differentiated again."""
    need_h, need_filters, need_y = need
    plan = _plan(graph)
    grad_h = grad_filters = grad_y = None
    if need_h or need_filters:
        by_block = iter(slots)
        of_m = _spread(lambda _: next(by_block).mT, g, graph)  # in the order of slots
        if need_h:
            grad_h = sum_scaled_rows(of_m, plan.reverse, filters, graph)
        if need_filters:
            grad_filters = _pair_products(of_m, h, graph)
    if need_y:
        rows = _spread(_messages(h, filters), g.mT, graph)
        grad_y = rows.index_select(0, plan.place)
    return grad_h, grad_filters, grad_y


def _messages(h: Tensor, filters: Tensor) -> Callable[[_Block], Tensor]:
    """``W_ij ∘ h_j`` in the slots of a block, (atoms, slots, channels)."""

    def messages(block: _Block) -> Tensor:
        m = filters.index_select(0, block.pair).mul_(h.index_select(0, block.neighbour))
        return m.view(*block.size, -1)

    return messages


def _in_slots(rows: Tensor) -> Callable[[_Block], Tensor]:
    """Rows of edges in the slots of a block, (atoms, slots, n)."""
    return lambda block: rows.index_select(0, block.edge).view(*block.size, -1)


def _collect(
    y: Sequence[Tensor],
    m: Callable[[_Block], Tensor],
    shape: tuple[int, int],
    like: Tensor,
    graph: Graph,
) -> Tensor:
    """``Σ_j y_ij m_ijᵀ`` from y by block, (atoms, components, slots) and zero where padded."""
    out = like.new_zeros(graph.n_atoms, *shape)
    for block, y_block in zip(_plan(graph).blocks, y, strict=True):
        out.index_copy_(0, block.atoms, torch.bmm(y_block, m(block)))
    return out


def _spread(x: Callable[[_Block], Tensor], g: Tensor, graph: Graph) -> Tensor:
    """``G_iᵀ x_ij`` in the slots of all blocks, (slots, n), from x, (atoms, slots, m), and G."""
    plan = _plan(graph)
    rows = g.new_empty(plan.n_slots, g.shape[2])
    sizes = [len(block.edge) for block in plan.blocks]
    for block, part in zip(plan.blocks, rows.split(sizes), strict=True):
        out = part.view(*block.size, -1)
        torch.bmm(x(block), g.index_select(0, block.atoms), out=out)
    return rows


def _pair_products(of_m: Tensor, h: Tensor, graph: Graph) -> Tensor:
    """``of_m ∘ h`` summed over both edges of each pair, from rows in the order of slots."""
    plan, forward = _plan(graph), graph.forward
    out = of_m.new_empty(forward.numel(), of_m.shape[1])
    rows = EDGES_PER_RUN if of_m.device.type == "cpu" else max(len(out), 1)
    pieces = zip(
        out.split(rows),
        plan.place[forward].split(rows),
        plan.reverse[forward].split(rows),
        graph.target[forward].split(rows),
        graph.source[forward].split(rows),
        strict=True,
    )
    for piece, there, back, i, j in pieces:
        torch.mul(of_m.index_select(0, there), h.index_select(0, i), out=piece)
        piece.addcmul_(of_m.index_select(0, back), h.index_select(0, j))
    return out


class _Block(NamedTuple):
    """Atoms with about as many neighbours, each of which has a slot.

    Attributes:
        size: atoms and slots.
        atoms: (atoms,) int64.
        edge: (atoms · slots,) int64, the edge in each slot; padded ones repeat one of their atom's.
        neighbour: (atoms · slots,) int64, where it ends.
        pair: (atoms · slots,) int64, its pair.
        filled: (atoms, slots, 1) bool, False where padded.
    """

    size: tuple[int, int]
    atoms: Tensor
    edge: Tensor
    neighbour: Tensor
    pair: Tensor
    filled: Tensor


class _Plan(NamedTuple):
    """The neighbourhoods of a graph as blocks.

    Attributes:
        blocks: all atoms that have neighbours.
        n_slots: of all blocks together.
        place: (edges,) int64, the slot of each edge, counted through all blocks.
        reverse: (edges,) int64, the slot of its reverse.
    """

    blocks: list[_Block]
    n_slots: int
    place: Tensor
    reverse: Tensor


def _plan(graph: Graph) -> _Plan:
    """The plan of a graph, made once and kept with it."""
    plan: _Plan = graph.derived("density", _make_plan)
    return plan


def _make_plan(graph: Graph) -> _Plan:
    on_cpu = graph.source.device.type == "cpu"
    slots, place = neighbour_slots(graph, EDGES_PER_RUN if on_cpu else 2 * graph.n_edges)
    blocks = []
    for s in slots:
        edge = s.edge.flatten()
        size, atoms = (s.edge.shape[0], s.edge.shape[1]), graph.source[s.edge[:, 0]]
        places = graph.target[edge], graph.pair[edge]
        blocks.append(_Block(size, atoms, edge, *places, s.filled.unsqueeze(-1)))
    n_slots = sum(len(block.edge) for block in blocks)
    return _Plan(blocks, n_slots, place, place[graph.reverse])


def _by_slot(y: Tensor, graph: Graph) -> list[Tensor]:
    """Y of the slots by block, (atoms, components, slots) and zero where padded."""
    blocks = _plan(graph).blocks
    return [(_in_slots(y)(block) * block.filled).mT.contiguous() for block in blocks]


@contextmanager
def _exactly(x: Tensor) -> Iterator[None]:
    """Products in the type and, on a CPU, the precision of their factors, which are small."""
    with torch.autocast(x.device.type, enabled=False), full_on_cpu(x):
        yield
