"""Linear index operations on sorted edges, closed under differentiation.

Edges are sorted by source, so the sum over the edges of an atom is a sum over a contiguous segment.
Its backward is a gather and the gather's backward is the segment sum; a permutation's backward is
the inverse permutation. Each of them is written once here, so that no backward ever scatters into
random rows, and derivatives of every order use the same three kernels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from molgeo.graph.edges import Graph
from molgeo.ops.wanted import wanted

EDGES_PER_RUN = 2048
"""Edges taken at a time on a CPU: 1 MB of 128 float32 channels, as large as L2."""


def segment_sum(x: Tensor, index: Tensor, ptr: Tensor) -> Tensor:
    """Sum rows over contiguous segments: ``out[a] = Σ_{ptr[a] ≤ e < ptr[a+1]} x[e]``.

    Args:
        x: (rows, …) floating point.
        index: (rows,) int64, segment of each row, ascending.
        ptr: (segments + 1,) int64, bounds of the segments.

    Returns:
        (segments, …), zero for empty segments.
    """
    return _SegmentSum.apply(x, index, ptr)


def gather(x: Tensor, index: Tensor, ptr: Tensor) -> Tensor:
    """Repeat rows over segments: ``out[e] = x[index[e]]``; the transpose of `segment_sum`.

    Args:
        x: (segments, …) floating point.
        index: (rows,) int64, ascending.
        ptr: (segments + 1,) int64, bounds of the segments.

    Returns:
        (rows, …).
    """
    return _Gather.apply(x, index, ptr)


def permute(x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
    """Reorder rows: ``out[e] = x[index[e]]`` with ``index[inverse] = arange``.

    Args:
        x: (rows, …) floating point.
        index: (rows,) int64, a permutation.
        inverse: (rows,) int64, its inverse; an involution is its own.

    Returns:
        (rows, …).
    """
    return _Permute.apply(x, index, inverse)


def sum_incoming(x: Tensor, graph: Graph) -> Tensor:
    """Sum edge features over the edges that end at an atom: ``out_i = Σ_{j∈N(i)} x_ji``.

    Args:
        x: (edges, …) floating point, one row for each edge j→i.
        graph: the edges.

    Returns:
        (atoms, …).
    """
    return segment_sum(permute(x, graph.reverse, graph.reverse), graph.source, graph.ptr)


def expand_pairs(x: Tensor, graph: Graph, sign: float = 1.0) -> Tensor:
    """Give both edges of each undirected pair the pair's row.

    Args:
        x: (pairs, …) floating point.
        graph: the edges.
        sign: factor of the row on the reverse of the pair's forward edge; −1 for vectors.

    Returns:
        (edges, …).
    """
    return _ExpandPairs.apply(x, graph, sign)


def fold_pairs(x: Tensor, graph: Graph, sign: float = 1.0) -> Tensor:
    """Sum both edges of each undirected pair; the transpose of `expand_pairs`.

    Args:
        x: (edges, …) floating point.
        graph: the edges.
        sign: factor of the reverse edge.

    Returns:
        (pairs, …).
    """
    return _FoldPairs.apply(x, graph, sign)


def scale_pairs(x: Tensor, scale: Tensor, graph: Graph, pair: Tensor | None = None) -> Tensor:
    """Multiply both edges of each undirected pair by the pair's row.

    The same as ``x * expand_pairs(scale, graph)``, but nothing edge-sized is kept for the backward
    pass except ``x``.

    Args:
        x: (edges, channels).
        scale: (pairs, channels).
        graph: the edges.
        pair: (rows,) the pair of each row, where x holds but a part of the edges, which is for
            inference only.

    Returns:
        (edges, channels).
    """
    if not torch.is_grad_enabled():
        return scale.index_select(0, graph.pair if pair is None else pair).mul_(x)
    return _ScalePairs.apply(x, scale, graph)


def sum_scaled(x: Tensor, scale: Tensor, graph: Graph) -> Tensor:
    """Sum scaled edge features over the edges that end at an atom: ``out_i = Σ_j w_ij ∘ x_ji``.

    The same as ``sum_incoming(scale_pairs(x, scale, graph), graph)``; without derivatives, products
    are taken for a cache's worth of edges at a time.

    Args:
        x: (edges, channels).
        scale: (pairs, channels).
        graph: the edges.

    Returns:
        (atoms, channels).
    """
    if torch.is_grad_enabled() or x.device.type != "cpu":
        return sum_incoming(scale_pairs(x, scale, graph), graph)
    return sum_scaled_rows(x, graph.reverse, scale, graph)


def sum_scaled_rows(x: Tensor, reverse: Tensor, scale: Tensor, graph: Graph) -> Tensor:
    """`sum_scaled` of edges in another order, without derivatives.

    Args:
        x: (rows, channels), among them one row for each edge j→i.
        reverse: (edges,) int64, for each edge, the row of its reverse.
        scale: (pairs, channels).
        graph: the edges.

    Returns:
        (atoms, channels).
    """
    runs = graph.runs(EDGES_PER_RUN) if x.device.type == "cpu" else [(0, graph.n_atoms)]
    if len(runs) == 1:
        rows = x.index_select(0, reverse).mul_(scale.index_select(0, graph.pair))
        return segment_sum(rows, graph.source, graph.ptr)
    out = x.new_zeros(graph.n_atoms, x.shape[1])
    for first, last in runs:
        ptr = graph.ptr[first : last + 1]
        edges = slice(ptr[0], ptr[-1])
        rows = x.index_select(0, reverse[edges])
        rows *= scale.index_select(0, graph.pair[edges])
        out[first:last] = segment_sum(rows, graph.source[edges] - first, ptr - ptr[0])
    return out


def at_target(x: Tensor, graph: Graph) -> Tensor:
    """Give each edge j→i the row of atom i: (atoms, …) → (edges, …)."""
    return _AtTarget.apply(x, graph)


def to_edges(at_target: Tensor, at_source: Tensor, of_pair: Tensor, graph: Graph) -> Tensor:
    """Sum what belongs to both ends of an edge and to its pair: ``out_ji = a_i + b_j + c_{ij}``.

    Args:
        at_target: (atoms, channels) a.
        at_source: (atoms, channels) b.
        of_pair: (pairs, channels) c.
        graph: the edges.

    Returns:
        (edges, channels).
    """
    return _ToEdges.apply(at_target, at_source, of_pair, graph)


def molecule_sum(x: Tensor, graph: Graph) -> Tensor:
    """Sum atoms over their molecule: (atoms, …) → (molecules, …)."""
    return x.new_zeros(graph.n_molecules, *x.shape[1:]).index_add(0, graph.batch, x)


class _SegmentSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, ptr: Tensor) -> Tensor:
        ctx.save_for_backward(index, ptr)
        n_segments = ptr.numel() - 1
        if x.dim() == 2 and x.dtype == torch.float32 and x.device.type == "cpu" and x.numel():
            # The one vectorised, parallel segment sum of PyTorch's CPU backend.
            rows = torch.arange(x.shape[0])
            return F.embedding_bag(rows, x, ptr[:-1], mode="sum")
        return x.new_zeros(n_segments, *x.shape[1:]).index_add_(0, index, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        index, ptr = ctx.saved_tensors
        return gather(grads[0], index, ptr), None, None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, ptr: Tensor) -> Tensor:
        ctx.save_for_backward(index, ptr)
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        index, ptr = ctx.saved_tensors
        return segment_sum(grads[0].contiguous(), index, ptr), None, None


class _ToEdges(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, c: Tensor, graph: Graph) -> Tensor:
        ctx.graph = graph
        out = a.new_empty(graph.n_edges, *a.shape[1:])
        rows = EDGES_PER_RUN if a.device.type == "cpu" else max(graph.n_edges, 1)
        indices = (graph.target, graph.source, graph.pair)
        for piece, i, j, p in zip(out.split(rows), *(n.split(rows) for n in indices), strict=True):
            torch.index_select(a, 0, i, out=piece)
            piece += b.index_select(0, j)
            piece += c.index_select(0, p)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad, graph = grads[0], ctx.graph
        need_a, need_b, need_c, _ = wanted(ctx)
        return (
            sum_incoming(grad, graph) if need_a else None,
            segment_sum(grad.contiguous(), graph.source, graph.ptr) if need_b else None,
            fold_pairs(grad, graph) if need_c else None,
            None,
        )


class _Permute(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(index, inverse)
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        index, inverse = ctx.saved_tensors
        return permute(grads[0], inverse, index), None, None


class _AtTarget(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, graph: Graph) -> Tensor:
        ctx.graph = graph
        return x.index_select(0, graph.target)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return sum_incoming(grads[0].contiguous(), ctx.graph), None


class _ExpandPairs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, graph: Graph, sign: float) -> Tensor:
        ctx.graph, ctx.sign = graph, sign
        rows = x.index_select(0, graph.pair)
        if sign != 1.0:
            rows[graph.reverse[graph.forward]] *= sign
        return rows

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return fold_pairs(grads[0], ctx.graph, ctx.sign), None, None


class _FoldPairs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, graph: Graph, sign: float) -> Tensor:
        ctx.graph, ctx.sign = graph, sign
        forward = x.index_select(0, graph.forward)
        return forward.add_(x.index_select(0, graph.reverse[graph.forward]), alpha=sign)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return expand_pairs(grads[0], ctx.graph, ctx.sign), None, None


class _ScalePairs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, graph: Graph) -> Tensor:
        ctx.save_for_backward(x, scale)
        ctx.graph = graph
        return scale.index_select(0, graph.pair).mul_(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, scale = ctx.saved_tensors
        grad, graph = grads[0], ctx.graph
        need_x, need_scale, _ = wanted(ctx)
        grad_x = scale_pairs(grad, scale, graph) if need_x else None
        grad_scale = fold_pairs(grad * x, graph) if need_scale else None
        return grad_x, grad_scale, None
