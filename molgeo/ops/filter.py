"""SchNet's continuous-filter convolution on an undirected graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from molgeo.graph.edges import Graph
from molgeo.ops.segment import segment_sum


def continuous_filter(h: Tensor, filters: Tensor, graph: Graph) -> Tensor:
    """Sum filtered neighbours: ``out_i[c] = Σ_{j∈N(i)} W_ij[c] h_j[c]``.

    The filter depends on the distance alone, hence is given once for both directions of an edge.
    The sum is then symmetric: its derivative by ``h`` is the same sum over the incoming gradient.

    Args:
        h: (atoms, filters) features.
        filters: (pairs, filters) one filter W for each undirected pair.
        graph: the edges.

    Returns:
        (atoms, filters).

    Source:
        Schütt et al., NeurIPS 2017 (SchNet), eq. 2.
    """
    return _ContinuousFilter.apply(h, filters, graph)


class _ContinuousFilter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, filters: Tensor, graph: Graph) -> Tensor:
        ctx.save_for_backward(h, filters)
        ctx.graph = graph
        messages = h.index_select(0, graph.target)
        messages = messages * filters.index_select(0, graph.pair)
        return segment_sum(messages, graph.source, graph.ptr)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        h, filters = ctx.saved_tensors
        graph: Graph = ctx.graph
        grad = grads[0]
        grad_h = continuous_filter(grad, filters, graph) if ctx.needs_input_grad[0] else None
        grad_filters = None
        if ctx.needs_input_grad[1]:
            a, b = graph.source[graph.forward], graph.target[graph.forward]
            grad_filters = grad[a] * h[b] + grad[b] * h[a]
        return grad_h, grad_filters, None
