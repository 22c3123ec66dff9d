"""SchNet's continuous-filter convolution on an undirected graph.

Two sums over the edges make the operation and all of its derivatives:

    T(h, W)_i = Σ_{j∈N(i)} W_ij ∘ h_j          (atoms, filters)
    Q(g, h)_p = g_a ∘ h_b + g_b ∘ h_a          (pairs, filters), for each pair p = {a, b}

Because Σ_i g_i·T(h, W)_i = Σ_p W_p·Q(g, h)_p is symmetric in g and h, the derivatives of T are
T and Q, and those of Q are T again.

The arithmetic is trivial and the time is that of memory. On a CPU both sums are therefore taken
over runs of edges whose messages stay in a core's cache, and no (edges, filters) tensor is ever
held: that is some ten times faster than writing all messages to fresh memory. On a GPU either is
one kernel that keeps them in registers (`molgeo.ops.filter_triton`), if Triton is installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from molgeo.graph.edges import Graph
from molgeo.ops.derivatives import wanted
from molgeo.ops.segment import EDGES_PER_RUN
from molgeo.ops.triton_here import are_kernels_used


def continuous_filter(h: Tensor, filters: Tensor, graph: Graph) -> Tensor:
    """Sum filtered neighbours: ``out_i[c] = Σ_{j∈N(i)} W_ij[c] h_j[c]``.

    The filter depends on the distance alone, so it is given once for both directions of an edge.

    Args:
        h: (atoms, filters) features.
        filters: (pairs, filters) one filter W for each undirected pair.
        graph: the edges.

    Returns:
        (atoms, filters), of the wider type of the two arguments.

    Source:
        Schütt et al., NeurIPS 2017 (SchNet), eq. 2.
    """
    dtype = torch.promote_types(h.dtype, filters.dtype)
    return _Convolution.apply(h.to(dtype), filters.to(dtype), graph)


class _Convolution(torch.autograd.Function):
    """T(h, W)."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, filters: Tensor, graph: Graph) -> Tensor:
        ctx.save_for_backward(h, filters)
        ctx.graph = graph
        if are_kernels_used(h.device):
            from molgeo.ops import filter_triton

            return filter_triton.convolution(h, filters, graph)
        h, filters = h.contiguous(), filters.contiguous()  # rows of others are gathered slowly
        out = torch.zeros_like(h)
        for i, j, pair in _runs(graph.source, graph.target, graph.pair):
            messages = h.index_select(0, j).mul_(filters.index_select(0, pair))
            out.index_add_(0, i, messages)  # T_i += W_ij ∘ h_j
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        h, filters = ctx.saved_tensors
        need_h, need_filters, _ = wanted(ctx)  # ∂⟨g, T⟩/∂h = T(g, W), ∂/∂W = Q(g, h)
        grad_h = continuous_filter(grads[0], filters, ctx.graph) if need_h else None
        grad_filters = _PairProduct.apply(grads[0], h, ctx.graph) if need_filters else None
        return grad_h, grad_filters, None


class _PairProduct(torch.autograd.Function):
    """Q(g, h)."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, h: Tensor, graph: Graph) -> Tensor:
        ctx.save_for_backward(g, h)
        ctx.graph = graph
        if are_kernels_used(g.device):
            from molgeo.ops import filter_triton

            return filter_triton.pair_product(g, h, graph)
        g, h = g.contiguous(), h.contiguous()
        a, b = graph.source[graph.forward], graph.target[graph.forward]
        out = g.new_empty(a.numel(), *g.shape[1:])
        for i, j, pairs in _runs(a, b, out):
            torch.mul(g.index_select(0, i), h.index_select(0, j), out=pairs)  # g_a ∘ h_b
            pairs.addcmul_(g.index_select(0, j), h.index_select(0, i))  # + g_b ∘ h_a
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        g, h = ctx.saved_tensors
        need_g, need_h, _ = wanted(ctx)  # ∂⟨w, Q⟩/∂g = T(h, w), ∂/∂h = T(g, w)
        grad_g = continuous_filter(h, grads[0], ctx.graph) if need_g else None
        grad_h = continuous_filter(g, grads[0], ctx.graph) if need_h else None
        return grad_g, grad_h, None


def _runs(*rows: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Rows of several tensors in pieces that stay in a core's cache; on a GPU in one."""
    if torch.compiler.is_compiling() or rows[0].device.type != "cpu":
        return iter([rows])
    return zip(*(x.split(EDGES_PER_RUN) for x in rows), strict=True)
